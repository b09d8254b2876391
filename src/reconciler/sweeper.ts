import type { Pool } from "pg";
import type { Clock } from "../lib/clock.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { deleteAudit, deleteEnded, deleteUnseen } from "../store/retention.ts";
import { voidUnconfirmed } from "../store/observations.ts";
import { periodicPart } from "./loops.ts";

/** Rows deleted by one statement, and statements of one sweep. */
const BATCH = 500;
const MOST_BATCHES = 20;
const RETAIN_EVERY_MS = 3_600_000;

type InBatches = (deleteOne: () => Promise<number>) => Promise<void>;

/** Slow housekeeping: candidates that were never seen are voided, then deleted, those who wait are called, and what is old enough. */
export function makeSweeper(deps: {
  readonly pool: Pool;
  readonly everyMs: number;
  /** In days; 0: for ever. */
  readonly retention: { readonly auditDays: number; readonly endedDays: number };
  /** Calls those who wait and were not called; must not wait for what comes of it. */
  readonly sweepPending: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}): LoopPart {
  let retainAt = deps.clock.now();

  /** The age of days is read once an hour. */
  async function retain(inBatches: InBatches): Promise<void> {
    const { auditDays, endedDays } = deps.retention;
    if (deps.clock.now() < retainAt) return;
    if (endedDays > 0) await inBatches(() => deleteEnded(deps.pool, { afterDays: endedDays, most: BATCH }));
    if (auditDays > 0) await inBatches(() => deleteAudit(deps.pool, { afterDays: auditDays, most: BATCH }));
    retainAt = deps.clock.now() + RETAIN_EVERY_MS;
  }

  const loop = periodicPart({
    name: "sweeper",
    everyMs: deps.everyMs,
    clock: deps.clock,
    async turn(signal, turns) {
      /** As long as there is something, and for one sweep no longer than that; the next one continues. */
      const inBatches: InBatches = async (deleteOne) => {
        for (let batch = 0; batch < MOST_BATCHES && !signal.aborted; batch += 1) {
          if ((await deleteOne()) === 0) return;
          turns.done();
        }
      };
      await voidUnconfirmed(deps.pool);
      await deps.sweepPending();
      await inBatches(() => deleteUnseen(deps.pool, { perTenant: BATCH / 10, most: BATCH }));
      await retain(inBatches);
    },
    failed: (error) => deps.log.debug("failed to sweep; the next sweep does it", { error }),
  });
  return { ...loop, allowedMs: 2 * deps.everyMs + 2 * 60_000 };
}
