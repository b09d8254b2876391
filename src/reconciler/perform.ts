import { REASON } from "../api/reasons.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import { TerminalError } from "../lib/errors.ts";
import { afterBeginDown, afterEnd, afterFinish, afterOrphan, afterRelease } from "../saga/advance.ts";
import type { Action, Sight } from "../saga/decide.ts";
import type { Situation } from "../saga/report.ts";
import { patched, type RowPatch, type SagaRow } from "../saga/row.ts";
import { failed } from "./failed.ts";
import { deletedEvent, finishedEvents } from "./notices.ts";
import { note, retrying } from "./say.ts";
import { tenantView } from "./sight.ts";
import { stepDown, stepUp } from "./stepping.ts";
import { attempt, type End, GivenAway, keep, LeaseLost, nowOf, tell, type Work } from "./work.ts";

/** Carries out one action. "goOn": decide again; an End: the claim is over. */
export async function perform(work: Work, action: Action, sight: Sight): Promise<End | "goOn"> {
  const { row } = work.claim;
  switch (action.kind) {
    case "rest":
      return rest(row, action);
    case "sleep":
      return quiet(action.until, retrying(work, action.until));
    case "wait": {
      const situation: Situation =
        row.deleting === undefined
          ? { kind: "waiting", reason: action.reason, message: action.message }
          : retrying(work, action.until);
      return quiet(action.until ?? null, situation);
    }
    case "refuse": {
      const { reason: code, message } = action.refusal;
      return failed(work, "admission", new TerminalError({ code, message }), sight);
    }
    case "suspend":
      return quiet(null, { kind: "suspended" });
    case "move-email":
      return moveEmail(work, action.email);
    case "add-finalizer":
      return addFinalizer(work, sight);
    case "up":
      return stepUp(work, action.run, sight);
    case "finish":
      return finish(work, action.run, sight);
    case "miss":
      return { patch: { missingSince: action.since }, dueAt: action.until, situation: undefined, events: [] };
    case "orphan":
      return orphan(work, action.release, sight);
    case "begin-down":
      await keep(work, {
        ...afterBeginDown(action.objectUID, action.since, action.purgeAt).patch,
        ...lastPolicy(work.object),
      });
      return "goOn";
    case "hand-over":
      return handOver(work, sight);
    case "down":
      return stepDown(work, action.step, action.how, sight);
    case "retain":
      await keep(work, afterEnd(row, "retained", nowOf(work)).patch);
      tell(work, "retained", "info", "The object was deleted; the accounts and the Secret stay, as it asked.");
      return "goOn";
    case "deleted":
      await keep(
        work,
        afterEnd(row, "deleted", nowOf(work)).patch,
        row.deleting?.again === true ? [] : [deletedEvent(row, nowOf(work))],
      );
      tell(work, "deleted", "info", "Everything is undone.");
      return "goOn";
    case "release":
      return release(work, action.debt, sight);
    default:
      return action satisfies never;
  }
}

/** As the object has it when it goes: the last word, where it can be read. */
function lastPolicy(object: LiveTenantUser | undefined): RowPatch {
  // An object on its way out may have a spec of any shape.
  const policy: unknown = (object?.spec as Partial<LiveTenantUser["spec"]> | undefined)?.deletionPolicy;
  return policy === "Delete" || policy === "Retain" ? { deletionPolicy: policy } : {};
}

function quiet(dueAt: Date | null, situation?: Situation): End {
  return { patch: {}, dueAt, situation, events: [] };
}

function rest(row: SagaRow, action: Extract<Action, { kind: "rest" }>): End {
  switch (action.why) {
    case "done":
      return quiet(action.until ?? null, { kind: "ready" });
    case "blocked": {
      const error = row.lastError;
      const reason = error?.code ?? REASON.RequestRefused;
      return quiet(null, { kind: "stalled", reason, message: error?.message ?? "A person must act." });
    }
    case "ended":
    case "unconfirmed":
    case "voided":
      return quiet(null);
    default:
      return action satisfies never;
  }
}

