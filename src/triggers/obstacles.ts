import type { Pool } from "pg";
import type { Clock } from "../lib/clock.ts";
import type { Jobs } from "../lib/jobs.ts";
import type { OpenWatch, WatchEvent } from "../kube/cluster.ts";
import { pathSegment } from "../lib/ids.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { periodicPart } from "../reconciler/loops.ts";
import { waitedSecrets, type WaitedName, wakeForSecret, wakeLongObstructed } from "../store/obstacles.ts";
import { makeSharedWatches, type SharedWatches } from "./share.ts";

/** How soon a name that somebody begins to wait for is watched; one cheap statement each. */
const READ_EVERY_MS = 3_000;
/** Names watched for one tenant; whoever is beyond is due again by time alone. */
const NAMES_PER_TENANT = 20;
const WAKE_AFTER_MS = 5 * 60_000;

export type ObstacleWatches = LoopPart & Pick<SharedWatches<WaitedName>, "shareWith">;

/**
 * Watches the names under which a Secret that is not ours, or that is on its way out, stands in somebody's way: when it is
 * gone, they resume. One name each, metadata only, for what others keep in that namespace may be much.
 */
export function watchObstacles(deps: {
  readonly openWatch: OpenWatch;
  readonly pool: Pool;
  readonly jobs: Pick<Jobs, "run">;
  /** In whose queue the work of a namespace is done. */
  readonly queueOf: (namespace: string) => string;
  readonly notify: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly everyMs?: number;
}): ObstacleWatches {
  const { pool, jobs } = deps;
  function onEvent(place: WaitedName, event: WatchEvent): void {
    const isGone = event.kind === "deleted" || (event.kind === "listed" && event.items.length === 0);
    if (!isGone) return;
    jobs.run({ queue: deps.queueOf(place.namespace), key: `obstacle/${place.namespace}/${place.name}` }, async () => {
      if (await wakeForSecret(pool, place)) deps.notify();
    });
  }

  const watches = makeSharedWatches((place: WaitedName) => {
    const path = `/api/v1/namespaces/${pathSegment(place.namespace)}/secrets`;
    return deps.openWatch({ path, fieldSelector: `metadata.name=${place.name}` }, (event) => onEvent(place, event));
  });
  const loop = periodicPart({
    name: "obstacles",
    everyMs: deps.everyMs ?? READ_EVERY_MS,
    clock: deps.clock,
    async turn() {
      watches.follow(await waitedSecrets(pool, NAMES_PER_TENANT));
      if (await wakeLongObstructed(pool, WAKE_AFTER_MS, NAMES_PER_TENANT)) deps.notify();
    },
    failed: (error) => deps.log.debug("failed to read which Secrets are waited for", { error }),
  });
  return {
    ...loop,
    shareWith: (living, own) => watches.shareWith(living, own),
    stop: async () => {
      await loop.stop();
      await watches.stop();
    },
  };
}
