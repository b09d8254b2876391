import type { Bus } from "../bus/bus.ts";
import type { Cluster, OpenWatch } from "../kube/cluster.ts";
import type { Pool } from "../store/pool.ts";

/** What stands between the reconciler and its neighbours. The crash tests put the end of the process there. */
export interface Between {
  readonly pool: (pool: Pool) => Pool;
  readonly cluster: (cluster: Cluster) => Cluster;
  readonly openWatch: (open: OpenWatch) => OpenWatch;
  readonly bus: (bus: Bus) => Bus;
}

export const NOTHING_BETWEEN: Between = {
  pool: (pool) => pool,
  cluster: (cluster) => cluster,
  openWatch: (open) => open,
  bus: (bus) => bus,
};
