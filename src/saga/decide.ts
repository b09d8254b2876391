import { FINALIZER } from "../api/meta.ts";
import { REASON, type Reason } from "../api/reasons.ts";
import { sagaUUID, secretName } from "../api/names.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { Desired, Refusal } from "./desired.ts";
import {
  type Deleting,
  isSamePlace,
  type Run,
  type RunReason,
  type SagaRow,
  type SecretPlace,
  type StepName,
  STEPS,
} from "./row.ts";

/** How long a deletion may hold its object while an upstream stays down; the rest is a deferred cleanup. */
export const RELEASE_AFTER_MS = 10 * 60_000;

/** A claim may find the object gone before the watch has told of its deletion. So long it is given. */
export const MISSING_FOR_MS = 5_000;
/**
 * Accounts that were to stay and may not are locked for so long: the tenant can bring the person back, and the platform can
 * allow it, before anything is lost.
 */
export const WITHHELD_MS = 30 * 24 * 60 * 60_000;

/** An absence noted longer ago was another one. */
const SAME_ABSENCE_MS = 60_000;

/** What is known of the object that holds the row, read just now. */
export type Observation =
  | {
      readonly kind: "present";
      readonly object: LiveTenantUser;
      readonly desired: Desired;
      readonly refusal: Refusal | undefined;
    }
  /** Present and being deleted: needs no Tenant, and must work with a spec that no longer parses. */
  | {
      readonly kind: "deleting";
      readonly uid: string;
      readonly finalizers: readonly string[];
      readonly deletedAt: Date;
      /** Its last word; undefined: it cannot be read. */
      readonly deletionPolicy?: SagaRow["deletionPolicy"] | undefined;
    }
  /** 404, or another uid under its name. Absence is not deletion. */
  | { readonly kind: "absent" };

export interface TenantView {
  readonly revision: string;
  readonly ready: boolean;
  readonly message: string;
  readonly deletionGraceMs: number;
  /** false: nobody's accounts may stay after a deletion. */
  readonly allowsRetain?: boolean | undefined;
}

export interface DecisionInput {
  readonly row: SagaRow;
  readonly observation: Observation;
  /** Undefined: no accepted Tenant has this id. */
  readonly tenant: TenantView | undefined;
  /** `unknown`: only asked for when a down step could be next; a CRD that goes takes every object with it. */
  readonly crd: "present" | "terminating" | "gone" | "unknown";
  /** This cluster's id; rows of another cluster are never undone from here. */
  readonly clusterID: string;
  /** The first of those who wait for this email in this tenant; looked for only when the row's object goes. */
  readonly successor: Successor | undefined;
  /** Upstreams that nobody calls at the moment. */
  readonly closed: Partial<Record<TenantUpstream, Closed | undefined>>;
}

/** An object that waits for the email of another one. */
export interface Successor {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: Date;
}

/** The upstreams that a tenant has an address and a credential for. */
export type TenantUpstream = "keycloak" | "newapi";

/** `silent`: it does not answer. `refuses`: it does not let this tenant's credential in. */
export interface Closed {
  readonly why: "silent" | "refuses";
  /** When to poll again, unless notified before. */
  readonly until: Date;
}

export type Action =
  /** Nothing to do: the row rests until something touches it. */
  | { readonly kind: "idle"; readonly why: "voided" | "ended" | "unconfirmed" | "blocked" }
  /** All is as wanted. `until`: when there is something to do all the same (the end of a key's overlap). */
  | { readonly kind: "idle"; readonly why: "done"; readonly until?: Date | undefined }
  /** Nothing to do before this moment. */
  | { readonly kind: "sleep"; readonly until: Date }
  /** Cannot continue now; says so, burns no retry. */
  | { readonly kind: "wait"; readonly reason: Reason; readonly message: string; readonly until: Date | undefined }
  /** A person must act; says so. */
  | { readonly kind: "refuse"; readonly refusal: Refusal }
  | { readonly kind: "suspend" }
  /** The email of the object is no longer the row's. */
  | { readonly kind: "move-email"; readonly email: string }
  | { readonly kind: "add-finalizer" }
  | { readonly kind: "up"; readonly step: StepName; readonly run: Run }
  | { readonly kind: "finish"; readonly run: Run }
  /** All is as wanted but for a mail that Keycloak refused: it is time to send it again. */
  | { readonly kind: "invite" }
  /** The object is not there, and its deletion may be about to be seen: poll again then. */
  | { readonly kind: "await-deletion"; readonly since: Date; readonly until: Date }
  /** The row has lost its object without a deletion: nothing is undone. */
  | { readonly kind: "orphan"; readonly release: boolean }
  /** The object is being deleted: note it in the row, with what going down needs, before anything outside. */
  | {
      readonly kind: "begin-down";
      readonly objectUID: string;
      readonly since: Date;
      readonly purgeAt: Date | undefined;
      /** In the place of one that the Tenant does not allow. */
      readonly deletionPolicy?: "Delete";
    }
  /** The deleted holder gives the saga to the one who waits for the email. */
  | { readonly kind: "hand-over"; readonly to: Successor }
  /** `lock`: disable and keep (grace); `remove`: undo for good. */
  | { readonly kind: "down"; readonly step: StepName; readonly how: "lock" | "remove" }
  | { readonly kind: "retain" }
  | { readonly kind: "deleted" }
  /** Release the finalizer: everything is undone, or the rest is a deferred cleanup or the purge after grace. */
  | { readonly kind: "release"; readonly cleanupPending: boolean };

