/** Every way in which a row changes that is no outcome of a claim: it is bound, passes to another object, or is to be polled again. */
import {
  type Cause,
  type Deleting,
  NOTHING_MANAGED,
  REACHED,
  type ResetAccount,
  type RowPatch,
  type Run,
  type RunReason,
  type SagaRow,
  type StepName,
  STEPS,
} from "./row.ts";

/** Whose a row is: the person. */
export interface Identity {
  readonly uuid: string;
  readonly tenantID: string;
  /** Canonical. */
  readonly email: string;
}

/** An object of the cluster, by which a row is held. */
export interface HoldingObject {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: Date;
}

/** The object that a row is bound to, and what it asks for. */
export interface Bound extends HoldingObject {
  readonly tenantID: string;
  /** Canonical. */
  readonly email: string;
  readonly clusterID: string;
}

/** A row as it is made: nobody has seen its object, and nothing is known of it. */
export function unseen({ uuid, tenantID, email }: Identity, now: Date): SagaRow {
  return {
    uuid,
    tenantID,
    email,
    state: "pending",
    reached: REACHED[0],
    keycloakUserID: undefined,
    newapiUserID: undefined,
    newapiUsername: undefined,
    retryCount: 0,
    lastError: undefined,
    createdAt: now,
    clusterID: undefined,
    objectUID: undefined,
    namespace: undefined,
    name: undefined,
    objectCreatedAt: undefined,
    confirmed: false,
    voided: false,
    run: undefined,
    handled: undefined,
    blockedOn: undefined,
    dueAt: undefined,
    backoffUntil: undefined,
    failedSince: undefined,
    missingSince: undefined,
    recheck: undefined,
    touches: 0,
    version: 0,
    deletionPolicy: "Delete",
    adopted: false,
    secretNamespace: undefined,
    secretName: undefined,
    secretUID: undefined,
    secretVersion: undefined,
    secretPlaces: [],
    managed: NOTHING_MANAGED,
    enabled: true,
    keyGeneration: 0,
    keyRotatedAt: undefined,
    rotation: undefined,
    previousKeyUntil: undefined,
    masterKey: undefined,
    invitedKeycloakUserID: undefined,
    refusedInvitation: undefined,
    toReset: undefined,
    deleting: undefined,
    history: [],
    cause: undefined,
  };
}

/** A confirmed row whose object lives, or is still being undone under it. */
export function holds(row: SagaRow): boolean {
  if (!row.confirmed || row.voided) return false;
  if (row.state === "deleted" || row.state === "retained" || row.state === "orphaned") return false;
  return row.deleting?.released !== true;
}

/** What admission records of an object that it lets pass: nobody acts on it before the object was seen. */
export function proposed(object: Omit<HoldingObject, "createdAt">, cause?: Cause): RowPatch {
  return { objectUID: object.uid, namespace: object.namespace, name: object.name, ...(cause && { cause }) };
}

/** Somebody may have changed what the row is about: it is polled now, and whoever has claimed it leaves it due. */
export function touched({ dueAt }: SagaRow, now: Date, cause?: Cause): RowPatch {
  return { dueAt: dueAt !== undefined && dueAt < now ? dueAt : now, ...(cause && { cause }) };
}

/**
 * The row is the object's from here on. A row with a past begins a run that finds what is there and fixes what is not; after
 * a finished deletion the accounts are new or enabled again, and the key that was given up is never handed out again. Under
 * another email the accounts pass to another person: what opened them for the one before goes first.
 */
export function bound(row: SagaRow, object: Bound, now: Date): RowPatch {
  const hasPast = row.confirmed && !row.voided;
  const isPurged = row.state === "deleted" || isGone("keycloak", row);
  const changesPerson = hasPast && !isPurged && row.email !== object.email;
  return {
    ...heldBy(object),
    email: object.email,
    tenantID: object.tenantID,
    clusterID: object.clusterID,
    confirmed: true,
    voided: false,
    dueAt: now,
    backoffUntil: null,
    blockedOn: null,
    retryCount: 0,
    failedSince: null,
    deleting: null,
    run: hasPast ? runFrom("keycloak", "recovered", -1) : null,
    handled: null,
    ...(isPurged ? withoutKeycloakUser() : { state: row.reached }),
    ...(isPurged || changesPerson ? { invitedKeycloakUserID: null, refusedInvitation: null } : {}),
    ...(hasPast ? { toReset: someOf(accountsToReset(row, isPurged, changesPerson)) } : {}),
    ...((isPurged || changesPerson) && row.newapiUserID !== undefined
      ? { rotation: { toGeneration: row.keyGeneration, at: now.toISOString() } }
      : {}),
  };
}

function accountsToReset(row: SagaRow, isPurged: boolean, changesPerson: boolean): readonly ResetAccount[] {
  if (changesPerson) return ["keycloak", "newapi"];
  return isPurged ? ["newapi"] : (row.toReset ?? []);
}

function someOf<T>(items: readonly T[]): readonly T[] | null {
  return items.length === 0 ? null : items;
}

/** The deleted holder gives its saga to the object that waits for the email: same uuid, ids and key. */
export function handedOver(row: SagaRow, to: HoldingObject, now: Date): RowPatch {
  return {
    ...heldBy(to),
    deleting: null,
    run: runFrom("keycloak", "handover", -1),
    handled: null,
    retryCount: 0,
    backoffUntil: null,
    blockedOn: null,
    dueAt: now,
    ...(isGone("keycloak", row) ? withoutKeycloakUser() : { state: row.reached }),
  };
}

