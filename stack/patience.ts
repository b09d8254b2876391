import { availableParallelism, loadavg } from "node:os";

/** However busy the machine is, nobody waits longer than so many times what a quiet one is given. */
const MOST_TIMES = 6;

/** What takes `quietMs` at most on a quiet machine gets more on a busy one: as much more as there is work for each core. */
export function patienceFor(quietMs: number, load: number, cores: number, mostTimes = MOST_TIMES): number {
  return quietMs * Math.min(mostTimes, Math.max(1, load / Math.max(1, cores)));
}

/** The same for this machine as it is now. Asked again and again, it follows the load: in milliseconds. */
export function patience(quietMs: number, mostTimes = MOST_TIMES): () => number {
  return () => patienceFor(quietMs, loadavg()[0] ?? 0, availableParallelism(), mostTimes);
}