/** The fingerprint of all that can lift a terminal error. */
export function fingerprint(desired: Desired, tenant: TenantView | undefined): string {
  return [desired.generation, tenant?.revision ?? "", desired.requestedAt ?? "", desired.rotateRequestedAt ?? ""].join(
    "|",
  );
}

/** Names the one next action. Pure and total: everything it needs is in the input. */
export function decide(input: DecisionInput, now: Date): Action {
  const { row, observation } = input;
  if (row.voided) return { kind: "idle", why: "voided" };
  if (!row.confirmed) return { kind: "idle", why: "unconfirmed" };
  if (row.deleting !== undefined || observation.kind === "deleting") return decideDown(input, now);
  if (row.state === "deleted" || row.state === "retained") return { kind: "idle", why: "ended" };
  if (observation.kind === "absent")
    return row.state === "orphaned" ? { kind: "idle", why: "ended" } : decideAbsent(row, now);
  return decideUp(input, observation, now);
}

function decideAbsent(row: SagaRow, now: Date): Action {
  const noted = row.missingSince;
  const since = noted !== undefined && now.getTime() - noted.getTime() < SAME_ABSENCE_MS ? noted : now;
  const until = new Date(since.getTime() + MISSING_FOR_MS);
  return until <= now ? { kind: "orphan", release: false } : { kind: "await-deletion", since, until };
}

function decideUp(input: DecisionInput, observation: Extract<Observation, { kind: "present" }>, now: Date): Action {
  const { row, tenant } = input;
  const { desired, object } = observation;
  if (tenant === undefined) {
    return {
      kind: "wait",
      reason: REASON.NoTenant,
      message: `No Tenant claims namespace ${JSON.stringify(object.metadata.namespace)}. Ask the platform to add it to one.`,
      until: undefined,
    };
  }
  if (row.blockedOn === fingerprint(desired, tenant)) return { kind: "idle", why: "blocked" };
  if (row.backoffUntil !== undefined && row.backoffUntil > now) return { kind: "sleep", until: row.backoffUntil };
  if (desired.suspend) return { kind: "suspend" };
  const refused = observation.refusal ?? otherPin(row, desired) ?? tooManyPlaces(row, desired);
  if (refused !== undefined) return { kind: "refuse", refusal: refused };
  const run = nextRun(row, desired, tenant, now);
  const held = object.metadata.finalizers?.includes(FINALIZER) === true;
  if (run === undefined) {
    // Taken off by hand: the object could go unseen, and everything of its person would stay.
    if (!held) return { kind: "add-finalizer" };
    const inviteAt = invitesAt(row, desired);
    const mayInvite = tenant.ready && input.closed.keycloak === undefined;
    if (mayInvite && inviteAt !== undefined && inviteAt <= now) return { kind: "invite" };
    const until = soonest([row.previousKeyUntil, inviteTime(inviteAt, input, now)]);
    return { kind: "idle", why: "done", ...(until === undefined ? {} : { until }) };
  }
  if (!tenant.ready) {
    return { kind: "wait", reason: REASON.TenantNotReady, message: tenant.message, until: undefined };
  }
  if (desired.email !== row.email) return { kind: "move-email", email: desired.email };
  if (!held) return { kind: "add-finalizer" };
  if (run.step === "finish") return { kind: "finish", run: { ...run, step: "secret" } };
  // The Secret's step asks the gateway for the key, and tries it there.
  const upstream = run.step === "keycloak" ? "keycloak" : "newapi";
  const closed = input.closed[upstream];
  if (closed !== undefined) return waitFor(upstream, closed);
  return { kind: "up", step: run.step, run: { ...run, step: run.step } };
}

/** The person is to be invited, may log in, and was not invited yet. */
export function awaitsInvitation(
  { keycloakUserID, invitedKeycloakUserID }: SagaRow,
  { invitation, enabled }: Desired,
): boolean {
  return invitation === "Email" && enabled && invitedKeycloakUserID !== keycloakUserID;
}

