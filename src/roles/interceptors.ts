import type { Bus } from "../bus/bus.ts";
import type { Cluster, OpenWatch } from "../kube/cluster.ts";
import type { Pool } from "../store/pool.ts";

/** The seam for fault injection: what the reconciler's clients are wrapped in. The crash tests end the process there. */
export interface Interceptors {
  readonly pool: (pool: Pool) => Pool;
  readonly cluster: (cluster: Cluster) => Cluster;
  readonly openWatch: (open: OpenWatch) => OpenWatch;
  readonly bus: (bus: Bus) => Bus;
}

export const NO_INTERCEPTORS: Interceptors = {
  pool: (pool) => pool,
  cluster: (cluster) => cluster,
  openWatch: (open) => open,
  bus: (bus) => bus,
};
