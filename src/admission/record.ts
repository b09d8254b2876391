/** Writing the record within the patience of the API server, and not at all where that is hopeless. */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { Candidate, CandidateRecord } from "../store/admissions.ts";
import type { PoolOptions } from "../store/pool.ts";

/** Together well below the webhook's timeoutSeconds of 2. */
export const RECORD_POOL = {
  max: 8,
  applicationName: "unified-rbac admission",
  connectionTimeoutMs: 200,
  statementTimeoutMs: 500,
  // A row that somebody works on right now; that one looks again anyway.
  lockTimeoutMs: 300,
  // Admission is sparse: a connection once made is kept.
  idleTimeoutMs: 0,
} as const satisfies Omit<PoolOptions, "url">;

/** After a failure of Postgres, for so long nobody waits for it. */
export const PAUSE_MS = 5_000;

/** Undefined: not recorded; the watch will do it. Never throws. */
export type RecordCandidate = (candidate: Candidate) => Promise<CandidateRecord | undefined>;

export function makeRecord(deps: {
  readonly write: (candidate: Candidate) => Promise<CandidateRecord>;
  readonly clock: Clock;
  readonly log: Log;
}): RecordCandidate {
  const { write, clock, log } = deps;
  let pausedUntil = 0;
  let failing = false;

  return async (candidate) => {
    if (clock.now() < pausedUntil) return undefined;
    try {
      const record = await write(candidate);
      if (failing) log.info("admission records again");
      failing = false;
      return record;
    } catch (error) {
      if (!isOutage(error)) {
        log.warn("a record could not be written", { ns: candidate.namespace, name: candidate.name, error });
        return undefined;
      }
      pausedUntil = clock.now() + PAUSE_MS;
      if (!failing) log.warn("admission cannot record, Postgres fails", { error });
      failing = true;
      return undefined;
    }
  };
}

// data exception, integrity violation, transaction rollback, lock not available: about this row, not about Postgres.
const ABOUT_THE_ROW = /^(22|23|40)|^55P03$/;

/** Anything but Postgres' own verdict on this one row. */
function isOutage(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code !== "string" || !ABOUT_THE_ROW.test(code);
}
