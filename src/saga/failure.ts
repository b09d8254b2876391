/** What becomes of a row whose action has failed. */
import { REASON } from "../api/reasons.ts";
import { FAILED_AFTER, proportionalPauseMs, RETRIES, stepPauseMs } from "../lib/backoff.ts";
import type { Random } from "../lib/clock.ts";
import type { SagaError } from "../lib/errors.ts";
import { type Advanced, remember } from "./advance.ts";
import { fingerprint, noLaterThanRelease, type TenantView } from "./decide.ts";
import type { Desired } from "./desired.ts";
import type { LastError, RowPatch, Run, SagaRow } from "./row.ts";
import { SECRET_OBSTACLES } from "./secretObstacles.ts";

/** Whoever waits is polled after 1 s, and from then on every 8 to 10 s: what it waits for tells it nothing when it comes. */
const WAITING_PACE = 4;

/** An attempt at a step failed. Terminal: until something of the fingerprint changes. Everything else: again, later. */
export function afterFailure(
  row: SagaRow,
  step: LastError["step"],
  error: SagaError,
  context: { readonly desired: Desired; readonly tenant: TenantView | undefined } | undefined,
  now: Date,
  random: Random,
): Advanced {
  const said = described(error, step, now);
  const isRepeated = row.lastError?.code === said.code && row.lastError.step === step;
  if (error.class === "waiting") return waits(row, error, said, isRepeated, random);
  const told: RowPatch = { lastError: said, history: isRepeated ? row.history : remembered(row, said) };
  const failedSince = row.failedSince ?? now;
  if (error.class === "terminal" && context !== undefined) {
    const blockedOn = fingerprint(context.desired, context.tenant);
    return { patch: { ...told, state: "failed", blockedOn, backoffUntil: null, failedSince }, next: { kind: "idle" } };
  }
  const retryCount = row.retryCount + 1;
  const at = new Date(now.getTime() + stepPauseMs(retryCount, retryAfterMs(error), random));
  const hasFailed = retryCount >= FAILED_AFTER && row.deleting === undefined;
  return {
    patch: {
      ...told,
      retryCount,
      backoffUntil: at,
      blockedOn: null,
      ...(row.run === undefined ? {} : { run: again(row.run, error) }),
      ...(hasFailed ? { state: "failed", failedSince } : {}),
    },
    next: { kind: "retry", at: inTime(row, at, now) },
  };
}

/** What waits for the same is told once: a new time alone would be a write of the status at every poll. */
function waits(row: SagaRow, error: SagaError, said: LastError, isRepeated: boolean, random: Random): Advanced {
  const now = new Date(said.at);
  const before = isRepeated ? row.lastError : undefined;
  const lastError = before?.class === "waiting" && before.message === said.message ? before : said;
  const since = before?.at ?? said.at;
  const isObstacle = SECRET_OBSTACLES.includes(error.code);
  const pause = isObstacle
    ? proportionalPauseMs(RETRIES.secretObstacle, now.getTime() - new Date(since).getTime(), random)
    : (retryAfterMs(error) ?? stepPauseMs(isRepeated ? WAITING_PACE : 1, undefined, random));
  const at = new Date(now.getTime() + pause);
  return {
    patch: { lastError: isObstacle ? { ...lastError, at: since } : lastError, backoffUntil: at },
    next: { kind: "retry", at: inTime(row, at, now) },
  };
}

/** However long the upstream wants us to wait, the object is released in time. */
function inTime({ deleting }: SagaRow, at: Date, now: Date): Date {
  return deleting === undefined ? at : noLaterThanRelease(deleting, at, now);
}

function retryAfterMs(error: SagaError): number | undefined {
  return "retryAfterMs" in error && typeof error.retryAfterMs === "number" ? error.retryAfterMs : undefined;
}

/** The same step once more; an account that is gone is made by the step before. */
function again(run: Run, error: SagaError): Run {
  const step = error.code === REASON.AccountGone && run.step === "secret" ? "newapi" : run.step;
  return { ...run, step, attempt: run.attempt + 1 };
}

function remembered(row: SagaRow, { at, code, message }: LastError): SagaRow["history"] {
  return remember(row, { at, generation: row.run?.generation, state: row.state, reason: code, message });
}

function described(error: SagaError, step: LastError["step"], now: Date): LastError {
  const { class: kind, code, upstreamStatus, message } = error;
  return { step, class: kind, code, upstreamStatus, message, at: now.toISOString() };
}
