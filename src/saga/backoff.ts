import type { Random } from "../lib/clock.ts";

/** Transient failures in a row after which a row is `failed`: it goes on by itself, more slowly. */
export const FAILED_AFTER = 5;
const LONGEST_MS = 5 * 60_000;

/**
 * The pause after the n-th failure in a row (n from 1), in milliseconds: 1, 2, 4, 8, 16 s, then on up to 5 min, each
 * with up to a quarter of jitter. A neighbour's Retry-After is never undercut.
 */
export function backoffMs(failures: number, retryAfterMs: number | undefined, random: Random): number {
  const base = Math.min(LONGEST_MS, 1000 * 2 ** Math.min(20, failures - 1));
  return Math.max(Math.round(base * (1 + random() / 4)), retryAfterMs ?? 0);
}
