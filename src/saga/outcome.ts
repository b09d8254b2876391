import { REASON, type Reason } from "../api/reasons.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { UserEvent } from "../api/userEvent.ts";
import type { Random } from "../lib/clock.ts";
import type { SagaError } from "../lib/errors.ts";
import { type Advanced, afterBeginDown, afterEnd, afterFinish, afterOrphan, afterRelease } from "./advance.ts";
import { afterFailure } from "./failure.ts";
import type { Action, DecisionInput } from "./decide.ts";
import { deletedEvent, failedEvent, finishedEvents } from "./lifecycleEvents.ts";
import type { Situation } from "./report.ts";
import { type LastError, patched, type RowPatch, type SagaRow } from "./row.ts";

/** What became of one action, as a value: what to record, what the object shows, and who hears of it. */
export interface ActionOutcome {
  readonly patch: RowPatch;
  /** The action has recorded its patch by a statement of its own, or there was nothing to record. */
  readonly isRecorded?: boolean;
  /**
   * `continue`: the worker decides again under the same lease. `given-away`: the row belongs to another object or uuid.
   * Otherwise the claim ends, and the row is due at that time; null: when something touches it.
   */
  readonly next: "continue" | "given-away" | { readonly dueAt: Date | null };
  /** What the object's status reports; undefined: the status stays. */
  readonly situation?: Situation | undefined;
  /** For the bus. */
  readonly events?: readonly UserEvent[];
  /** The row gives up what others may wait for: its email, its place, or its object's finalizer. */
  readonly frees?: boolean;
  readonly log?: OutcomeLog;
  /** The class of the error with which the action failed. */
  readonly failure?: SagaError["class"];
  /** The object, where the action has changed it; null: it must be read again. */
  readonly object?: LiveTenantUser | null;
}

