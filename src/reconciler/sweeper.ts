import type { Pool } from "pg";
import type { Clock } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { voidUnconfirmed } from "../store/sightings.ts";
import { readStanding, type StoreStanding } from "../store/standing.ts";

export interface Sweeper extends Part {
  lastProgress(): number;
}

/** Slow housekeeping: candidates that were never seen are voided, those who wait are looked at again, numbers are read. */
export function makeSweeper(deps: {
  readonly pool: Pool;
  readonly everyMs: number;
  readonly reconsider: (signal: AbortSignal) => Promise<void>;
  readonly standing: (standing: StoreStanding) => void;
  readonly clock: Clock;
  readonly log: Log;
}): Sweeper {
  const stopping = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let progress = deps.clock.now();

  async function sweep(): Promise<void> {
    try {
      await voidUnconfirmed(deps.pool);
      await deps.reconsider(stopping.signal);
      deps.standing(await readStanding(deps.pool));
    } catch (error) {
      if (!stopping.signal.aborted) deps.log.debug("A sweep failed; the next one does it.", { error });
    }
    progress = deps.clock.now();
    if (!stopping.signal.aborted) arm();
  }

  function arm(): void {
    timer = setTimeout(() => {
      running = sweep();
    }, deps.everyMs);
  }

  return {
    name: "sweeper",
    lastProgress: () => progress,
    start: arm,
    stop: async () => {
      stopping.abort(new Error("shutting down"));
      clearTimeout(timer);
      await running;
    },
  };
}
