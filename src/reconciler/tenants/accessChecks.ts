import type { Clock, Random } from "../../lib/clock.ts";

/**
 * Our rights in a namespace change rarely, and whoever misses one invalidates what was found: a namespace that was well is
 * asked about again only after this, give or take a third. A thousand namespaces cost 33 calls a minute, not 2,000.
 */
const WELL_MS = 60 * 60_000;

/** In which namespaces our rights were found complete, and until when that is believed. */
export interface AccessChecks {
  isFresh(namespace: string): boolean;
  /** Keeps what `ask` found: fresh when nothing was missing, unless it was invalidated meanwhile. */
  refresh<T>(namespace: string, ask: () => Promise<readonly T[]>): Promise<readonly T[]>;
  /** The next check asks. */
  forget(namespace: string): void;
  /** The same, and what is being asked now does not count. False: it would be asked about anyway. */
  invalidate(namespace: string): boolean;
}

export function makeAccessChecks({ clock, random }: { readonly clock: Clock; readonly random: Random }): AccessChecks {
  const freshUntil = new Map<string, number>();
  let invalidations = 0;

  return {
    isFresh: (namespace) => clock.now() < (freshUntil.get(namespace) ?? 0),
    async refresh(namespace, ask) {
      const before = invalidations;
      const missing = await ask();
      if (missing.length > 0 || invalidations > before) freshUntil.delete(namespace);
      else freshUntil.set(namespace, clock.now() + WELL_MS * (2 / 3 + (random() * 2) / 3));
      return missing;
    },
    forget: (namespace) => void freshUntil.delete(namespace),
    invalidate(namespace) {
      invalidations += 1;
      return freshUntil.delete(namespace);
    },
  };
}
