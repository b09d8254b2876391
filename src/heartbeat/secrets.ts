import type { Pool } from "pg";
import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../api/meta.ts";
import type { OpenWatch, Watch, WatchEvent } from "../kube/cluster.ts";
import { compareSecrets, touchSecret } from "../store/sightings.ts";
import type { Retries } from "./retries.ts";
import { watcherOf } from "./share.ts";

export interface SecretWatchDeps {
  readonly openWatch: OpenWatch;
  readonly pool: Pool;
  readonly retries: Retries;
  readonly look: () => void;
}

export interface SecretWatches {
  /** These namespaces are to be watched from now on, each by one of the living workers. */
  follow(namespaces: readonly string[]): void;
  /** Who lives. While our own number is not among them, all stays as it is. */
  shareWith(living: readonly number[], own: number | undefined): void;
}

const OURS = `${LABEL_MANAGED_BY}=${FIELD_MANAGER}`;

/**
 * Watches our Secrets in the tenants' namespaces, metadata only, by label: one that was changed, lost its label or went
 * makes its person's Secret step due. What only came is ours, just made. The namespaces are split over the replicas;
 * what happens while one passes from one to another is found by the list that a new watch begins with.
 */
export function watchSecrets(deps: SecretWatchDeps): SecretWatches {
  const { pool, retries, look } = deps;
  const watches = new Map<string, Watch>();
  let wanted: readonly string[] = [];
  let share: { readonly living: readonly number[]; readonly own: number } | undefined;

  function onEvent(namespace: string, event: WatchEvent): void {
    if (event.kind === "listed") {
      const listed = event.items.map(({ uid = "", resourceVersion = "" }) => ({ uid, version: resourceVersion }));
      retries.run(`secrets/${namespace}`, async () => {
        if ((await compareSecrets(pool, namespace, listed)) > 0) look();
      });
    } else if (event.kind !== "added") {
      const { name, resourceVersion } = event.object;
      const version = event.kind === "deleted" ? undefined : resourceVersion;
      retries.run(`secret/${namespace}/${name}`, async () => {
        if (await touchSecret(pool, namespace, name, version)) look();
      });
    }
  }

  function watchOurs(): void {
    if (share === undefined) return;
    const { living, own } = share;
    const ours = new Set(wanted.filter((namespace) => watcherOf(namespace, living) === own));
    for (const [namespace, watch] of watches) {
      if (ours.has(namespace)) continue;
      watches.delete(namespace);
      void watch.stop();
    }
    for (const namespace of ours) {
      if (watches.has(namespace)) continue;
      const target = { path: `/api/v1/namespaces/${namespace}/secrets`, labelSelector: OURS };
      watches.set(
        namespace,
        deps.openWatch(target, (event) => onEvent(namespace, event)),
      );
    }
  }

  return {
    follow(namespaces) {
      wanted = namespaces;
      watchOurs();
    },
    shareWith(living, own) {
      if (own === undefined || !living.includes(own)) return;
      share = { living, own };
      watchOurs();
    },
  };
}
