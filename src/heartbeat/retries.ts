import type { Log } from "../lib/log.ts";
import type { Random } from "../lib/clock.ts";

/** Runs jobs by key: a newer job of a key replaces one that waits; a job that throws runs again after a pause. */
export interface Retries {
  run(key: string, job: (signal: AbortSignal) => Promise<void>): void;
  /** What failed may succeed now: every job that waits for its next try is tried at once. */
  hurry(): void;
  /** Resolves when every job known now has been tried once. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

const LONGEST_MS = 30_000;

export function makeRetries(deps: {
  readonly concurrency: number;
  readonly random: Random;
  readonly log: Log;
}): Retries {
  const stopping = new AbortController();
  const waiting = new Map<string, (signal: AbortSignal) => Promise<void>>();
  const failures = new Map<string, number>();
  const running = new Map<string, Promise<void>>();
  /** What is to be tried again, by the timer that waits for it. */
  const pausing = new Map<NodeJS.Timeout, () => void>();
  /** Jobs not tried yet, by key, with those who wait for them. */
  const untried = new Map<string, PromiseWithResolvers<void>>();

  function next(): void {
    if (stopping.signal.aborted) return;
    for (const [key, job] of waiting) {
      if (running.size >= deps.concurrency) return;
      if (running.has(key)) continue;
      waiting.delete(key);
      const tried = untried.get(key);
      untried.delete(key);
      const done = job(stopping.signal).then(
        () => void failures.delete(key),
        (error: unknown) => again(key, job, error),
      );
      running.set(
        key,
        done.finally(() => {
          running.delete(key);
          tried?.resolve();
          next();
        }),
      );
    }
  }

  function again(key: string, job: (signal: AbortSignal) => Promise<void>, error: unknown): void {
    if (stopping.signal.aborted) return;
    const count = (failures.get(key) ?? 0) + 1;
    failures.set(key, count);
    const pause = Math.min(LONGEST_MS, 250 * 2 ** Math.min(10, count)) * (1 + deps.random() / 4);
    deps.log.warn("A sight could not be taken in; it is tried again.", { error, attempt: count });
    const timer = setTimeout(() => {
      pausing.delete(timer);
      tryAgain();
    }, pause);
    const tryAgain = (): void => {
      // A newer sight of the same object has the word.
      if (!waiting.has(key)) waiting.set(key, job);
      next();
    };
    pausing.set(timer, tryAgain);
  }

  return {
    run(key, job) {
      waiting.set(key, job);
      if (!untried.has(key)) untried.set(key, Promise.withResolvers());
      next();
    },
    hurry() {
      const all = [...pausing];
      pausing.clear();
      for (const [timer, tryAgain] of all) {
        clearTimeout(timer);
        tryAgain();
      }
    },
    settled: async () => {
      await Promise.all([...running.values(), ...Array.from(untried.values(), ({ promise }) => promise)]);
    },
    stop: async () => {
      stopping.abort(new Error("shutting down"));
      for (const timer of pausing.keys()) clearTimeout(timer);
      await Promise.allSettled(running.values());
    },
  };
}
