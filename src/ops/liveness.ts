import type { Clock } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";

const DEFAULT_ALLOWED_MS = 2 * 60_000;

export interface LoopReport {
  readonly name: string;
  readonly ageMs: number;
  readonly allowedMs: number;
  readonly ok: boolean;
}

export interface Liveness {
  report(): LoopReport[];
}

/** Alive means: every part that loops has turned lately. A process that merely answers may be dead inside. */
export function makeLiveness(clock: Clock, parts: readonly Part[]): Liveness {
  const since = clock.now();
  return {
    report: () =>
      parts.flatMap((part) => {
        const { name, allowedMs = DEFAULT_ALLOWED_MS } = part;
        const progress = part.lastProgress?.();
        if (progress === undefined) return [];
        const ageMs = clock.now() - Math.max(progress, since);
        return { name, ageMs, allowedMs, ok: ageMs <= allowedMs };
      }),
  };
}