export interface OutcomeLog {
  readonly level: "info" | "warn";
  readonly outcome: string;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

export function outcomeLog(
  level: OutcomeLog["level"],
  outcome: string,
  message: string,
  fields: OutcomeLog["fields"] = {},
): OutcomeLog {
  return { level, outcome, message, fields };
}

/** Actions of which only their calls tell what becomes of them. */
type Call = "refuse" | "move-email" | "add-finalizer" | "up" | "invite" | "hand-over" | "down";

/** The outcome of an action that calls nobody, or whose calls have succeeded. */
export function conclude(action: Exclude<Action, { kind: Call }>, input: DecisionInput, now: Date): ActionOutcome {
  const { row, observation } = input;
  switch (action.kind) {
    case "idle":
      return idle(action, row);
    case "sleep":
      return end(action.until, retrying(row, action.until, now));
    case "wait": {
      const { reason, message, until } = action;
      const isUp = row.deleting === undefined;
      return end(until ?? null, isUp ? { kind: "waiting", reason, message } : retrying(row, until, now));
    }
    case "suspend":
      return end(null, { kind: "suspended" });
    case "await-deletion":
      return { patch: { missingSince: action.since }, next: { dueAt: action.until } };
    case "finish":
      return finish(action, input, now);
    case "orphan":
      return orphan(row, now);
    case "begin-down": {
      const { patch } = afterBeginDown(action.objectUID, action.since, action.purgeAt);
      // The object's last word, where it can be read and the Tenant allows it.
      const lastWord = observation.kind === "deleting" ? observation.deletionPolicy : undefined;
      const deletionPolicy = action.deletionPolicy ?? lastWord ?? row.deletionPolicy;
      return { patch: { ...patch, deletionPolicy }, next: "continue" };
    }
    case "retain": {
      const log = outcomeLog(
        "info",
        "retained",
        "kept the accounts and the Secret of a deleted object, as its policy asks",
      );
      return { patch: afterEnd(row, "retained", now).patch, next: "continue", log };
    }
    case "deleted": {
      const log = outcomeLog("info", "deleted", "removed everything of a deleted object");
      // Undone once more, after a late worker: the first time has told of it.
      const events = row.deleting?.again === true ? [] : [deletedEvent(row, now)];
      return { patch: afterEnd(row, "deleted", now).patch, next: "continue", events, log };
    }
    case "release": {
      const { patch, next } = afterRelease(row);
      return { patch, next: next.kind === "idle" ? { dueAt: null } : "continue", frees: true, object: null };
    }
    default:
      return action satisfies never;
  }
}

/** The outcome of an action that failed at this step. */
export function failed(
  { row, observation, tenant }: DecisionInput,
  step: LastError["step"],
  error: SagaError,
  now: Date,
  random: Random,
): ActionOutcome {
  const context = observation.kind === "present" ? { desired: observation.desired, tenant } : undefined;
  const advanced = afterFailure(row, step, error, context, now, random);
  const { patch } = advanced;
  const after = patched(row, patch);
  const dueAt = dueAfter(advanced);
  return {
    patch,
    next: { dueAt },
    situation: failureSituation(error, dueAt, after, now),
    failure: error.class,
    events: after.state === "failed" && row.state !== "failed" ? [failedEvent(after, step, error.code, now)] : [],
    log: outcomeLog(error.class === "terminal" ? "warn" : "info", error.class, FAILED[error.class], {
      step,
      attempt: after.retryCount,
      code: error.code,
      error,
    }),
  };
}

const FAILED: Readonly<Record<SagaError["class"], string>> = {
  transient: "failed to complete a step; retrying",
  conflict: "failed to complete a step; retrying",
  waiting: "waiting to complete a step",
  terminal: "failed to complete a step; a person must act",
};

/** What ends a claim. Also a suspended or stalled person may be deleted: what is to become of the accounts stands in the row. */
export function endingPatch({ observation }: DecisionInput, patch: RowPatch): RowPatch {
  if (observation.kind !== "present") return patch;
  return { deletionPolicy: observation.desired.deletionPolicy, ...patch };
}

function end(dueAt: Date | null, situation?: Situation): ActionOutcome {
  return { patch: {}, next: { dueAt }, situation };
}

function idle(action: Extract<Action, { kind: "idle" }>, row: SagaRow): ActionOutcome {
  if (action.why === "done") return end(action.until ?? null, { kind: "ready" });
  return end(null, action.why === "blocked" ? blocked(row) : undefined);
}

/** What a row shows that waits for a person. */
export function blocked({ lastError }: SagaRow): Situation {
  const { code: reason = REASON.RequestRefused, message = "A person must act." } = lastError ?? {};
  return { kind: "stalled", reason, message };
}

function finish(
  { run }: Extract<Action, { kind: "finish" }>,
  { row, observation, tenant }: DecisionInput,
  now: Date,
): ActionOutcome {
  if (observation.kind !== "present" || tenant === undefined) throw new Error("a run finished without its object");
  const advanced = afterFinish(row, run, observation.desired, tenant, now);
  return {
    patch: advanced.patch,
    next: { dueAt: dueAfter(advanced) },
    situation: { kind: "ready" },
    events: finishedEvents(patched(row, advanced.patch), run, row.rotation, now),
    log: outcomeLog("info", "ready", "provisioned everything that the object asks for"),
  };
}

function orphan(row: SagaRow, now: Date): ActionOutcome {
  const { patch } = afterOrphan(row, now);
  const log =
    patch.voided === true
      ? outcomeLog("info", "voided", "voided the row of an object that went before anything was made")
      : outcomeLog(
          "warn",
          "orphaned",
          row.deleting === undefined
            ? "lost an object without seeing a deletion; undoing nothing"
            : "stopped a deletion that began in another cluster; undoing nothing more",
        );
  return { patch, next: { dueAt: null }, frees: true, log };
}

function dueAfter({ next }: Advanced): Date | null {
  return next.kind === "retry" ? next.at : null;
}

function failureSituation(error: SagaError, dueAt: Date | null, after: SagaRow, now: Date): Situation {
  if (dueAt === null) return { kind: "stalled", reason: error.code, message: error.message };
  // Steps throw waiting errors with reasons of ours only.
  if (error.class === "waiting" && after.deleting === undefined) {
    return { kind: "waiting", reason: error.code as Reason, message: error.message };
  }
  return retrying(after, dueAt, now);
}

/** What the object shows between two attempts; `row` as it is recorded. */
function retrying({ deleting, lastError }: SagaRow, nextAt: Date | undefined, now: Date): Situation {
  if (deleting === undefined) return { kind: "retrying", nextAt: nextAt ?? now };
  const doing = "The reconciler removes the Secret, the gateway account and the Keycloak user.";
  return { kind: "deleting", message: lastError === undefined ? doing : `${doing} ${lastError.message}`, nextAt };
}
