import type { LiveTenantUser } from "../api/tenantUser.ts";
import { isSilence, type SagaError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Span } from "../lib/tracing.ts";
import { decide } from "../saga/decide.ts";
import { type Milestone, milestone } from "../saga/milestone.ts";
import { type ActionOutcome, endingPatch, outcomeLog, type OutcomeLog } from "../saga/outcome.ts";
import { patched, type SagaRow } from "../saga/row.ts";
import type { AuditEntry } from "../store/audit.ts";
import type { Claim } from "../store/claims.ts";
import { holdLease, type Lease, LeaseLost, type RecordClaim } from "./lease.ts";
import { observe, type ObserveDeps, type Observed } from "./observe.ts";
import { makePerform, type PerformDeps } from "./perform.ts";
import { type StatusDeps, writeStatus } from "./writeStatus.ts";

interface LoopDeps {
  readonly record: RecordClaim;
  /** Keeps entries that no record has taken; may be given some that one has, when its answer was lost. Never throws. */
  readonly keepAudit: (entries: readonly AuditEntry[]) => void;
  /** Somebody of this tenant came to another state. */
  readonly counted: (tenantID: string) => void;
  /** For metrics: somebody is Ready for the first time, or removed. */
  readonly reached: (milestone: Milestone) => void;
}

/** How a claim ended. `lost`: another worker has the row, and what was under way here may come late. */
export type ClaimResult = "success" | "requeue" | "error" | "lost";

export type ClaimDeps = LoopDeps & ObserveDeps & PerformDeps & StatusDeps;

/**
 * Takes one claimed row as far as it goes: observe, decide, perform, record, and again, until there is nothing to do now.
 * Never throws for what an upstream did; throws when Postgres fails (the lease then ends by itself).
 */
export function processClaim(deps: ClaimDeps, claim: Claim, signal: AbortSignal): Promise<ClaimResult> {
  const { uuid, tenantID, namespace, name, cause } = claim.row;
  const attributes = {
    "unified_rbac.user.uuid": uuid,
    "unified_rbac.tenant.id": tenantID,
    "k8s.namespace.name": namespace,
    "unified_rbac.object.name": name,
    "unified_rbac.request.uid": cause?.requestUID,
  };
  return deps.tracer.inTrace(cause?.traceparent, "reconcile", { attributes }, async (span) => {
    const result = await processIn(span, { ...deps, log: logOf(deps, claim, span) }, claim, signal);
    span.set({ "unified_rbac.outcome": result });
    return result;
  });
}

/** Each line says whose work it is, where somebody's request is known. */
function logOf({ log }: ClaimDeps, { row: { cause } }: Claim, { traceID }: Span): Log {
  if (traceID === undefined && cause === undefined) return log;
  return log.with({ traceID, requestUID: cause?.requestUID });
}

async function processIn(span: Span, deps: ClaimDeps, claim: Claim, signal: AbortSignal): Promise<ClaimResult> {
  const lease = holdLease(deps.record, claim, span.traceparent);
  const perform = makePerform(deps, lease, signal);
  // Read once per claim: what changes meanwhile touches the row, and the next claim reads it.
  let object: LiveTenantUser | undefined;
  try {
    for (;;) {
      const observed = await observe(deps, lease.row(), object, signal);
      if ("failure" in observed) return await postpone(deps, lease, observed.failure, signal);
      const action = decide(observed.input, new Date(deps.clock.now()));
      const outcome = await perform(observed, action);
      await settle(deps, lease, observed, outcome, signal);
      if (outcome.next !== "continue") return resultOf(outcome);
      object = outcome.object === undefined ? observed.object : (outcome.object ?? undefined);
    }
  } catch (error) {
    if (error instanceof LeaseLost) return "lost";
    throw error;
  } finally {
    if (lease.unrecorded().length > 0) deps.keepAudit(lease.unrecorded());
    const { state, tenantID } = lease.row();
    if (state !== claim.row.state) deps.counted(tenantID);
  }
}

function resultOf({ failure, next }: ActionOutcome): ClaimResult {
  if (failure !== undefined && failure !== "waiting") return "error";
  return typeof next === "object" && next.dueAt !== null ? "requeue" : "success";
}

/**
 * Records what became of an action, and tells of it. Where the claim ends, the status is written before the record: a cut
 * in between writes it again, and differs in nothing.
 */
async function settle(
  deps: ClaimDeps,
  lease: Lease,
  observed: Observed,
  outcome: ActionOutcome,
  signal: AbortSignal,
): Promise<void> {
  const { patch, next, events, situation } = outcome;
  // As it was before: its end may take the object's name from it.
  const held = lease.row();
  if (outcome.isRecorded === true) lease.learn(patch);
  else if (typeof next === "string") await lease.recordAndContinue(patch, events);
  else {
    const failure = await writeStatus(deps, observed, patched(held, patch), situation, signal);
    const dueAt = failure === undefined ? next.dueAt : statusDueAt(deps, held, failure, next.dueAt);
    if (failure === undefined) deps.pauses.succeeded(`status/${held.uuid}`);
    await lease.recordAndEnd(endingPatch(observed.input, patch), dueAt, events);
  }
  const now = milestone(held, observed.input.observation, patch, new Date(deps.clock.now()));
  if (now !== undefined) deps.reached(now);
  if (outcome.log !== undefined) logOutcome(deps, held, observed.object, outcome.log);
  if (outcome.frees === true) deps.released(held);
}

/** A status that could not be written is the rest of this work. */
function statusDueAt(deps: ClaimDeps, row: SagaRow, error: SagaError, dueAt: Date | null): Date {
  logOutcome(
    deps,
    row,
    undefined,
    outcomeLog("info", "status-failed", "failed to write the status; retrying", { error }),
  );
  const at = new Date(deps.clock.now() + pauseAfter(deps, `status/${row.uuid}`, error));
  return dueAt !== null && dueAt < at ? dueAt : at;
}

/** The API server did not let the worker look. This is not the saga's failure: nothing is counted, and nothing shown. */
async function postpone(deps: ClaimDeps, lease: Lease, error: SagaError, signal: AbortSignal): Promise<"error"> {
  const row = lease.row();
  const pause = signal.aborted ? 0 : pauseAfter(deps, `read/${row.uuid}`, error);
  await lease.recordAndEnd({}, new Date(deps.clock.now() + pause));
  logOutcome(deps, row, undefined, outcomeLog("warn", "postponed", "failed to read the object; retrying", { error }));
  return "error";
}

/**
 * The API server's silence ends for all at once; what is wrong with one object alone (it cannot be read, its status cannot
 * be written) is tried again more and more rarely.
 */
function pauseAfter({ pauses, random }: ClaimDeps, key: string, error: SagaError): number {
  return isSilence(error) ? 1000 + random() * 4000 : pauses.failed(key);
}

/** One line per outcome. */
function logOutcome(
  { log }: ClaimDeps,
  { uuid: saga, namespace, name }: SagaRow,
  object: LiveTenantUser | undefined,
  { level, outcome, message, fields }: OutcomeLog,
): void {
  log[level](message, { saga, namespace, name, generation: object?.metadata.generation, outcome, ...fields });
}
