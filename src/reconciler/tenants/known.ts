import pLimit, { type LimitFunction } from "p-limit";
import type { ObjectMeta } from "../../api/meta.ts";
import type { Tenant } from "../../api/tenant.ts";
import type { Acceptance } from "../../saga/accept.ts";
import type { Checks } from "../../saga/tenantReport.ts";
import type { StoredTenant, TenantUsage } from "../../store/tenants.ts";
import type { TenantAccess } from "../access.ts";
import { type Candidate, publish, type Published } from "./publish.ts";
import { type ClientFactories, makeTenantClients } from "./clients.ts";

/** One living Tenant, as this process knows it. */
export interface KnownTenant {
  tenant: Tenant;
  /** The resourceVersion of the last watch event by which only the status had been written, by whomever. */
  seenVersion: string | undefined;
  acceptance: Acceptance;
  /** Undefined: nothing of it is accepted. */
  candidate: Candidate | undefined;
  /** What sagas work with. */
  published: Published | undefined;
  /** As those who wait were last notified of it. */
  announced: TenantAccess | undefined;
  checks: { readonly key: string; readonly results: Checks } | undefined;
  /** Undefined: Postgres does not answer. */
  usage: TenantUsage | undefined;
  /** What Postgres has. */
  mirrored: StoredTenant | undefined;
  /** Rows that are still to be made due. */
  pendingTouch: "none" | "changed" | "all";
  /** Milliseconds since the epoch; undefined: its users are counted as they are. */
  countAt: number | undefined;
  /** Milliseconds since the epoch. */
  checkAt: number;
  checking: boolean;
  /** Its check waits until somebody else has asked where it would. */
  isPostponed: boolean;
  /** A check is wanted that begins from now on. */
  isRecheckWanted: boolean;
  readonly clientsFor: ReturnType<typeof makeTenantClients>;
  /** Writes about one Tenant follow one another: a late status must not cover a newer one. */
  readonly inTurn: LimitFunction;
}

export type Observation = Pick<KnownTenant, "tenant" | "acceptance" | "usage" | "mirrored">;

export function makeKnown(observation: Observation, factories: ClientFactories): KnownTenant {
  return {
    ...observation,
    seenVersion: undefined,
    candidate: undefined,
    published: undefined,
    announced: undefined,
    checks: undefined,
    pendingTouch: "none",
    countAt: undefined,
    checkAt: 0,
    checking: false,
    isPostponed: false,
    isRecheckWanted: false,
    clientsFor: makeTenantClients(factories),
    inTurn: pLimit(1),
  };
}

/** The results that are about what the Tenant is now. */
export function checksOf(each: KnownTenant): Checks | undefined {
  return each.checks?.key === each.candidate?.checkKey ? each.checks?.results : undefined;
}

/** Something of it waits for people to be gone. */
export function waitsForPeople({ tenant, acceptance }: KnownTenant): boolean {
  return tenant.metadata.deletionTimestamp !== undefined || acceptance.refusals.length > 0;
}

/** Settles what sagas work with, and notes which rows become due because of it. */
export function settle(each: KnownTenant): void {
  const { candidate, mirrored } = each;
  const before = each.published?.access;
  if (candidate === undefined) {
    each.published = undefined;
    return;
  }
  const wasReady = mirrored?.ready === true && mirrored.revision === candidate.revision;
  each.published = publish(each.published, candidate, checksOf(each), wasReady);
  const after = each.published.access;
  if (!after.ready) return;
  // What waits for a tenant to be ready cannot be told from its row: all of them become due.
  if (before?.ready === false) each.pendingTouch = "all";
  else if (before?.revision !== after.revision && each.pendingTouch === "none") each.pendingTouch = "changed";
}

/** Of a Tenant without people. */
export const UNUSED: TenantUsage = { rows: 0, total: 0, byState: {}, namespaces: [] };

/** Whether two readings of a Tenant differ in the status alone: not in the spec, the deletion or the finalizers. */
export function sameButStatus(a: ObjectMeta, b: ObjectMeta): boolean {
  return (
    a.generation === b.generation &&
    a.deletionTimestamp === b.deletionTimestamp &&
    (a.finalizers ?? []).join() === (b.finalizers ?? []).join()
  );
}
