import { FINALIZER } from "../api/meta.ts";
import { REASON, type Reason } from "../api/reasons.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { Desired, Refusal } from "./desired.ts";
import { type Deleting, type Run, type RunReason, type SagaRow, type StepName, STEPS } from "./row.ts";

/** How long a deletion may hold its object while a neighbour stays down; the rest is a debt. */
export const RELEASE_AFTER_MS = 10 * 60_000;

/** A claim may find the object gone before the watch has told of its deletion. So long it is given. */
export const MISSING_FOR_MS = 5_000;
/** An absence noted longer ago was another one. */
const SAME_ABSENCE_MS = 60_000;

/** What is known of the object that holds the row, read just now. */
export type Sight =
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
    }
  /** 404, or another uid under its name. Absence is not deletion. */
  | { readonly kind: "absent" };

export interface TenantView {
  readonly revision: string;
  readonly ready: boolean;
  readonly message: string;
  readonly deletionGraceMs: number;
}

export interface View {
  readonly row: SagaRow;
  readonly sight: Sight;
  /** Undefined: no accepted Tenant has this id. */
  readonly tenant: TenantView | undefined;
  /** `unknown`: only asked for when a down step could be next; a CRD that goes takes every object with it. */
  readonly crd: "present" | "terminating" | "gone" | "unknown";
  /** This cluster's id; rows of another cluster are never undone from here. */
  readonly clusterID: string;
  /** Somebody waits for this email in this tenant. */
  readonly waiter: boolean;
  /** Neighbours that nobody goes to at the moment. */
  readonly closed: Partial<Record<TenantNeighbour, Closed>>;
}

/** The neighbours that a tenant has an address and a credential for. */
export type TenantNeighbour = "keycloak" | "newapi";

/** `silent`: it does not answer. `refuses`: it does not let this tenant's credential in. */
export interface Closed {
  readonly why: "silent" | "refuses";
  /** When to look again, unless called before. */
  readonly until: Date;
}

export type Action =
  /** Nothing to do: the row rests until something touches it. */
  | { readonly kind: "rest"; readonly why: "voided" | "ended" | "unconfirmed" | "blocked" }
  /** All is as wanted. `until`: when there is something to do all the same (the end of a key's overlap). */
  | { readonly kind: "rest"; readonly why: "done"; readonly until?: Date | undefined }
  /** Nothing to do before this moment. */
  | { readonly kind: "sleep"; readonly until: Date }
  /** Cannot go on now; says so, burns no retry. */
  | { readonly kind: "wait"; readonly reason: Reason; readonly message: string; readonly until: Date | undefined }
  /** A person must act; says so. */
  | { readonly kind: "refuse"; readonly refusal: Refusal }
  | { readonly kind: "suspend" }
  /** The email of the object is no longer the row's. */
  | { readonly kind: "move-email"; readonly email: string }
  | { readonly kind: "add-finalizer" }
  | { readonly kind: "up"; readonly step: StepName; readonly run: Run }
  | { readonly kind: "finish"; readonly run: Run }
  /** The object is not there, and its deletion may be about to be seen: look again then. */
  | { readonly kind: "miss"; readonly since: Date; readonly until: Date }
  /** The row has lost its object without a deletion: nothing is undone. */
  | { readonly kind: "orphan"; readonly release: boolean }
  /** The object is being deleted: note it in the row, with what going down needs, before anything outside. */
  | {
      readonly kind: "begin-down";
      readonly objectUID: string;
      readonly since: Date;
      readonly purgeAt: Date | undefined;
    }
  /** The deleted holder gives the saga to the one who waits for the email. */
  | { readonly kind: "hand-over" }
  /** `lock`: disable and keep (grace); `remove`: undo for good. */
  | { readonly kind: "down"; readonly step: StepName; readonly how: "lock" | "remove" }
  | { readonly kind: "retain" }
  | { readonly kind: "deleted" }
  /** Let the object go: everything is undone, or the rest is a debt or the purge after grace. */
  | { readonly kind: "release"; readonly debt: boolean };

