import type { Clock } from "../lib/clock.ts";

/** One loop that must keep turning. */
export interface Loop {
  readonly name: string;
  /** Milliseconds since the epoch of its last turn; 0: none yet. Must move while every neighbour is down. */
  readonly lastProgress: () => number;
  /** How long it may stand still. */
  readonly allowedMs: number;
}

export interface LoopReport {
  readonly name: string;
  readonly ageMs: number;
  readonly allowedMs: number;
  readonly ok: boolean;
}

export interface Liveness {
  register(loop: Loop): void;
  report(): LoopReport[];
}

/** Alive means: every loop has turned lately. A process that merely answers may be dead inside. */
export function makeLiveness(clock: Clock): Liveness {
  const loops: (Loop & { since: number })[] = [];
  return {
    register: (loop) => void loops.push({ ...loop, since: clock.now() }),
    report: () =>
      loops.map(({ name, lastProgress, allowedMs, since }) => {
        const ageMs = clock.now() - Math.max(lastProgress(), since);
        return { name, ageMs, allowedMs, ok: ageMs <= allowedMs };
      }),
  };
}