/** The person's account carries this uuid, which no row has: the row continues under it. Somebody was here before. */
export function renamed(uuid: string, now: Date): RowPatch {
  return { uuid, run: runFrom("keycloak", "create", -1), backoffUntil: null, blockedOn: null, dueAt: now };
}

/** The object continues under another row: this one holds nothing. */
export function leftBehind(): RowPatch {
  return { objectUID: null, confirmed: false, voided: true, run: null, dueAt: null };
}

/** The uuid is another tenant's by right: the row gets another one, and finds nothing under it. */
export function evicted(row: SagaRow, uuid: string, now: Date): RowPatch {
  const hasEnded = ["deleting", "deleted", "retained", "orphaned"].includes(row.state);
  return {
    uuid,
    keycloakUserID: null,
    run: null,
    handled: null,
    reached: REACHED[0],
    blockedOn: null,
    backoffUntil: null,
    ...(hasEnded ? {} : { state: REACHED[0] }),
    ...(row.objectUID === undefined ? {} : { dueAt: now }),
  };
}

/**
 * The cluster is another one than that of the row, whose object is not here: an orphan until it comes back, also in the
 * middle of its deletion. What that has undone stays known.
 */
export function orphanedElsewhere(): RowPatch {
  return { state: "orphaned", run: null, dueAt: null };
}

/**
 * The deletion of the object was seen, though nobody held it: what it caused is undone, and what it held is free.
 * `withheldMs`: how long accounts that were to stay, and may not, are locked; undefined: they may.
 */
export function seenDeleted(
  row: SagaRow,
  grace: { readonly graceMs: number; readonly withheldMs: number | undefined },
  now: Date,
): RowPatch {
  const { graceMs, withheldMs } = grace;
  const ms = row.deletionPolicy === "Retain" ? Math.max(graceMs, withheldMs ?? 0) : graceMs;
  const purgeAt = ms > 0 ? { purgeAt: new Date(now.getTime() + ms).toISOString() } : {};
  return {
    state: "deleting",
    dueAt: now,
    backoffUntil: null,
    run: null,
    blockedOn: null,
    rotation: null,
    retryCount: 0,
    deleting: { ...releasedAt(now, row), ...purgeAt },
    ...(withheldMs === undefined ? {} : { deletionPolicy: "Delete" }),
  };
}

/** A worker that had lost the row may have made something since it was undone: whatever is found goes, and nothing is told. */
export function undoneAgain(row: SagaRow, now: Date): RowPatch {
  const deleting: Deleting = { ...releasedAt(now, row), again: true };
  return { state: "deleting", dueAt: now, deleting };
}

function releasedAt(now: Date, { objectUID = "" }: SagaRow): Deleting {
  return { since: now.toISOString(), objectUID, undone: [], locked: [], released: true };
}

/** Finished, or about to be: there is something of the person to recheck. */
export function isRecheckable(row: SagaRow): boolean {
  if (!row.confirmed || row.voided || row.deleting !== undefined) return false;
  return (row.state === "done" && row.handled !== undefined) || (row.run !== undefined && row.secretName !== undefined);
}

/**
 * Something of the person was changed outside: from `step` on everything is ensured again. A run that is under way may have
 * passed that step by, and is followed by another. `version`: that of the Secret that was seen.
 */
export function rechecked(row: SagaRow, step: StepName, version: string | undefined, now: Date): RowPatch | undefined {
  if (!isRecheckable(row)) return undefined;
  if (row.run === undefined) {
    return { dueAt: now, recheck: null, run: runFrom(step, "drift", row.handled?.generation ?? -1) };
  }
  const noted = row.recheck;
  const staysNoted = noted !== undefined && noted.version === undefined && !isEarlier(step, noted.step);
  if (staysNoted) return { dueAt: now };
  return { dueAt: now, recheck: { step, ...(version === undefined ? {} : { version }) } };
}

function isEarlier(step: StepName, than: StepName): boolean {
  return STEPS.indexOf(step) < STEPS.indexOf(than);
}

/** What follows a run that has finished with `generation`: another, where something was changed while it continued, and not by it. */
export function runAfterFinish({ recheck, secretVersion }: SagaRow, generation: number): Run | undefined {
  if (recheck === undefined || recheck.version === secretVersion) return undefined;
  return runFrom(recheck.step, "drift", generation);
}

function runFrom(step: StepName, reason: RunReason, generation: number): Run {
  return { reason, generation, step, attempt: 0, done: false };
}

/** The object that holds the row; undefined: none does. */
export function boundObject(row: SagaRow): Bound | undefined {
  const { objectUID: uid, namespace, name, objectCreatedAt: createdAt, tenantID, email, clusterID } = row;
  if (uid === undefined || namespace === undefined || name === undefined) return undefined;
  if (createdAt === undefined || clusterID === undefined) return undefined;
  return { uid, namespace, name, createdAt, tenantID, email, clusterID };
}

function heldBy({ uid, namespace, name, createdAt }: HoldingObject): RowPatch {
  return { objectUID: uid, namespace, name, objectCreatedAt: createdAt };
}

function isGone(step: StepName, { deleting }: SagaRow): boolean {
  return deleting?.undone.includes(step) === true;
}

/** A new one is made. */
function withoutKeycloakUser(): RowPatch {
  return { state: REACHED[0], reached: REACHED[0], keycloakUserID: null, adopted: false };
}
