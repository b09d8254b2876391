import pLimit, { type LimitFunction } from "p-limit";
import type { Tenant } from "../api/tenant.ts";
import type { Acceptance } from "../saga/accept.ts";
import type { Checks } from "../saga/tenantReport.ts";
import type { StoredTenant, TenantUsage } from "../store/tenants.ts";
import type { TenantAccess } from "./access.ts";
import { type Candidate, publish, type Published } from "./tenantAccess.ts";
import { type ClientFactories, makeTenantClients } from "./tenantClients.ts";

/** One living Tenant, as this process knows it. */
export interface KnownTenant {
  tenant: Tenant;
  /** The resourceVersion that the watch told of when only the status had been written, by whomever. */
  heard: string | undefined;
  acceptance: Acceptance;
  /** Undefined: nothing of it is accepted. */
  candidate: Candidate | undefined;
  /** What sagas work with. */
  published: Published | undefined;
  /** What was last told to those who wait. */
  announced: TenantAccess | undefined;
  checks: { readonly key: string; readonly results: Checks } | undefined;
  /** Undefined: Postgres does not answer. */
  usage: TenantUsage | undefined;
  /** What Postgres has. */
  mirrored: StoredTenant | undefined;
  /** Rows that are still to be made due. */
  owed: "nothing" | "changed" | "all";
  /** Milliseconds since the epoch; undefined: its users are counted as they are. */
  countAt: number | undefined;
  /** Milliseconds since the epoch. */
  checkAt: number;
  checking: boolean;
  /** Its check waits until somebody else has asked where it would. */
  isPostponed: boolean;
  /** A check is wanted that begins from now on. */
  suspected: boolean;
  readonly clientsFor: ReturnType<typeof makeTenantClients>;
  /** Writes about one Tenant follow one another: a late status must not cover a newer one. */
  readonly inTurn: LimitFunction;
}

export type Sighting = Pick<KnownTenant, "tenant" | "acceptance" | "usage" | "mirrored">;

export function makeKnown(sighting: Sighting, factories: ClientFactories): KnownTenant {
  return {
    ...sighting,
    heard: undefined,
    candidate: undefined,
    published: undefined,
    announced: undefined,
    checks: undefined,
    owed: "nothing",
    countAt: undefined,
    checkAt: 0,
    checking: false,
    isPostponed: false,
    suspected: false,
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

/** Publishes what has become known, and notes which rows must look again because of it. */
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
  // What waits for a tenant to be ready cannot be told from its row: all of them look again.
  if (before?.ready === false) each.owed = "all";
  else if (before?.revision !== after.revision && each.owed === "nothing") each.owed = "changed";
}
