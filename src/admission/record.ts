/** Writing the record within the patience of the API server, and not at all where that is hopeless. */
import { RETRIES } from "../lib/backoff.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { AdmissionCandidate, CandidateRecord } from "../store/admissions.ts";
import type { PoolOptions } from "../store/pool.ts";

/** Together well below the webhook's timeoutSeconds of 2. */
export const RECORD_POOL = {
  max: 8,
  applicationName: "unified-rbac admission",
  connectionTimeoutMs: 200,
  statementTimeoutMs: 500,
  // For somebody else's row of the same key that is not committed yet; a row that exists is never waited for.
  lockTimeoutMs: 300,
  // Admission is sparse: a connection once made is kept.
  idleTimeoutMs: 0,
} as const satisfies Omit<PoolOptions, "url">;

const MOST_TOGETHER = 64;

/** "refused": Postgres does not take this one. Undefined: Postgres does not answer. The watch records both. */
export type RecordOutcome = CandidateRecord | "refused" | undefined;

/** Never throws. */
export type RecordCandidate = (candidate: AdmissionCandidate) => Promise<RecordOutcome>;

interface Waiting {
  readonly candidate: AdmissionCandidate;
  readonly answer: (record: RecordOutcome) => void;
}

/**
 * Whoever comes alone is written at once. In a rush those who come while a statement is under way share the next: one
 * commit for all of them, and each is answered after its own.
 */
export function makeRecord(deps: {
  /** In their order. What throws may be repeated. */
  readonly write: (candidates: readonly AdmissionCandidate[]) => Promise<readonly CandidateRecord[]>;
  readonly clock: Clock;
  readonly log: Log;
}): RecordCandidate {
  const { write, clock, log } = deps;
  let waiting: Waiting[] = [];
  let underWay = false;
  let pausedUntil = 0;
  let failing = false;

  function next(): void {
    if (underWay || waiting.length === 0) return;
    underWay = true;
    void settle(waiting.splice(0, MOST_TOGETHER)).finally(() => {
      underWay = false;
      next();
    });
  }

  async function settle(together: readonly Waiting[]): Promise<void> {
    try {
      const records = await write(together.map(({ candidate }) => candidate));
      if (failing) log.info("resumed recording");
      failing = false;
      for (const [n, { answer }] of together.entries()) answer(records[n]);
    } catch (error) {
      if (isOutage(error)) giveUp(together, error);
      // One of them spoilt it for all: each for itself.
      else if (together.length > 1) await Promise.all(together.map((each) => settle([each])));
      else refuse(together, error);
    }
  }

  function refuse([one]: readonly Waiting[], error: unknown): void {
    if (one === undefined) return;
    const { namespace, name } = one.candidate;
    log.warn("failed to record an admission; the watch records it", { namespace, name, error });
    one.answer("refused");
  }

  /** Those who wait behind them would only fail later. */
  function giveUp(together: readonly Waiting[], error: unknown): void {
    pausedUntil = clock.now() + RETRIES.admission.firstMs;
    if (!failing) log.warn("failed to reach Postgres; admitting without a record", { error });
    failing = true;
    const behind = waiting;
    waiting = [];
    for (const { answer } of [...together, ...behind]) answer(undefined);
  }

  return (candidate) => {
    if (clock.now() < pausedUntil) return Promise.resolve(undefined);
    return new Promise((answer) => {
      waiting.push({ candidate, answer });
      next();
    });
  };
}

/**
 * Classes of SQLSTATE that are about the database: whoever comes next would meet the same. Of what Postgres itself answers,
 * everything else is about the one row or request that was sent, for somebody may have made it so on purpose.
 */
const ABOUT_THE_DATABASE: ReadonlySet<string> = new Set([
  "08", // connection
  "0B", // no transaction can begin
  "25", // transaction state: a standby, idle too long
  "26", // a prepared statement is unknown: not our session any more
  "28", // the login is refused
  "3D", // no such database
  "3F", // no such schema
  "42", // no such table or function, no right to it: not this program's schema, or role
  "53", // out of connections, memory, disk
  "55", // not the state for it; except a lock that was not to be had
  "57", // shut down, cancelled, timed out
  "58", // the system below it
  "F0", // its configuration
  "HV", // a foreign server
  "XX", // a bug, a broken file
]);
const LOCK_NOT_AVAILABLE = "55P03";

/** Whether it is about more than this row; so is whatever has no SQLSTATE: a connection that is refused, or silent. */
function isOutage(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  // Names such as EPIPE have five letters too, and are no class with a digit or known to us.
  if (typeof code !== "string" || !/^[0-9A-Z]{5}$/.test(code) || /^E[A-Z]+$/.test(code)) return true;
  return code !== LOCK_NOT_AVAILABLE && ABOUT_THE_DATABASE.has(code.slice(0, 2));
}
