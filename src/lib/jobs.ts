import { RETRIES, retryPauseMs } from "./backoff.ts";
import type { Clock, Random } from "./clock.ts";
import type { Log } from "./log.ts";

export type Job = (signal: AbortSignal) => Promise<void>;

/** Whose work it is, and which: a queue is a tenant, or what else must not wait for a tenant. */
export interface Place {
  readonly queue: string;
  readonly key: string;
}

/**
 * Runs jobs by key: a newer job of a key replaces one that waits; a job that throws runs again after a pause. Fair: the
 * queues take turns, none has more than half of what runs at once, and the last quarter is for those of whom nothing runs.
 */
export interface Jobs {
  run(place: Place, job: Job): void;
  /** What failed may succeed now: every job that waits for its next try is tried at once. */
  hurry(): void;
  /** Resolves when every job of this queue that is known now has been tried once. */
  settled(queue: string): Promise<void>;
  /** Milliseconds since the epoch of the last job that ended, however; now, while there is nothing to run. */
  lastProgress(): number;
  stop(): Promise<void>;
}

interface Queue {
  readonly waiting: Map<string, Job>;
  readonly running: Map<string, Promise<void>>;
  /** Jobs not tried yet, with those who wait for them. */
  readonly untried: Map<string, PromiseWithResolvers<void>>;
}

export function makeJobs(deps: {
  readonly concurrency: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}): Jobs {
  const { concurrency, clock, random, log } = deps;
  const most = Math.max(1, Math.floor(concurrency / 2));
  const reserved = Math.floor(concurrency / 4);
  const stopping = new AbortController();
  /** Those with something to do, the one whose turn it is first. */
  const queues = new Map<string, Queue>();
  const failures = new Map<string, number>();
  /** What is to be tried again, by the timer that waits for it. */
  const pausing = new Map<NodeJS.Timeout, () => void>();
  let running = 0;
  let progress = clock.now();

  const nameOf = ({ queue, key }: Place): string => `${queue}\n${key}`;

  function queueOf(name: string): Queue {
    const known = queues.get(name);
    if (known !== undefined) return known;
    const queue = { waiting: new Map(), running: new Map(), untried: new Map() };
    queues.set(name, queue);
    return queue;
  }

  function next(): void {
    while (!stopping.signal.aborted && running < concurrency) {
      const found = choose();
      if (found === undefined) return;
      start(found.place, found.queue, found.job);
    }
  }

  function choose() {
    for (const [name, queue] of queues) {
      if (queue.running.size >= most) continue;
      if (queue.running.size > 0 && concurrency - running <= reserved) continue;
      // As many as run at most are passed over.
      for (const [key, job] of queue.waiting) {
        if (!queue.running.has(key)) return { place: { queue: name, key }, queue, job };
      }
    }
    return undefined;
  }

  function start(place: Place, queue: Queue, job: Job): void {
    const { key } = place;
    queue.waiting.delete(key);
    const tried = queue.untried.get(key);
    queue.untried.delete(key);
    // The others' turn.
    queues.delete(place.queue);
    queues.set(place.queue, queue);
    running += 1;
    const done = attempt(place, job).finally(() => {
      running -= 1;
      progress = clock.now();
      queue.running.delete(key);
      if (queue.running.size + queue.waiting.size === 0) queues.delete(place.queue);
      tried?.resolve();
      next();
    });
    queue.running.set(key, done);
  }

  async function attempt(place: Place, job: Job): Promise<void> {
    try {
      await job(stopping.signal);
      failures.delete(nameOf(place));
    } catch (error) {
      again(place, job, error);
    }
  }

  function again(place: Place, job: Job, error: unknown): void {
    if (stopping.signal.aborted) return;
    const name = nameOf(place);
    const count = (failures.get(name) ?? 0) + 1;
    failures.set(name, count);
    const pause = retryPauseMs(RETRIES.job, count, random);
    log.warn("failed to process what a watch reported; retrying", { queue: place.queue, error, attempt: count });
    const tryAgain = (): void => {
      // A newer job of the same key has the word.
      const { waiting } = queueOf(place.queue);
      if (!waiting.has(place.key)) waiting.set(place.key, job);
      next();
    };
    const timer = setTimeout(() => {
      pausing.delete(timer);
      tryAgain();
    }, pause);
    pausing.set(timer, tryAgain);
  }

  return {
    run({ queue: name, key }, job) {
      const queue = queueOf(name);
      // Work that comes after a rest is not late.
      if (running === 0) progress = clock.now();
      queue.waiting.set(key, job);
      if (!queue.untried.has(key)) queue.untried.set(key, Promise.withResolvers());
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
    settled: async (name) => {
      const queue = queues.get(name);
      if (queue === undefined) return;
      await Promise.all([...queue.running.values(), ...Array.from(queue.untried.values(), ({ promise }) => promise)]);
    },
    lastProgress: () => (running === 0 ? clock.now() : progress),
    stop: async () => {
      stopping.abort(new Error("shutting down"));
      for (const timer of pausing.keys()) clearTimeout(timer);
      await Promise.allSettled([...queues.values()].flatMap((queue) => [...queue.running.values()]));
    },
  };
}
