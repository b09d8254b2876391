import type { LoopPart } from "../lib/lifecycle.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { periodicPart } from "./loops.ts";

/** Often enough that a killed replica's work resumes within a few seconds; one cheap statement each. */
const READ_EVERY_MS = 2_000;

/**
 * Which workers live, by the numbers of their sessions. Postgres away: as last seen, for nobody's share of the work
 * should move because of that.
 */
export function makeMembership(deps: {
  readonly living: () => Promise<readonly number[]>;
  /** The number of this process; undefined while it has none. */
  readonly own: () => number | undefined;
  /** Called with the first answer and whenever somebody came or went, or the own number changed; sorted. */
  readonly changed: (living: readonly number[], own: number | undefined) => void;
  /** Our own session, which Postgres does not know any more: its leases are anybody's. */
  readonly lost: (own: number) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly everyMs?: number;
}): LoopPart {
  let known: string | undefined;
  return periodicPart({
    name: "membership",
    everyMs: deps.everyMs ?? READ_EVERY_MS,
    first: "at once",
    clock: deps.clock,
    async turn(signal) {
      // Before the others are read: one that is opened meanwhile is not among them yet.
      const before = deps.own();
      const living = (await deps.living()).toSorted((a, b) => a - b);
      if (signal.aborted) return;
      if (before !== undefined && !living.includes(before)) deps.lost(before);
      const own = deps.own();
      const now = `${living.join()}/${own ?? ""}`;
      if (now === known) return;
      known = now;
      deps.changed(living, own);
    },
    failed: (error) => deps.log.debug("failed to read who else works; everything stays as it is", { error }),
  });
}