/** When the mail that was refused is to be sent again; undefined: none is, or it is not to be. */
export function invitesAt(row: SagaRow, desired: Desired): Date | undefined {
  if (!awaitsInvitation(row, desired) || row.refusedInvitation === undefined) return undefined;
  return new Date(row.refusedInvitation.nextAt);
}

/** While the Tenant is not ready nobody needs to poll: whoever waits is notified when it is. */
function inviteTime(at: Date | undefined, { tenant, closed }: DecisionInput, now: Date): Date | undefined {
  if (at === undefined || at > now) return at;
  return tenant?.ready === true ? closed.keycloak?.until : undefined;
}

export function soonest(times: readonly (Date | undefined)[]): Date | undefined {
  return times.reduce((first, time) => (first === undefined || (time !== undefined && time < first) ? time : first));
}

function waitFor(upstream: TenantUpstream, { why, until }: Closed): Action {
  const [reason, message] =
    why === "silent"
      ? [
          REASON.UpstreamUnavailable,
          `${upstream} does not answer. The reconciler probes it and continues when it answers.`,
        ]
      : [
          REASON.TenantNotReady,
          `${upstream} refuses this tenant's credential. The reconciler checks the Tenant and continues when the check passes.`,
        ];
  return { kind: "wait", reason, message, until };
}

/** The uuid is chosen once: a pin that is added or changed later must be it. */
function otherPin(row: SagaRow, desired: Desired): Refusal | undefined {
  if (desired.pin === undefined || desired.pin === row.uuid) return undefined;
  return {
    reason: REASON.UUIDNotYours,
    message: `spec.userUUID ${desired.pin} is not this user's uuid. Remove it, or set it to ${row.uuid}.`,
  };
}

/** Where the object wants the Secret to be. */
export function wantedPlace({ uuid }: Pick<SagaRow, "uuid">, { secret }: Desired): SecretPlace {
  return { namespace: secret.namespace, name: secret.name ?? secretName(sagaUUID(uuid)) };
}

/** Where the Secret may stand: as recorded, and where it was to move. */
export function isNotedPlace(row: SagaRow, place: SecretPlace): boolean {
  const { secretNamespace: namespace, secretName: name, secretPlaces } = row;
  if (namespace === place.namespace && name === place.name) return true;
  return secretPlaces.some((noted) => isSamePlace(noted, place));
}

/** Each place where the Secret was to move is watched, and looked at when the person goes. */
const MOST_PLACES = 16;

function tooManyPlaces(row: SagaRow, desired: Desired): Refusal | undefined {
  const last = row.secretPlaces.at(-1);
  if (row.secretPlaces.length < MOST_PLACES || isNotedPlace(row, wantedPlace(row, desired))) return undefined;
  return {
    reason: REASON.RequestRefused,
    message: `spec.secret.name was changed ${MOST_PLACES} times and the Secret has reached none of these names; set it to ${last?.name} until it has.`,
  };
}

type NextRun = Omit<Run, "step"> & { readonly step: StepName | "finish" };

/**
 * The run under way, or the one that has become necessary, or none. A run is always about the newest generation, Tenant
 * and request: a newer one starts it again from the first step, which finds its work done.
 */
function nextRun(row: SagaRow, desired: Desired, tenant: TenantView, now: Date): NextRun | undefined {
  const { run, handled } = row;
  if (run !== undefined && isCurrent(run, row, desired, tenant)) {
    return { ...run, step: run.done ? "finish" : run.step };
  }
  const begin = (reason: RunReason): NextRun => ({
    reason,
    generation: desired.generation,
    step: STEPS[0],
    attempt: 0,
    done: false,
    seen: { tenantRevision: tenant.revision, requestedAt: desired.requestedAt },
    // A run that is begun again must not rotate what it has rotated.
    rotated: run?.rotated,
  });
  if (run !== undefined) return begin(run.reason);
  if (handled === undefined || row.reached !== "done") return begin("create");
  // Refused without a run, and no longer: the Tenant allows again what it had allowed before.
  if (row.state === "failed") return begin("tenant");
  if (handled.generation !== desired.generation) return begin("edit");
  if (handled.tenantRevision !== tenant.revision) return begin("tenant");
  if (desired.requestedAt !== undefined && handled.requestedAt !== desired.requestedAt) return begin("requested");
  if (wantsRotation(row, desired)) return begin("rotate");
  // The overlap is over: the key before goes, from the gateway's step on.
  if (row.previousKeyUntil !== undefined && row.previousKeyUntil <= now) return { ...begin("retire"), step: "newapi" };
  return undefined;
}

