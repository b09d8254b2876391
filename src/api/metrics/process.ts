/** What each process exports of itself and of its connections to Postgres. */
import type { MetricEntries } from "./entry.ts";

export const PROCESS_METRICS = {
  unified_rbac_build_info: {
    type: "gauge",
    role: "both",
    help: "Always 1; the labels name what runs. Absent when no process of the role answers.",
    labels: { version: "the version of the program", node: "the version of Node.js" },
  },
  unified_rbac_postgres_pool_connections: {
    type: "gauge",
    role: "both",
    help: "Connections to Postgres that the pool holds.",
    labels: { state: ["idle", "active"] },
  },
  unified_rbac_postgres_pool_max_connections: {
    type: "gauge",
    role: "both",
    help: "The most connections to Postgres that the pool opens.",
  },
  unified_rbac_postgres_pool_waiting_requests: {
    type: "gauge",
    role: "both",
    help: "Statements that wait for a connection of the pool.",
  },
} as const satisfies MetricEntries;
