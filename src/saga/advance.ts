import { sagaUUID, secretName } from "../api/names.ts";
import { REASON } from "../api/reasons.ts";
import { parseDuration } from "../api/duration.ts";
import type { SagaError } from "../lib/errors.ts";
import type { Random } from "../lib/clock.ts";
import { backoffMs, FAILED_AFTER } from "./backoff.ts";
import { fingerprint, RELEASE_AFTER_MS, type TenantView, wantsRotation } from "./decide.ts";
import type { Desired } from "./desired.ts";
import {
  patched,
  type Deleting,
  type LastError,
  type Outcome,
  REACHED,
  REACHED_BY,
  type Reached,
  type Rotation,
  type RowPatch,
  type Run,
  type RunReason,
  type SagaRow,
  type SecretPlace,
  type StepName,
  STEPS,
} from "./row.ts";

/** What a step has to tell: which fields it learned, and what it saw of the key. */
export interface StepResult {
  readonly learned: RowPatch;
  readonly key?: NonNullable<Run["key"]> | undefined;
  /** Sentences about what the neighbour cannot follow. */
  readonly notes?: readonly string[] | undefined;
  /** At this gateway a rotation leaves the key before alive until it is removed. */
  readonly leavesPrevious?: boolean | undefined;
}

/** `retry` is due again later, `rest` only when touched, `goOn` at once within the same claim. */
export type Next =
  { readonly kind: "goOn" } | { readonly kind: "rest" } | { readonly kind: "retry"; readonly at: Date };

export interface Advanced {
  readonly patch: RowPatch;
  readonly next: Next;
}

const HISTORY = 5;
/** Whoever waits looks after 1 s, and from then on every 8 to 10 s: what it waits for tells it nothing when it comes. */
const WAITING_PACE = 4;

const FINISHED: Readonly<Record<RunReason, string>> = {
  create: "Keycloak user, gateway account and Secret were made.",
  edit: "The new spec is in place everywhere.",
  tenant: "The change of the Tenant is in place.",
  requested: "Everything was checked on request.",
  rotate: "The API key was rotated.",
  drift: "What had been changed outside was corrected.",
  handover: "The accounts and the key passed to this object.",
  recovered: "The person is back, with the same accounts.",
  retire: "The key before the last rotation was removed.",
};

/** The newest first, five at most. */
export function remember(row: SagaRow, outcome: Outcome): readonly Outcome[] {
  return [outcome, ...row.history].slice(0, HISTORY);
}

/** The intent of a run that needs one, recorded before its first outside call; undefined when none is missing. */
export function beforeUp(row: SagaRow, desired: Desired, run: Run, now: Date): RowPatch | undefined {
  const rotation =
    row.rotation === undefined && run.step !== "secret" && wantsRotation(row, desired)
      ? rotationTo(row, desired, now)
      : undefined;
  const down = forGoingDown(row, desired);
  const started = row.run?.generation === run.generation && row.run.reason === run.reason && sameSeen(row.run, run);
  if (started && rotation === undefined && Object.keys(down).length === 0) return undefined;
  return { run, ...down, ...(rotation === undefined ? {} : { rotation }) };
}

/** A generation names one rotation; what rotates within one is told from its like by its time. */
function rotationTo(row: SagaRow, desired: Desired, now: Date): Rotation {
  const { keyGeneration, rotateRequestedAt: requestedAt } = desired;
  if (keyGeneration > row.keyGeneration) return { toGeneration: keyGeneration, requestedAt };
  return { toGeneration: row.keyGeneration, requestedAt, at: now.toISOString() };
}

/**
 * What going down must know, and the object may no longer tell by then. A Secret has its place noted before it is made
 * there: one that was posted, and whose answer was lost, is found, be it the first or one that was to move.
 */
function forGoingDown(row: SagaRow, desired: Desired): RowPatch {
  const policy = row.deletionPolicy === desired.deletionPolicy ? {} : { deletionPolicy: desired.deletionPolicy };
  return { ...policy, ...placeNoted(row, desired) };
}

function placeNoted(row: SagaRow, { secret }: Desired): RowPatch {
  const { namespace, name = secretName(sagaUUID(row.uuid)) } = secret;
  const isHere = (place: SecretPlace): boolean => place.namespace === namespace && place.name === name;
  const { secretNamespace: before, secretName: nameBefore } = row;
  if (before === undefined || nameBefore === undefined) return { secretNamespace: namespace, secretName: name };
  if (isHere({ namespace: before, name: nameBefore }) || row.secretPlaces.some(isHere)) return {};
  return { secretPlaces: [...row.secretPlaces, { namespace, name }] };
}

function sameSeen(a: Run, b: Run): boolean {
  return a.seen?.tenantRevision === b.seen?.tenantRevision && a.seen?.requestedAt === b.seen?.requestedAt;
}

