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
  // For somebody else's row of the same key that is not committed yet; a row that exists is never waited for.
  lockTimeoutMs: 300,
  // Admission is sparse: a connection once made is kept.
  idleTimeoutMs: 0,
} as const satisfies Omit<PoolOptions, "url">;

/** After a failure of Postgres, for so long nobody waits for it. */
export const PAUSE_MS = 5_000;

const MOST_TOGETHER = 64;

/** Undefined: not recorded; the watch will do it. Never throws. */
export type RecordCandidate = (candidate: Candidate) => Promise<CandidateRecord | undefined>;

interface Waiting {
  readonly candidate: Candidate;
  readonly answer: (record: CandidateRecord | undefined) => void;
}

/**
 * Whoever comes alone is written at once. In a rush those who come while a statement is under way share the next: one
 * commit for all of them, and each is answered after its own.
 */
export function makeRecord(deps: {
  /** In their order. What throws may be repeated. */
  readonly write: (candidates: readonly Candidate[]) => Promise<readonly CandidateRecord[]>;
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
      if (failing) log.info("admission records again");
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
    const { namespace: ns, name } = one.candidate;
    log.warn("a record could not be written", { ns, name, error });
    one.answer(undefined);
  }

  /** Those who wait behind them would only fail later. */
  function giveUp(together: readonly Waiting[], error: unknown): void {
    pausedUntil = clock.now() + PAUSE_MS;
    if (!failing) log.warn("admission cannot record, Postgres fails", { error });
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

// data exception, integrity violation, transaction rollback, lock not available: about this row, not about Postgres.
const ABOUT_THE_ROW = /^(22|23|40)|^55P03$/;

/** Anything but Postgres' own verdict on this one row. */
function isOutage(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code !== "string" || !ABOUT_THE_ROW.test(code);
}
