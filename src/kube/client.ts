/** The cluster as the reconciler needs it, put together from one part per meaning. */
import type { Cluster } from "./cluster.ts";
import type { ApiClient } from "./apiClient.ts";
import { type EventDeps, makeEvents } from "./events.ts";
import { makePlatform } from "./platform.ts";
import { makeSecrets } from "./secrets.ts";
import { makeTenants } from "./tenants.ts";
import { makeUsers } from "./users.ts";

export function makeCluster(connection: ApiClient, deps: EventDeps): Cluster {
  return {
    ...makePlatform(connection),
    ...makeUsers(connection),
    ...makeTenants(connection),
    ...makeSecrets(connection),
    ...makeEvents(connection, deps),
  };
}