export function afterUp(row: SagaRow, run: Run, result: StepResult): Advanced {
  const index = STEPS.indexOf(run.step);
  const following = STEPS[index + 1];
  const next: Run = {
    ...run,
    attempt: 0,
    step: following ?? run.step,
    done: following === undefined,
    key: result.key ?? run.key,
    notes: [...(run.notes ?? []), ...(result.notes ?? [])],
    rotated: run.rotated === true || (run.step === "secret" && row.rotation !== undefined),
    leavesPrevious: result.leavesPrevious ?? run.leavesPrevious,
  };
  const reached = furthest(row.reached, REACHED_BY[run.step]);
  return {
    patch: {
      ...result.learned,
      run: next,
      reached,
      state: row.reached === "done" ? "done" : reached,
      retryCount: 0,
      backoffUntil: null,
      failedSince: null,
      blockedOn: null,
    },
    next: { kind: "goOn" },
  };
}

/** Everything is done: the run ends, and what it has seen is handled. */
export function afterFinish(row: SagaRow, run: Run, desired: Desired, tenant: TenantView, now: Date): Advanced {
  const rotation = run.rotated === true ? row.rotation : undefined;
  const seen = run.seen ?? row.handled ?? { tenantRevision: tenant.revision, requestedAt: desired.requestedAt };
  // Of a person who was here before, the count goes on: no two rotations have the same.
  const keyGeneration =
    row.handled === undefined ? Math.max(desired.keyGeneration, row.keyGeneration) : row.keyGeneration;
  const previousKeyUntil =
    rotation !== undefined && run.leavesPrevious === true
      ? new Date(now.getTime() + parseDuration(desired.keyOverlap))
      : undefined;
  const patch: RowPatch = {
    state: "done",
    reached: "done",
    run: null,
    retryCount: 0,
    backoffUntil: null,
    failedSince: null,
    blockedOn: null,
    lastError: null,
    handled: {
      generation: desired.generation,
      tenantRevision: seen.tenantRevision,
      requestedAt: seen.requestedAt,
      // The first sight of a person rotates nothing; later only what was rotated is handled.
      rotateRequestedAt:
        row.handled === undefined
          ? desired.rotateRequestedAt
          : (rotation?.requestedAt ?? row.handled.rotateRequestedAt),
      key: run.key ?? "unverified",
      // What the gateway could not follow stays visible until it is wanted as it was made.
      tier: following(run, row.handled?.tier, desired.tier),
      email: following(run, row.handled?.email, desired.email),
      notes: run.notes ?? [],
    },
    keyGeneration: rotation?.toGeneration ?? keyGeneration,
    ...(rotation === undefined ? {} : { rotation: null, keyRotatedAt: now }),
    ...(previousKeyUntil === undefined ? {} : { previousKeyUntil }),
    history: remember(row, {
      at: now.toISOString(),
      generation: desired.generation,
      state: "done",
      reason: desired.enabled ? REASON.Ready : REASON.Disabled,
      message: FINISHED[run.reason],
    }),
  };
  // A rotation that was asked for while another was under way is still to be done.
  const after = patched(row, patch);
  if (wantsRotation(after, desired)) return { patch, next: { kind: "retry", at: now } };
  const due = after.previousKeyUntil;
  return { patch, next: due === undefined ? { kind: "rest" } : { kind: "retry", at: due } };
}

/** An attempt at a step failed. Terminal: until something of the fingerprint changes. Everything else: again, later. */
export function afterFailure(
  row: SagaRow,
  step: LastError["step"],
  error: SagaError,
  context: { readonly desired: Desired; readonly tenant: TenantView | undefined } | undefined,
  now: Date,
  random: Random,
): Advanced {
  const said = describe(error, step, now);
  const repeated = row.lastError?.code === said.code && row.lastError.step === step;
  // What waits for the same is said once: a new time alone would be a write of the status at every look.
  const unchanged = repeated && row.lastError?.class === "waiting" && row.lastError.message === said.message;
  const lastError = error.class === "waiting" && unchanged ? row.lastError : said;
  if (error.class === "waiting") {
    const asked = "retryAfterMs" in error && typeof error.retryAfterMs === "number" ? error.retryAfterMs : undefined;
    const pause = asked ?? backoffMs(repeated ? WAITING_PACE : 1, undefined, random);
    const at = new Date(now.getTime() + pause);
    return { patch: { lastError, backoffUntil: at }, next: { kind: "retry", at: noLaterThanRelease(row, at, now) } };
  }
  const history = repeated
    ? row.history
    : remember(row, {
        at: lastError.at,
        generation: row.run?.generation,
        state: row.state,
        reason: lastError.code,
        message: lastError.message,
      });
  if (error.class === "terminal" && context !== undefined) {
    return {
      patch: {
        lastError,
        history,
        state: "failed",
        blockedOn: fingerprint(context.desired, context.tenant),
        backoffUntil: null,
        failedSince: row.failedSince ?? now,
      },
      next: { kind: "rest" },
    };
  }
  const retryCount = row.retryCount + 1;
  const retryAfter = "retryAfterMs" in error && typeof error.retryAfterMs === "number" ? error.retryAfterMs : undefined;
  const at = new Date(now.getTime() + backoffMs(retryCount, retryAfter, random));
  const failed = retryCount >= FAILED_AFTER && row.deleting === undefined;
  return {
    patch: {
      lastError,
      history,
      retryCount,
      backoffUntil: at,
      blockedOn: null,
      ...(row.run === undefined ? {} : { run: again(row.run, error) }),
      ...(failed ? { state: "failed", failedSince: row.failedSince ?? now } : {}),
    },
    next: { kind: "retry", at: noLaterThanRelease(row, at, now) },
  };
}