async function moveEmail(work: Work, email: string): Promise<End | "goOn"> {
  const { row } = work.claim;
  const binding = await work.deps.moveEmail(row, email);
  if (binding === undefined) throw new LeaseLost();
  switch (binding.kind) {
    case "bound":
      work.claim = { ...work.claim, row: { ...row, email } };
      tell(work, "email-moved", "info", "The person has another email.");
      work.deps.released(row.tenantID);
      return "goOn";
    case "waiting":
      return quiet(null, { kind: "waiting", reason: binding.reason, message: binding.message });
    case "refused":
      return quiet(null, { kind: "stalled", reason: binding.reason, message: binding.message });
    default:
      return binding satisfies never;
  }
}

async function addFinalizer(work: Work, sight: Sight): Promise<End | "goOn"> {
  const { object, deps, signal } = work;
  if (object === undefined) throw new Error("a finalizer was to be added to no object");
  const failure = await attempt(async () => {
    work.object = (await deps.cluster.addFinalizer(object, signal)) as LiveTenantUser;
  });
  return failure === undefined ? "goOn" : failed(work, "finalizer", failure, sight);
}

function finish(work: Work, run: Extract<Action, { kind: "finish" }>["run"], sight: Sight): End {
  const { row } = work.claim;
  const tenant = tenantView(work);
  if (sight.kind !== "present" || tenant === undefined) throw new Error("a run finished without its object");
  const now = nowOf(work);
  const { patch, next } = afterFinish(row, run, sight.desired, tenant, now);
  const events = finishedEvents(patched(row, patch), run, row.rotation, now);
  return { patch, dueAt: next.kind === "retry" ? next.at : null, situation: { kind: "ready" }, events };
}

async function orphan(work: Work, letGo: boolean, sight: Sight): Promise<End> {
  const { object, deps, signal } = work;
  if (letGo && object !== undefined) {
    const failure = await attempt(() => deps.cluster.removeFinalizer(object, signal));
    if (failure !== undefined) return failed(work, "release", failure, sight);
  }
  tell(work, "orphaned", "warn", "The object went without a deletion having been seen; nothing is undone.");
  const { patch } = afterOrphan(work.claim.row, nowOf(work));
  return { patch, dueAt: null, situation: undefined, events: [], frees: true };
}

/**
 * The deleted holder gives its saga to the one who waits for the email; from then on the row is the newcomer's. Should
 * the release of the old object fail, it stands among those who wait, and is let go when they are looked at.
 */
async function handOver(work: Work, sight: Sight): Promise<never> {
  const { deps, object, signal } = work;
  const { row } = work.claim;
  const to = work.heir;
  if (to === undefined) throw new Error("a saga was to be handed over to nobody");
  const given = await deps.handOver(work.claim, to).catch((error: unknown) => {
    // Perhaps only the answer was lost.
    deps.released(row.tenantID);
    throw error;
  });
  if (!given) throw new LeaseLost();
  tell(work, "handed-over", "info", `The person passed to ${to.namespace}/${to.name}.`);
  if (sight.kind === "deleting" && object !== undefined) {
    await attempt(() => deps.cluster.removeFinalizer(object, signal));
  }
  deps.released(row.tenantID);
  throw new GivenAway();
}

async function release(work: Work, debt: boolean, sight: Sight): Promise<End | "goOn"> {
  const { object, deps, signal } = work;
  const { row } = work.claim;
  if (sight.kind === "deleting" && object !== undefined) {
    if (debt) await note(work, "Warning", REASON.DebtOwed, debtSentence(row));
    const failure = await attempt(() => deps.cluster.removeFinalizer(object, signal));
    if (failure !== undefined) return failed(work, "release", failure, sight);
  }
  work.object = undefined;
  const { patch, next } = afterRelease(row);
  if (next.kind === "rest") return { patch, dueAt: null, situation: undefined, events: [], frees: true };
  await keep(work, patch);
  deps.released(row.tenantID);
  return "goOn";
}

function debtSentence(row: SagaRow): string {
  const undone = row.deleting?.undone ?? [];
  const owed = (["secret", "newapi", "keycloak"] as const).filter((step) => !undone.includes(step));
  return `Let go after 10 minutes. Still owed, and paid later: ${owed.join(", ")}.`;
}
