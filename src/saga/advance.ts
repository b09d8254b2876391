import { REASON } from "../api/reasons.ts";
import { parseDuration } from "../api/duration.ts";
import {
  hasOthersKey,
  invitesAt,
  isNotedPlace,
  soonest,
  type TenantView,
  wantedPlace,
  wantsRotation,
} from "./decide.ts";
import type { Desired } from "./desired.ts";
import {
  patched,
  type Deleting,
  type HistoryEntry,
  REACHED,
  REACHED_BY,
  type Reached,
  type Rotation,
  type RowPatch,
  type Run,
  type RunReason,
  type SagaRow,
  type StepName,
  STEPS,
} from "./row.ts";

/** What a step has to tell: which fields it learned, and what it saw of the key. */
export interface StepResult {
  readonly learned: RowPatch;
  readonly key?: NonNullable<Run["key"]> | undefined;
  /** Sentences about what the upstream cannot follow. */
  readonly notes?: readonly string[] | undefined;
  /** Keycloak has locked the person out. Undefined: this step does not ask. */
  readonly lockedOut?: boolean | undefined;
  /** At this gateway a rotation leaves the key before alive until it is removed. */
  readonly leavesPrevious?: boolean | undefined;
}

/** `retry` is due again later, `idle` only when touched, `continue` at once within the same claim. */
export type Next =
  { readonly kind: "continue" } | { readonly kind: "idle" } | { readonly kind: "retry"; readonly at: Date };

export interface Advanced {
  readonly patch: RowPatch;
  readonly next: Next;
}

const HISTORY = 5;
const FINISHED: Readonly<Record<RunReason, string>> = {
  create: "Keycloak user, gateway account and Secret were made.",
  edit: "The new spec is in place everywhere.",
  tenant: "The Tenant's change is in place.",
  requested: "The reconciler checked everything, as requested.",
  rotate: "The reconciler rotated the API key.",
  drift: "The reconciler corrected what had changed outside.",
  handover: "The accounts and the key passed to this object.",
  recovered: "The user is back with the same accounts.",
  retire: "The reconciler removed the key before the last rotation.",
};