/** However long the neighbour wants us to wait, the object is let go in time. */
function noLaterThanRelease({ deleting }: SagaRow, at: Date, now: Date): Date {
  if (deleting === undefined || deleting.released) return at;
  const letGoAt = new Date(new Date(deleting.since).getTime() + RELEASE_AFTER_MS);
  return letGoAt > now && letGoAt < at ? letGoAt : at;
}

/** The same step once more; an account that is gone is made by the step before. */
function again(run: Run, error: SagaError): Run {
  const step = error.code === REASON.AccountGone && run.step === "secret" ? "newapi" : run.step;
  return { ...run, step, attempt: run.attempt + 1 };
}

export function afterBeginDown(objectUID: string, since: Date, purgeAt: Date | undefined): Advanced {
  const deleting: Deleting = {
    since: since.toISOString(),
    objectUID,
    undone: [],
    locked: [],
    released: false,
    purgeAt: purgeAt?.toISOString(),
  };
  return {
    patch: {
      deleting,
      state: "deleting",
      run: null,
      retryCount: 0,
      backoffUntil: null,
      blockedOn: null,
      rotation: null,
    },
    next: { kind: "goOn" },
  };
}

export function afterDown(row: SagaRow, step: StepName, how: "lock" | "remove", learned: RowPatch): Advanced {
  const { deleting } = row;
  if (deleting === undefined) throw new Error("a step went down on a row that is not being deleted");
  return {
    patch: {
      ...learned,
      deleting:
        how === "lock"
          ? { ...deleting, locked: [...(deleting.locked ?? []), step] }
          : { ...deleting, undone: [...deleting.undone, step] },
      retryCount: 0,
      backoffUntil: null,
    },
    next: { kind: "goOn" },
  };
}

/** `deleted` and `retained` keep the row, for audit; what it held is free. */
export function afterEnd(row: SagaRow, state: "deleted" | "retained", now: Date): Advanced {
  return {
    patch: {
      state,
      run: null,
      lastError: null,
      backoffUntil: null,
      ...(state === "deleted" ? { reached: "pending", handled: null, previousKeyUntil: null } : {}),
      history: remember(row, {
        at: now.toISOString(),
        state,
        reason: state === "retained" ? REASON.Retained : REASON.Deleting,
      }),
    },
    // The object is still to be let go.
    next: { kind: "goOn" },
  };
}

export function afterRelease(row: SagaRow): Advanced {
  const ended = row.state === "deleted" || row.state === "retained" || row.state === "orphaned";
  if (row.deleting === undefined) return { patch: {}, next: { kind: "rest" } };
  if (ended) return { patch: { deleting: null, objectUID: null }, next: { kind: "rest" } };
  return { patch: { deleting: { ...row.deleting, released: true } }, next: { kind: "goOn" } };
}

export function afterOrphan(row: SagaRow, now: Date): Advanced {
  return {
    patch: {
      state: "orphaned",
      run: null,
      deleting: null,
      backoffUntil: null,
      history: remember(row, { at: now.toISOString(), state: "orphaned", reason: REASON.Orphaned }),
    },
    next: { kind: "rest" },
  };
}

export function describe(error: SagaError, step: LastError["step"], now: Date): LastError {
  return {
    step,
    class: error.class,
    code: error.code,
    upstreamStatus: error.upstreamStatus,
    message: error.message,
    at: now.toISOString(),
  };
}

function following(run: Run, before: string | undefined, wanted: string): string {
  return (run.notes ?? []).some((note) => note.startsWith("newapi: ")) ? (before ?? wanted) : wanted;
}

function furthest(a: Reached, b: Reached): Reached {
  return REACHED.indexOf(a) >= REACHED.indexOf(b) ? a : b;
}
