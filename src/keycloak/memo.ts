/** What a realm is like changes seldom; what a saga asks of it is the same each time. */
import type { Clock } from "../lib/clock.ts";

/** Longest time a change in the realm's settings, groups or roles goes unseen. */
export const MEMO_MS = 60_000;

export interface Memo<T> {
  /** The value kept for `key`, or what `load` gives. `undefined` and failures are not kept: what is missing may come at once. */
  get<K extends T | undefined>(key: string, load: () => Promise<K>): Promise<T | K>;
  forget(): void;
}

export function makeMemo<T>(clock: Clock): Memo<T> {
  const kept = new Map<string, { value: T; until: number }>();
  return {
    async get(key, load) {
      const held = kept.get(key);
      if (held !== undefined && clock.now() < held.until) return held.value;
      const value = await load();
      if (value !== undefined) kept.set(key, { value, until: clock.now() + MEMO_MS });
      return value;
    },
    forget() {
      kept.clear();
    },
  };
}