function isCurrent(run: Run, row: SagaRow, desired: Desired, tenant: TenantView): boolean {
  if (run.generation !== desired.generation) return false;
  const seen = run.seen ?? row.handled;
  if (seen !== undefined) {
    if (seen.tenantRevision !== tenant.revision) return false;
    if (desired.requestedAt !== undefined && seen.requestedAt !== desired.requestedAt) return false;
  }
  // The gateway's step is behind it: a rotation that is wanted now begins with a step that can do it.
  return row.rotation !== undefined || run.step !== "secret" || !wantsRotation(row, desired);
}

/** A higher `spec.key.generation`, or a new value of the rotate annotation; the first time that a person is seen rotates nothing. */
export function wantsRotation(row: SagaRow, desired: Desired): boolean {
  if (row.rotation !== undefined || hasOthersKey(row)) return true;
  if (row.handled === undefined) return false;
  if (desired.keyGeneration > row.keyGeneration) return true;
  return desired.rotateRequestedAt !== undefined && desired.rotateRequestedAt !== row.handled.rotateRequestedAt;
}

/** The account's key is another person's, who had the account before. */
export function hasOthersKey({ toReset, newapiUserID }: SagaRow): boolean {
  return toReset?.includes("newapi") === true && newapiUserID !== undefined;
}

function decideDown(input: DecisionInput, now: Date): Action {
  const { row, observation, crd } = input;
  const held = observation.kind === "deleting" && observation.finalizers.includes(FINALIZER);
  const isElsewhere = row.clusterID !== undefined && row.clusterID !== input.clusterID;
  if (row.deleting === undefined) {
    if (observation.kind !== "deleting") return { kind: "idle", why: "ended" };
    // What a CRD takes with it, and what another cluster made, was not deleted by anybody: release it, undo nothing.
    if (crd === "terminating" || crd === "gone" || isElsewhere) return { kind: "orphan", release: held };
    if (row.state === "deleted" || row.state === "retained" || row.state === "orphaned") {
      return held ? { kind: "release", cleanupPending: false } : { kind: "idle", why: "ended" };
    }
    const isWithheld =
      (observation.deletionPolicy ?? row.deletionPolicy) === "Retain" && input.tenant?.allowsRetain === false;
    const grace = Math.max(input.tenant?.deletionGraceMs ?? 0, isWithheld ? WITHHELD_MS : 0);
    return {
      kind: "begin-down",
      objectUID: observation.uid,
      since: now,
      purgeAt: grace > 0 ? new Date(observation.deletedAt.getTime() + grace) : undefined,
      ...(isWithheld ? { deletionPolicy: "Delete" } : {}),
    };
  }
  if (row.state === "orphaned") return { kind: "idle", why: "ended" };
  if (isElsewhere) {
    // Its cluster was lost before the deletion came to its end, which only a person may order from here.
    const hasEnded = row.state === "deleted" || row.state === "retained";
    return hasEnded ? { kind: "idle", why: "ended" } : { kind: "orphan", release: held };
  }
  const { deleting } = row;
  if (input.successor !== undefined && row.deletionPolicy === "Delete") {
    return { kind: "hand-over", to: input.successor };
  }
  if (row.deletionPolicy === "Retain")
    return row.state === "retained" ? { kind: "release", cleanupPending: false } : { kind: "retain" };
  if (row.state === "deleted") return { kind: "release", cleanupPending: false };

  const locking = deleting.purgeAt !== undefined && new Date(deleting.purgeAt) > now;
  const done = locking ? (deleting.locked ?? []) : deleting.undone;
  const next = STEPS.toReversed().find((step) => !done.includes(step) && !deleting.undone.includes(step));
  const pendingSince = now.getTime() - new Date(deleting.since).getTime();
  if (next === undefined) {
    if (!deleting.released) return locking ? { kind: "release", cleanupPending: false } : { kind: "deleted" };
    return locking ? { kind: "sleep", until: new Date(deleting.purgeAt as string) } : { kind: "deleted" };
  }
  if (!deleting.released && pendingSince >= RELEASE_AFTER_MS) return { kind: "release", cleanupPending: true };
  if (row.backoffUntil !== undefined && row.backoffUntil > now) {
    return { kind: "sleep", until: noLaterThanRelease(deleting, row.backoffUntil, now) };
  }
  const closed = next === "secret" ? undefined : input.closed[next];
  if (next !== "secret" && closed !== undefined) {
    return waitFor(next, { ...closed, until: noLaterThanRelease(deleting, closed.until, now) });
  }
  return { kind: "down", step: next, how: locking ? "lock" : "remove" };
}

/** This moment, or that at which the object is released whatever is left: not the release that is behind us already. */
export function noLaterThanRelease({ since, released }: Deleting, until: Date, now: Date): Date {
  const releaseAt = new Date(new Date(since).getTime() + RELEASE_AFTER_MS);
  return !released && releaseAt > now && releaseAt < until ? releaseAt : until;
}
