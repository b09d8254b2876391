import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../lib/clock.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import { makeTurns, type Turns } from "./turns.ts";

/** A part that runs until its signal, which its stop gives. */
export function loopPart(of: {
  readonly name: string;
  readonly run: (signal: AbortSignal) => Promise<void>;
  readonly lastProgress: () => number;
  /** Given where others than `run` are stopped with it. */
  readonly stopping?: AbortController;
}): LoopPart {
  const { stopping = new AbortController() } = of;
  let loop: Promise<void> = Promise.resolve();
  return {
    name: of.name,
    lastProgress: of.lastProgress,
    start: () => {
      loop = of.run(stopping.signal);
    },
    stop: async () => {
      stopping.abort(new Error("shutting down"));
      await loop;
    },
  };
}

/** A part that does the same again and again, with a pause between; what fails is done by the next turn. */
export function periodicPart(of: {
  readonly name: string;
  readonly everyMs: number;
  /** Default: after the first pause. */
  readonly first?: "at once";
  readonly clock: Clock;
  readonly turn: (signal: AbortSignal, turns: Turns) => Promise<void>;
  readonly failed: (error: unknown) => void;
}): LoopPart {
  const turns = makeTurns(of.clock);
  async function run(signal: AbortSignal): Promise<void> {
    let pause = of.first === "at once" ? 0 : of.everyMs;
    while (!signal.aborted) {
      if (pause > 0) await sleep(pause, undefined, { signal }).catch(() => undefined);
      pause = of.everyMs;
      if (signal.aborted) return;
      try {
        await of.turn(signal, turns);
        turns.done();
      } catch (error) {
        turns.failed(error);
        if (!signal.aborted) of.failed(error);
      }
    }
  }
  return loopPart({ name: of.name, run, lastProgress: () => turns.lastProgress() });
}
