import { FINALIZER } from "../../api/meta.ts";
import { CONDITION, REASON } from "../../api/reasons.ts";
import type { TenantStatus } from "../../api/tenant.ts";
import type { Cluster } from "../../kube/cluster.ts";
import type { Clock } from "../../lib/clock.ts";
import { isSagaError } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { changedReadiness, conditionOf } from "../../saga/conditions.ts";
import { blocking, sameTenantStatus, tenantReport } from "../../saga/tenantReport.ts";
import { sameRecord, type TenantRecord, type TenantStore } from "../../store/tenants.ts";
import type { TenantAccess } from "../access.ts";
import { checksOf, type KnownTenant } from "./known.ts";
import type { Progress } from "./progress.ts";
import { sameAccess } from "./publish.ts";
import type { Registry } from "./registry.ts";

/** A Tenant came, went, or is worked with differently from now on. */
export interface TenantChange {
  readonly tenantID: string;
  /** Those it has and those it had. */
  readonly namespaces: readonly string[];
}

export interface StatusDeps {
  readonly cluster: Pick<Cluster, "applyTenantStatus" | "setTenantFinalizer" | "recordEvent">;
  readonly store: Pick<TenantStore, "mirrorTenant" | "grantNamespaces" | "touchTenantRows">;
  readonly registry: Registry;
  readonly progress: Progress;
  /** Called after the tenant's rows were made due, for those who wait and for what is due. */
  readonly changed: (change: TenantChange) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** `findings`: not for the counts alone. `counts`: the findings stay as they were read, whichever replica's they are. */
export type Scope = "all" | "findings" | "counts";

export interface TenantStatusWriter {
  /** Never throws. */
  write(each: KnownTenant, scope: Scope, signal: AbortSignal): Promise<void>;
  /** Tells those who wait for it that it is gone. */
  notifyGone(each: KnownTenant): void;
}

/** Writes what is known of one Tenant where others read it. Every write is skipped when it would change nothing. */
export function makeTenantStatus(deps: StatusDeps): TenantStatusWriter {
  const { cluster, store, registry, progress, clock, log } = deps;

  /** The claim stands in Postgres before the status tells of it. Postgres or the API server down: the next load tries again. */
  async function tried(name: string, what: string, write: () => Promise<void>, signal: AbortSignal): Promise<void> {
    try {
      await write();
    } catch (error) {
      if (signal.aborted) return;
      // Another replica was there first; the watch tells what it wrote.
      const level = isSagaError(error) && error.class === "conflict" ? "debug" : "warn";
      log[level](`failed to write the ${what} of a Tenant`, { name, error });
    }
  }

  async function mirror(each: KnownTenant): Promise<void> {
    const record = recordOf(each);
    // Without Postgres nobody knows what is in it.
    if (record === undefined || each.usage === undefined) return;
    const { namespaces } = record.accepted;
    if (each.mirrored === undefined || !sameRecord(each.mirrored, record)) await store.mirrorTenant(record);
    const granted = each.mirrored?.namespaces ?? [];
    if (granted.toSorted().join() !== namespaces.toSorted().join()) {
      await store.grantNamespaces(record.tenantID, namespaces);
    }
    each.mirrored = { ...record, namespaces, isRealmShared: each.mirrored?.isRealmShared ?? false };
  }

  async function touch(each: KnownTenant): Promise<void> {
    const access = each.published?.access;
    if (each.pendingTouch === "none" || access?.ready !== true) return;
    const { pendingTouch } = each;
    each.pendingTouch = "none";
    try {
      const touched = await store.touchTenantRows(
        access.tenantID,
        pendingTouch === "all" ? undefined : access.revision,
      );
      log.debug("made a tenant's rows due", { name: access.name, touched, why: pendingTouch });
    } catch (error) {
      each.pendingTouch = pendingTouch;
      throw error;
    }
  }

  /** Set as soon as a Tenant is worked with, not at its first user: between the two it could vanish. */
  async function finalizer(each: KnownTenant, signal: AbortSignal): Promise<void> {
    const { metadata } = each.tenant;
    const present = metadata.finalizers?.includes(FINALIZER) ?? false;
    if (metadata.deletionTimestamp === undefined) {
      if (present || each.candidate === undefined) return;
      const resourceVersion = await cluster.setTenantFinalizer(each.tenant, true, signal);
      // The status that follows is about the Tenant as it is now.
      const finalizers = [...(metadata.finalizers ?? []), FINALIZER];
      if (resourceVersion === undefined || each.tenant.metadata !== metadata) return;
      each.tenant = { ...each.tenant, metadata: { ...metadata, finalizers, resourceVersion } };
    } else if (present && each.usage?.rows === 0) {
      await cluster.setTenantFinalizer(each.tenant, false, signal);
    }
  }

  async function report(each: KnownTenant, scope: Scope, signal: AbortSignal): Promise<void> {
    const { tenant, acceptance, usage } = each;
    const previous = tenant.status;
    const checks = checksOf(each);
    // About to be asked: what stands there, perhaps from another replica, is better than "not asked yet".
    if (each.candidate !== undefined && checks === undefined && hasReady(previous) && !isDeleting(each)) return;
    const { generation = 0 } = tenant.metadata;
    const of = { generation, deleting: isDeleting(each), acceptance, checks, users: usage, previous };
    const current = tenantReport(of, new Date(clock.now()));
    const status = scope === "counts" && hasReady(previous) ? { ...previous, users: current.users } : current;
    if (sameTenantStatus(previous, status, { butUsers: scope === "findings" })) return;
    const resourceVersion = await cluster.applyTenantStatus(tenant, status, signal);
    if (resourceVersion === undefined) return;
    // If it was read again meanwhile, the watch tells which version is the last.
    const metadata = each.tenant === tenant ? { ...tenant.metadata, resourceVersion } : each.tenant.metadata;
    each.tenant = { ...each.tenant, metadata, status };
    await announce(each, previous, status, signal);
  }

  async function announce(
    each: KnownTenant,
    before: TenantStatus | undefined,
    after: TenantStatus,
    signal: AbortSignal,
  ) {
    const ready = changedReadiness(before, after);
    if (ready === undefined || ready.reason === REASON.Progressing) return;
    const { name, uid = "" } = each.tenant.metadata;
    const well = ready.status === "True" || ready.reason === REASON.Deleting;
    log.info("changed a Tenant's readiness", { name, outcome: ready.reason, ready: ready.status, note: ready.message });
    const object = { kind: "Tenant", name, uid } as const;
    const { reason, message: note } = ready;
    const type = well ? "Normal" : "Warning";
    await cluster.recordEvent({ object, type, reason, action: "Check", note }, signal);
  }

  function notifyChanged(each: KnownTenant, now: TenantAccess | undefined): void {
    const before = each.announced;
    each.announced = now;
    const tenantID = (now ?? before)?.tenantID;
    if (tenantID === undefined) return;
    const had = before?.spec.namespaces ?? [];
    const has = now === undefined ? [] : [...now.spec.namespaces, ...(each.acceptance.accepted?.namespaces ?? [])];
    deps.changed({ tenantID, namespaces: [...new Set([...had, ...has])] });
  }

  return {
    write: (each, scope, signal) =>
      each.inTurn(async () => {
        const { name, uid = "" } = each.tenant.metadata;
        if (registry.known.get(uid) !== each || signal.aborted) return;
        progress.moved();
        const isTouchPending = each.pendingTouch !== "none";
        await tried(name, "mirror", () => mirror(each), signal);
        await tried(name, "touch of its rows", () => touch(each), signal);
        const isTouched = isTouchPending && each.pendingTouch === "none";
        const now = each.published?.access;
        if (isTouched || !sameAccess(each.announced, now)) notifyChanged(each, now);
        await tried(name, "finalizer", () => finalizer(each, signal), signal);
        await tried(name, "status", () => report(each, scope, signal), signal);
      }),
    notifyGone: (each) => notifyChanged(each, undefined),
  };
}

/** What is worked with, and how it was judged. `accepted` may be ahead of it while an upstream is silent. */
function recordOf({ tenant, acceptance, published, candidate, checks }: KnownTenant): TenantRecord | undefined {
  if (acceptance.accepted === undefined || published === undefined || candidate === undefined) return undefined;
  const { uid = "", name, creationTimestamp = "" } = tenant.metadata;
  const judged = checks?.key === published.checkKey ? checks.results : undefined;
  return {
    tenantID: published.access.tenantID,
    objectUID: uid,
    name,
    createdAt: creationTimestamp,
    accepted: acceptance.accepted,
    revision: published.access.revision,
    ready: published.access.ready,
    problems: blocking(judged).map(({ reason, message }) => ({ reason, message })),
  };
}

export function hasReady(status: TenantStatus | undefined): boolean {
  return conditionOf(status, CONDITION.Ready) !== undefined;
}

export function isReady(status: TenantStatus | undefined): boolean {
  return conditionOf(status, CONDITION.Ready)?.status === "True";
}

function isDeleting({ tenant }: KnownTenant): boolean {
  return tenant.metadata.deletionTimestamp !== undefined;
}