/** The newest first, five at most. */
export function remember(row: SagaRow, outcome: HistoryEntry): readonly HistoryEntry[] {
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

function placeNoted(row: SagaRow, desired: Desired): RowPatch {
  const place = wantedPlace(row, desired);
  if (row.secretNamespace === undefined || row.secretName === undefined) {
    return { secretNamespace: place.namespace, secretName: place.name };
  }
  return isNotedPlace(row, place) ? {} : { secretPlaces: [...row.secretPlaces, place] };
}

function sameSeen(a: Run, b: Run): boolean {
  return a.seen?.tenantRevision === b.seen?.tenantRevision && a.seen?.requestedAt === b.seen?.requestedAt;
}

export function afterUp(row: SagaRow, run: Run, result: StepResult): Advanced {
  const index = STEPS.indexOf(run.step);
  const following = STEPS[index + 1];
  const saidBefore = run.notes ?? row.handled?.notes ?? [];
  const next: Run = {
    ...run,
    attempt: 0,
    step: following ?? run.step,
    done: following === undefined,
    key: result.key ?? run.key,
    // What the other steps have to say stands, also where this run did not come by them.
    notes: [...saidBefore.filter((note) => !note.startsWith(`${run.step}: `)), ...(result.notes ?? [])],
    lockedOut: result.lockedOut ?? run.lockedOut ?? row.handled?.lockedOut,
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
    next: { kind: "continue" },
  };
}

/** Everything is done: the run ends, and what it has seen is handled. */
export function afterFinish(row: SagaRow, run: Run, desired: Desired, tenant: TenantView, now: Date): Advanced {
  const rotation = run.rotated === true ? row.rotation : undefined;
  const seen = run.seen ?? row.handled ?? { tenantRevision: tenant.revision, requestedAt: desired.requestedAt };
  // Of a person who was here before, the count continues: no two rotations have the same.
  const keyGeneration =
    row.handled === undefined ? Math.max(desired.keyGeneration, row.keyGeneration) : row.keyGeneration;
  const previousKeyUntil =
    rotation !== undefined && run.leavesPrevious === true
      ? new Date(now.getTime() + (hasOthersKey(row) ? 0 : parseDuration(desired.keyOverlap)))
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
    cause: null,
    handled: {
      generation: desired.generation,
      tenantRevision: seen.tenantRevision,
      requestedAt: seen.requestedAt,
      // The first time that a person is seen rotates nothing; later only what was rotated is handled.
      rotateRequestedAt:
        row.handled === undefined
          ? desired.rotateRequestedAt
          : (rotation?.requestedAt ?? row.handled.rotateRequestedAt),
      key: run.key ?? "unverified",
      // What the gateway could not follow stays visible until it is wanted as it was made.
      tier: following(run, row.handled?.tier, desired.tier),
      email: following(run, row.handled?.email, desired.email),
      notes: run.notes ?? row.handled?.notes ?? [],
      lockedOut: run.lockedOut ?? row.handled?.lockedOut,
    },
    keyGeneration: rotation?.toGeneration ?? keyGeneration,
    ...(rotation === undefined ? {} : { rotation: null, keyRotatedAt: now, ...withoutOthersKey(row) }),
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
  const due = soonest([after.previousKeyUntil, invitesAt(after, desired)]);
  return { patch, next: due === undefined ? { kind: "idle" } : { kind: "retry", at: due } };
}

function withoutOthersKey({ toReset }: SagaRow): RowPatch {
  if (toReset === undefined) return {};
  const left = toReset.filter((account) => account !== "newapi");
  return { toReset: left.length === 0 ? null : left };
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
    next: { kind: "continue" },
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
    next: { kind: "continue" },
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
    // The finalizer is still to be released.
    next: { kind: "continue" },
  };
}

export function afterRelease(row: SagaRow): Advanced {
  const ended = row.state === "deleted" || row.state === "retained" || row.state === "orphaned";
  if (row.deleting === undefined) return { patch: {}, next: { kind: "idle" } };
  if (ended) return { patch: { deleting: null, objectUID: null, cause: null }, next: { kind: "idle" } };
  return { patch: { deleting: { ...row.deleting, released: true } }, next: { kind: "continue" } };
}

/** Nothing was made for it anywhere, and no call that could have: its object came and went while nobody acted on it. */
export function isUnmade(row: SagaRow): boolean {
  const { run, handled, rotation, keycloakUserID, newapiUserID, secretUID, secretPlaces, reached, deleting } = row;
  const known = [run, handled, rotation, keycloakUserID, newapiUserID, secretUID, deleting];
  return known.every((each) => each === undefined) && secretPlaces.length === 0 && reached === "pending";
}

/**
 * The object is gone without its deletion having been seen here. Of a row for which nothing was made there is nothing to
 * keep. What a deletion in another cluster has undone stays known.
 */
export function afterOrphan(row: SagaRow, now: Date): Advanced {
  if (isUnmade(row)) {
    return {
      patch: { voided: true, confirmed: false, objectUID: null, backoffUntil: null, blockedOn: null },
      next: { kind: "idle" },
    };
  }
  return {
    patch: {
      state: "orphaned",
      run: null,
      backoffUntil: null,
      history: remember(row, { at: now.toISOString(), state: "orphaned", reason: REASON.Orphaned }),
    },
    next: { kind: "idle" },
  };
}

function following(run: Run, before: string | undefined, wanted: string): string {
  return (run.notes ?? []).some((note) => note.startsWith("newapi: ")) ? (before ?? wanted) : wanted;
}

function furthest(a: Reached, b: Reached): Reached {
  return REACHED.indexOf(a) >= REACHED.indexOf(b) ? a : b;
}
