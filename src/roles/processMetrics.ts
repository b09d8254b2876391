/** What each role exports of its own process. */
import * as z from "zod";
import { readShipped } from "../lib/shipped.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Pool } from "../store/pool.ts";

const manifest = z.object({ version: z.string() });

/** As package.json says. */
export function ownVersion(): string {
  return manifest.parse(JSON.parse(readShipped("package.json"))).version;
}

/** What runs: for `absent` in alerts, and for who compares versions. */
export function measureBuild(metrics: Metrics): void {
  const version = ownVersion();
  metrics.set("unified_rbac_build_info", 1, { version, node: process.versions.node });
}

export function measurePool(metrics: Metrics, pool: Pool, max: number): void {
  metrics.set("unified_rbac_postgres_pool_max_connections", max);
  metrics.onScrape(() => {
    metrics.set("unified_rbac_postgres_pool_connections", pool.idleCount, { state: "idle" });
    metrics.set("unified_rbac_postgres_pool_connections", pool.totalCount - pool.idleCount, { state: "active" });
    metrics.set("unified_rbac_postgres_pool_waiting_requests", pool.waitingCount);
  });
}
