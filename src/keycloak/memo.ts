/** What a realm is like changes seldom; what a saga asks of it is the same each time. */
import type { Clock } from "../lib/clock.ts";

/** Longest time a change in the realm's settings, groups or roles goes unseen where nothing speaks against it. */
export const MEMO_MS = 60_000;

export interface Memo<T> {
  /** The value kept for `key`, or what `load` gives. `undefined` and failures are not kept: what is missing may come at once. */
  get<K extends T | undefined>(key: string, load: () => Promise<K>): Promise<T | K>;
}

/** All that is remembered of one realm. It is forgotten as a whole: what was made again has other ids everywhere. */
export interface Memory {
  memo<T>(): Memo<T>;
  forget(): void;
  /** How often something was answered from memory: whether an operation has relied on it. */
  recalls(): number;
}

interface Kept {
  readonly value: unknown;
  readonly until: number;
}

export function makeMemory(clock: Clock): Memory {
  const all: Map<string, Kept>[] = [];
  let recalls = 0;
  let forgotten = 0;
  return {
    memo<T>(): Memo<T> {
      const kept = new Map<string, Kept & { readonly value: T }>();
      all.push(kept);
      return {
        async get(key, load) {
          const held = kept.get(key);
          if (held !== undefined && clock.now() < held.until) {
            recalls += 1;
            return held.value;
          }
          const before = forgotten;
          const value = await load();
          // What was asked before a forgetting may be what was to be forgotten.
          if (value !== undefined && before === forgotten) kept.set(key, { value, until: clock.now() + MEMO_MS });
          return value;
        },
      };
    },
    forget() {
      forgotten += 1;
      for (const kept of all) kept.clear();
    },
    recalls: () => recalls,
  };
}
