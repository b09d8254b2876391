import type { Pool } from "pg";
import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../api/meta.ts";
import type { OpenWatch, Watch, WatchEvent } from "../kube/cluster.ts";
import { touchMissingSecrets, touchSecret } from "../store/sightings.ts";
import type { Retries } from "./retries.ts";

export interface SecretWatchDeps {
  readonly openWatch: OpenWatch;
  readonly pool: Pool;
  readonly retries: Retries;
  readonly look: () => void;
}

export interface SecretWatches {
  /** Watches exactly these namespaces from now on. */
  follow(namespaces: readonly string[]): void;
}

/**
 * Watches our Secrets in the tenants' namespaces, metadata only, by label: one that was changed, lost its label or went
 * makes its person's Secret step due. What only came is ours, just made.
 */
export function watchSecrets(deps: SecretWatchDeps): SecretWatches {
  const { pool, retries, look } = deps;
  const watches = new Map<string, Watch>();

  function onEvent(namespace: string, event: WatchEvent): void {
    if (event.kind === "listed") {
      const uids = event.items.map((item) => item.uid ?? "");
      retries.run(`secrets/${namespace}`, async () => {
        if ((await touchMissingSecrets(pool, namespace, uids)) > 0) look();
      });
    } else if (event.kind !== "added") {
      const { name, resourceVersion } = event.object;
      const version = event.kind === "deleted" ? undefined : resourceVersion;
      retries.run(`secret/${namespace}/${name}`, async () => {
        if (await touchSecret(pool, namespace, name, version)) look();
      });
    }
  }

  return {
    follow(namespaces) {
      for (const [namespace, watch] of watches) {
        if (namespaces.includes(namespace)) continue;
        watches.delete(namespace);
        void watch.stop();
      }
      for (const namespace of namespaces) {
        if (watches.has(namespace)) continue;
        const target = {
          path: `/api/v1/namespaces/${namespace}/secrets`,
          labelSelector: `${LABEL_MANAGED_BY}=${FIELD_MANAGER}`,
        };
        watches.set(
          namespace,
          deps.openWatch(target, (event) => onEvent(namespace, event)),
        );
      }
    },
  };
}
