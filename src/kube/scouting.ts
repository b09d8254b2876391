/** Watches that wait because nobody answered: one of them, the scout, asks every second, and its success wakes all. */
import type { Random } from "../lib/clock.ts";

const SCOUT_MS = 1_000;
/** All at once would be a storm on an API server that has just come back. */
const SPREAD_EACH_MS = 2;
const LONGEST_SPREAD_MS = 1_000;

export interface Scouting {
  /** Waits `ms`, or until somebody was answered; whoever is the scout waits a second at most. */
  rest(ms: number, signal: AbortSignal): Promise<void>;
  /** Somebody was answered. */
  answered(): void;
}

export function makeScouting(deps: {
  readonly random: Random;
  readonly recovered?: (() => void) | undefined;
}): Scouting {
  const resting = new Set<AbortController>();
  let scouting = false;
  return {
    async rest(ms, signal) {
      const isScout = !scouting;
      if (isScout) scouting = true;
      const woken = new AbortController();
      resting.add(woken);
      const spreadMs = (): number => deps.random() * Math.min(LONGEST_SPREAD_MS, SPREAD_EACH_MS * resting.size);
      try {
        await sleep(isScout ? Math.min(ms, SCOUT_MS) : ms, AbortSignal.any([signal, woken.signal]));
        if (woken.signal.aborted) await sleep(spreadMs(), signal);
      } finally {
        resting.delete(woken);
        if (isScout) scouting = false;
      }
    },
    answered() {
      if (resting.size === 0) return;
      for (const woken of resting) woken.abort();
      deps.recovered?.();
    },
  };
}

/** Ends early, and quietly, when told to stop. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const wake = (): void => resolve();
  signal.addEventListener("abort", wake, { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", wake);
  });
}