/** The fingerprint of all that can lift a terminal error. */
export function fingerprint(desired: Desired, tenant: TenantView | undefined): string {
  return [desired.generation, tenant?.revision ?? "", desired.requestedAt ?? "", desired.rotateRequestedAt ?? ""].join(
    "|",
  );
}

/** Names the one next action. Pure and total: everything it needs is in the view. */
export function decide(view: View, now: Date): Action {
  const { row, sight } = view;
  if (row.voided) return { kind: "rest", why: "voided" };
  if (!row.confirmed) return { kind: "rest", why: "unconfirmed" };
  if (row.deleting !== undefined || sight.kind === "deleting") return decideDown(view, now);
  if (row.state === "deleted" || row.state === "retained") return { kind: "rest", why: "ended" };
  if (sight.kind === "absent")
    return row.state === "orphaned" ? { kind: "rest", why: "ended" } : decideMissing(row, now);
  return decideUp(view, sight, now);
}

function decideMissing(row: SagaRow, now: Date): Action {
  const noted = row.missingSince;
  const since = noted !== undefined && now.getTime() - noted.getTime() < SAME_ABSENCE_MS ? noted : now;
  const until = new Date(since.getTime() + MISSING_FOR_MS);
  return until <= now ? { kind: "orphan", release: false } : { kind: "miss", since, until };
}

function decideUp(view: View, sight: Extract<Sight, { kind: "present" }>, now: Date): Action {
  const { row, tenant } = view;
  const { desired, object } = sight;
  if (tenant === undefined) {
    return {
      kind: "wait",
      reason: REASON.NoTenant,
      message: `No Tenant claims namespace ${JSON.stringify(object.metadata.namespace)}; the platform must add it to one.`,
      until: undefined,
    };
  }
  if (row.blockedOn === fingerprint(desired, tenant)) return { kind: "rest", why: "blocked" };
  if (row.backoffUntil !== undefined && row.backoffUntil > now) return { kind: "sleep", until: row.backoffUntil };
  if (desired.suspend) return { kind: "suspend" };
  const refused = sight.refusal ?? otherPin(row, desired);
  if (refused !== undefined) return { kind: "refuse", refusal: refused };
  const run = nextRun(row, desired, tenant, now);
  const held = object.metadata.finalizers?.includes(FINALIZER) === true;
  if (run === undefined) {
    // Taken off by hand: the object could go unseen, and everything of its person would stay.
    if (!held) return { kind: "add-finalizer" };
    const until = row.previousKeyUntil;
    return { kind: "rest", why: "done", ...(until === undefined ? {} : { until }) };
  }
  if (!tenant.ready) {
    return { kind: "wait", reason: REASON.TenantNotReady, message: tenant.message, until: undefined };
  }
  if (desired.email !== row.email) return { kind: "move-email", email: desired.email };
  if (!held) return { kind: "add-finalizer" };
  if (run.step === "finish") return { kind: "finish", run: { ...run, step: "secret" } };
  // The Secret's step asks the gateway for the key, and tries it there.
  const neighbour = run.step === "keycloak" ? "keycloak" : "newapi";
  const closed = view.closed[neighbour];
  if (closed !== undefined) return waitFor(neighbour, closed);
  return { kind: "up", step: run.step, run: { ...run, step: run.step } };
}

function waitFor(neighbour: TenantNeighbour, { why, until }: Closed): Action {
  const [reason, message] =
    why === "silent"
      ? [REASON.NeighbourUnavailable, `${neighbour} does not answer; it is probed, and this goes on when it does.`]
      : [
          REASON.TenantNotReady,
          `${neighbour} refuses this tenant's credential; the Tenant is checked, and this goes on when its check is green.`,
        ];
  return { kind: "wait", reason, message, until };
}

