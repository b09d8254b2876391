/**
 * The tenants as the webhook knows them: a copy, in memory, of two tables that the reconciler mirrors from the cluster.
 * With Postgres away the last copy stays in use.
 */
import pg from "pg";
import { RETRIES, retryPauseMs } from "../lib/backoff.ts";
import { pause, type Random } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { makeNotifier } from "../lib/notifier.ts";
import { type TenantID, isTenantID } from "../api/names.ts";
import { type TenantSpec, tenantSpec } from "../api/tenant.ts";
import { connectionConfig, type PoolOptions } from "./pool.ts";

export interface KnownTenant {
  readonly tenantID: TenantID;
  /** metadata.name of the Tenant. */
  readonly name: string;
  /** The last accepted spec. */
  readonly spec: TenantSpec;
}

export interface TenantDirectory extends Part {
  /** The tenant that the namespace belongs to. */
  lookup(namespace: string): KnownTenant | undefined;
  /** False until the tables were read for the first time: "no such tenant" means nothing before. */
  readonly loaded: boolean;
}

interface Row {
  readonly tenant_id: string;
  readonly name: string;
  readonly accepted: unknown;
  readonly namespaces: string[];
}

const TENANTS = `
  select t.tenant_id, t.name, t.accepted, array_agg(n.namespace) as namespaces
    from tenants t join tenant_namespaces n using (tenant_id)
   group by t.tenant_id`;

/** Read again this often, whatever was heard: heals a lost notification, and notices a connection that is dead. */
const RELOAD_MS = 30_000;
/** A burst of notifications (a statement for each table) is one reading. */
const SETTLE_MS = 20;

export function makeTenantDirectory(deps: {
  readonly url: PoolOptions["url"];
  readonly applicationName?: string;
  readonly log: Log;
  readonly random: Random;
}): TenantDirectory {
  const { log, random } = deps;
  const config = (): pg.ClientConfig =>
    connectionConfig({
      url: deps.url,
      applicationName: deps.applicationName ?? "unified-rbac tenants",
      statementTimeoutMs: 5_000,
    });
  const stopped = new AbortController();
  let byNamespace: ReadonlyMap<string, KnownTenant> = new Map();
  let loaded = false;
  let failures = 0;
  let loop: Promise<void> | undefined;

  const load = async (client: pg.Client): Promise<void> => {
    const { rows } = await client.query<Row>(TENANTS);
    byNamespace = index(rows, log);
    if (!loaded || failures > 0) log.info("loaded the tenants", { tenants: rows.length });
    loaded = true;
    failures = 0;
  };

  /** One connection's life: listens first, reads then, so that no change falls between. Ends when the connection does. */
  const follow = async (): Promise<void> => {
    const client = new pg.Client(config());
    const changed = makeNotifier();
    const ended = new AbortController();
    const end = (): void => {
      ended.abort();
      changed.notify();
    };
    const abandon = (): void => {
      end();
      void client.end().catch(() => {});
    };
    client.on("error", end);
    client.on("end", end);
    client.on("notification", () => changed.notify());
    stopped.signal.addEventListener("abort", abandon, { once: true });
    try {
      await client.connect();
      await client.query("listen tenants_changed");
      while (!ended.signal.aborted) {
        await load(client);
        await changed.wait(RELOAD_MS, ended.signal);
        if (!ended.signal.aborted) await pause(SETTLE_MS, ended.signal);
      }
      if (!stopped.signal.aborted) throw new Error("the connection ended");
    } finally {
      stopped.signal.removeEventListener("abort", abandon);
      await client.end().catch(() => {});
    }
  };

  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      try {
        await follow();
      } catch (error) {
        if (stopped.signal.aborted) return;
        // Once for each outage, not once for each try.
        if (failures === 0) log.warn("failed to follow the tenants; keeping the last view", { error });
        failures++;
        await pause(retryPauseMs(RETRIES.tenantDirectory, failures, random), stopped.signal);
      }
    }
  };

  return {
    name: "tenant directory",
    lookup: (namespace) => byNamespace.get(namespace),
    get loaded() {
      return loaded;
    },
    start() {
      loop = run();
    },
    async stop() {
      stopped.abort();
      await loop;
    },
  };
}

function index(rows: readonly Row[], log: Log): ReadonlyMap<string, KnownTenant> {
  const found = new Map<string, KnownTenant>();
  for (const row of rows) {
    const spec = tenantSpec.safeParse(row.accepted);
    if (!spec.success || !isTenantID(row.tenant_id)) {
      log.error("failed to read a mirrored tenant", { tenant: row.name });
      continue;
    }
    const tenant: KnownTenant = { tenantID: row.tenant_id, name: row.name, spec: spec.data };
    for (const namespace of row.namespaces) found.set(namespace, tenant);
  }
  return found;
}
