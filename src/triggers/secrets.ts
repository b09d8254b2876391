import type { Pool } from "pg";
import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../api/meta.ts";
import type { Jobs } from "../lib/jobs.ts";
import type { OpenWatch, WatchEvent } from "../kube/cluster.ts";
import { compareSecrets, touchSecret } from "../store/secretObservations.ts";
import { makeSharedWatches, type SharedWatches } from "./share.ts";
import { pathSegment } from "../lib/ids.ts";

export interface SecretWatchDeps {
  readonly openWatch: OpenWatch;
  readonly pool: Pool;
  readonly jobs: Pick<Jobs, "run">;
  /** In whose queue the work of a namespace is done. */
  readonly queueOf: (namespace: string) => string;
  readonly notify: () => void;
}

/** Of namespaces. */
export type SecretWatches = Pick<SharedWatches<{ readonly namespace: string }>, "follow" | "shareWith">;

const OURS = `${LABEL_MANAGED_BY}=${FIELD_MANAGER}`;

/**
 * Watches our Secrets in the tenants' namespaces, metadata only, by label: one that was changed, lost its label or went
 * makes its person's Secret step due. What only came is ours, just made. The namespaces are split over the replicas;
 * what happens while one passes from one to another is found by the list that a new watch begins with.
 */
export function watchSecrets(deps: SecretWatchDeps): SecretWatches {
  const { pool, jobs, notify } = deps;
  function onEvent(namespace: string, event: WatchEvent): void {
    if (event.kind === "listed") {
      const listed = event.items.map(({ uid = "", resourceVersion = "" }) => ({ uid, version: resourceVersion }));
      jobs.run({ queue: deps.queueOf(namespace), key: `list/${namespace}` }, async () => {
        if ((await compareSecrets(pool, namespace, listed)) > 0) notify();
      });
    } else if (event.kind !== "added") {
      const { name, resourceVersion } = event.object;
      const version = event.kind === "deleted" ? undefined : resourceVersion;
      jobs.run({ queue: deps.queueOf(namespace), key: `secret/${namespace}/${name}` }, async () => {
        if (await touchSecret(pool, namespace, name, version)) notify();
      });
    }
  }

  return makeSharedWatches(({ namespace }) => {
    const target = { path: `/api/v1/namespaces/${pathSegment(namespace)}/secrets`, labelSelector: OURS };
    return deps.openWatch(target, (event) => onEvent(namespace, event));
  });
}
