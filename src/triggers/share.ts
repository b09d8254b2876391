import { createHash } from "node:crypto";
import type { Watch } from "../kube/cluster.ts";

/**
 * Which of the living workers watches a namespace: the one with the highest weight (rendezvous hashing). Everybody who
 * sees the same living names the same one, and when somebody comes or goes only his namespaces move.
 */
export function watcherOf(namespace: string, living: readonly number[]): number | undefined {
  const weighed = living.map((owner) => ({ owner, weight: weight(namespace, owner) }));
  return weighed.toSorted((a, b) => b.weight - a.weight || a.owner - b.owner)[0]?.owner;
}

function weight(namespace: string, owner: number): number {
  return createHash("sha256").update(`${owner}/${namespace}`).digest().readUIntBE(0, 6);
}

/** Watches of which each living worker has those of its namespaces. */
export interface SharedWatches<Item> {
  /** These are to be watched from now on, each by one of the living workers. */
  follow(items: readonly Item[]): void;
  /** Who lives. While our own number is not among them, all stays as it is. */
  shareWith(living: readonly number[], own: number | undefined): void;
  stop(): Promise<void>;
}

export function makeSharedWatches<Item extends { readonly namespace: string; readonly name?: string }>(
  open: (item: Item) => Watch,
): SharedWatches<Item> {
  const watches = new Map<string, Watch>();
  let wanted: readonly Item[] = [];
  let share: { readonly living: readonly number[]; readonly own: number } | undefined;
  let isStopped = false;

  function watchOurs(): void {
    if (share === undefined || isStopped) return;
    const { living, own } = share;
    const mine = wanted.filter(({ namespace }) => watcherOf(namespace, living) === own);
    const ours = new Map(mine.map((item) => [`${item.namespace}/${item.name ?? ""}`, item]));
    for (const [key, watch] of watches) {
      if (ours.has(key)) continue;
      watches.delete(key);
      void watch.stop();
    }
    for (const [key, item] of ours) if (!watches.has(key)) watches.set(key, open(item));
  }

  return {
    follow(items) {
      wanted = items;
      watchOurs();
    },
    shareWith(living, own) {
      if (own === undefined || !living.includes(own)) return;
      share = { living, own };
      watchOurs();
    },
    async stop() {
      isStopped = true;
      await Promise.all(Array.from(watches.values(), (watch) => watch.stop()));
      watches.clear();
    },
  };
}