/** The uuid is chosen once: a pin that is added or changed later must be it. */
function otherPin(row: SagaRow, desired: Desired): Refusal | undefined {
  if (desired.pin === undefined || desired.pin === row.uuid) return undefined;
  return {
    reason: REASON.UUIDNotYours,
    message: `spec.userUUID ${desired.pin} is not this person's, which is ${row.uuid}; remove it, or set it to that.`,
  };
}

type NextRun = Omit<Run, "step"> & { readonly step: StepName | "finish" };

/**
 * The run in hand, or the one that has become necessary, or none. A run is always about the newest generation, Tenant
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
    // A run that is begun anew must not rotate what it has rotated.
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

/** A higher `spec.key.generation`, or a new value of the rotate annotation; the first sight of a person rotates nothing. */
export function wantsRotation(row: SagaRow, desired: Desired): boolean {
  if (row.rotation !== undefined) return true;
  if (row.handled === undefined) return false;
  if (desired.keyGeneration > row.keyGeneration) return true;
  return desired.rotateRequestedAt !== undefined && desired.rotateRequestedAt !== row.handled.rotateRequestedAt;
}

function decideDown(view: View, now: Date): Action {
  const { row, sight, crd } = view;
  const held = sight.kind === "deleting" && sight.finalizers.includes(FINALIZER);
  if (row.deleting === undefined) {
    if (sight.kind !== "deleting") return { kind: "rest", why: "ended" };
    // What a CRD takes with it, and what another cluster made, was not deleted by anybody: let go, undo nothing.
    if (crd === "terminating" || crd === "gone") return { kind: "orphan", release: held };
    if (row.clusterID !== undefined && row.clusterID !== view.clusterID) return { kind: "orphan", release: held };
    if (row.state === "deleted" || row.state === "retained" || row.state === "orphaned") {
      return held ? { kind: "release", debt: false } : { kind: "rest", why: "ended" };
    }
    const grace = view.tenant?.deletionGraceMs ?? 0;
    return {
      kind: "begin-down",
      objectUID: sight.uid,
      since: now,
      purgeAt: grace > 0 ? new Date(sight.deletedAt.getTime() + grace) : undefined,
    };
  }
  if (row.clusterID !== undefined && row.clusterID !== view.clusterID) return { kind: "rest", why: "ended" };
  const { deleting } = row;
  if (view.waiter && row.deletionPolicy === "Delete") return { kind: "hand-over" };
  if (row.deletionPolicy === "Retain")
    return row.state === "retained" ? { kind: "release", debt: false } : { kind: "retain" };
  if (row.state === "deleted") return { kind: "release", debt: false };

  const locking = deleting.purgeAt !== undefined && new Date(deleting.purgeAt) > now;
  const done = locking ? (deleting.locked ?? []) : deleting.undone;
  const next = STEPS.toReversed().find((step) => !done.includes(step) && !deleting.undone.includes(step));
  const owedSince = now.getTime() - new Date(deleting.since).getTime();
  if (next === undefined) {
    if (!deleting.released) return locking ? { kind: "release", debt: false } : { kind: "deleted" };
    return locking ? { kind: "sleep", until: new Date(deleting.purgeAt as string) } : { kind: "deleted" };
  }
  if (!deleting.released && owedSince >= RELEASE_AFTER_MS) return { kind: "release", debt: true };
  if (row.backoffUntil !== undefined && row.backoffUntil > now) {
    return { kind: "sleep", until: noLaterThanRelease(deleting, row.backoffUntil) };
  }
  const closed = next === "secret" ? undefined : view.closed[next];
  if (next !== "secret" && closed !== undefined) {
    return waitFor(next, { ...closed, until: noLaterThanRelease(deleting, closed.until) });
  }
  return { kind: "down", step: next, how: locking ? "lock" : "remove" };
}

function noLaterThanRelease({ since, released }: Deleting, until: Date): Date {
  const letGoAt = new Date(new Date(since).getTime() + RELEASE_AFTER_MS);
  return released || until < letGoAt ? until : letGoAt;
}
