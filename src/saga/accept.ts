import { REASON } from "../api/reasons.ts";
import type { Tenant, TenantSpec } from "../api/tenant.ts";
import type { Refusal } from "./desired.ts";
import { withoutEnd } from "../lib/text.ts";

/** A living Tenant: what it asks for, and what was accepted of it before. */
export interface Claimant {
  readonly uid: string;
  readonly name: string;
  /** RFC 3339, as the API server writes it: comparing the text compares the time. */
  readonly createdAt: string;
  readonly deleting: boolean;
  readonly spec: TenantSpec;
  readonly accepted: TenantSpec | undefined;
}

export interface MirroredTenant {
  readonly tenantID: string;
  readonly objectUID: string;
  readonly accepted: TenantSpec;
}

/** What a tenant's rows hold fast. `deleted` and void ones hold nothing, pending cleanups do. */
export interface TenantUse {
  readonly rows: number;
  readonly namespaces: readonly string[];
}

/** What Postgres knows: the mirror of accepted specs, and by tenant id what is in use. */
export interface StoreSnapshot {
  readonly mirror: readonly MirroredTenant[];
  readonly uses: ReadonlyMap<string, TenantUse>;
}

export interface Acceptance {
  /** The spec to work with; its namespaces are those granted. Undefined: nothing of this Tenant is in force. */
  readonly accepted: TenantSpec | undefined;
  readonly refusals: readonly Refusal[];
}

export function claimant(tenant: Tenant): Claimant {
  const { uid = "", name, creationTimestamp = "", deletionTimestamp } = tenant.metadata;
  return {
    uid,
    name,
    createdAt: creationTimestamp,
    deleting: deletionTimestamp !== undefined,
    spec: tenant.spec,
    accepted: tenant.status?.accepted,
  };
}

/**
 * Decides between all living Tenants at once which spec each works with, by uid. Without the state store nothing new is
 * accepted and nothing refused: what was accepted stays.
 */
export function accept(claimants: readonly Claimant[], snapshot: StoreSnapshot | undefined): Map<string, Acceptance> {
  const known =
    snapshot === undefined ? claimants : claimants.map((each) => withMirror(each, claimants, snapshot.mirror));
  const ordered = known.toSorted(byAge);
  const candidates = ordered.map((each) => (snapshot === undefined ? frozen(each) : candidate(each, snapshot)));
  resolveTenantIDs(candidates);
  resolveRealms(candidates);
  const owners = resolveNamespaces(candidates);
  return new Map(candidates.map((each) => [each.claimant.uid, outcome(each, owners)]));
}

/** Tenants in the same realm: there, an account without marks may be anybody's. */
export function realmKey(spec: TenantSpec): string {
  return `${URL.canParse(spec.keycloak.url) ? withoutEnd(new URL(spec.keycloak.url).href, "/") : spec.keycloak.url} ${spec.keycloak.realm}`;
}

/** One Tenant in the resolveConflicts: `wanted` is what it works with as far as others let it. */
interface ClaimCandidate {
  readonly claimant: Claimant;
  wanted: TenantSpec | undefined;
  readonly refusals: Refusal[];
}

function byAge(a: Claimant, b: Claimant): number {
  return compare(a.createdAt, b.createdAt) || compare(a.uid, b.uid);
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/**
 * The mirror is written before the status, so it is never the older one. A mirror whose object is gone serves the Tenant
 * that came in its place.
 */
function withMirror(each: Claimant, all: readonly Claimant[], mirror: readonly MirroredTenant[]): Claimant {
  const own = mirror.find((entry) => entry.objectUID === each.uid);
  if (own !== undefined) return { ...each, accepted: own.accepted };
  if (each.accepted !== undefined) return each;
  const left = mirror.find(
    (entry) => entry.tenantID === each.spec.tenantID && !all.some((other) => other.uid === entry.objectUID),
  );
  return { ...each, accepted: left?.accepted };
}

function frozen(each: Claimant): ClaimCandidate {
  return { claimant: each, wanted: each.accepted, refusals: [] };
}

function candidate(each: Claimant, { uses }: StoreSnapshot): ClaimCandidate {
  const { accepted, spec } = each;
  const use = uses.get((accepted ?? spec).tenantID);
  if (accepted === undefined) {
    // One that goes unaccepted is needed only by users it has all the same (its status and mirror were lost).
    const needed = !each.deleting || (use?.rows ?? 0) > 0;
    return { claimant: each, wanted: needed ? spec : undefined, refusals: [] };
  }
  const refusals = use === undefined || use.rows === 0 ? [] : heldBack(accepted, spec, use);
  if (refusals.length > 0) return { claimant: each, wanted: accepted, refusals };
  if (!each.deleting) return { claimant: each, wanted: spec, refusals };
  // On its way out a Tenant may be fixed, so that its users can go; it takes nothing new.
  const namespaces = spec.namespaces.filter((namespace) => accepted.namespaces.includes(namespace));
  return { claimant: each, wanted: { ...spec, namespaces }, refusals };
}

const UNTIL_THEN = "until then the last accepted spec stays in force, whole.";

/** What may not change while there are users: it is where their accounts are. */
function heldBack(accepted: TenantSpec, spec: TenantSpec, use: TenantUse): Refusal[] {
  const fixed: [field: string, before: string, after: string][] = [
    ["spec.tenantID", accepted.tenantID, spec.tenantID],
    ["spec.keycloak.url", accepted.keycloak.url, spec.keycloak.url],
    ["spec.keycloak.realm", accepted.keycloak.realm, spec.keycloak.realm],
    ["spec.newapi.dialect", accepted.newapi.dialect, spec.newapi.dialect],
    ["spec.newapi.url", accepted.newapi.url, spec.newapi.url],
  ];
  const changes = fixed
    .filter(([, before, after]) => before !== after)
    .map(([field, before, after]) => ({
      reason: REASON.ChangeRefused,
      message: `${field} cannot change from ${JSON.stringify(before)} to ${JSON.stringify(after)} while the tenant has users; put it back, or remove the users first (pending cleanups count); ${UNTIL_THEN}`,
    }));
  const leaving = use.namespaces
    .filter((namespace) => accepted.namespaces.includes(namespace) && !spec.namespaces.includes(namespace))
    .toSorted(compare)
    .map((namespace) => ({
      reason: REASON.ChangeRefused,
      message: `Namespace ${JSON.stringify(namespace)} cannot leave while it has users; put it back into spec.namespaces, or remove its users first (pending cleanups count); ${UNTIL_THEN}`,
    }));
  return [...changes, ...leaving];
}

/** ClaimCandidates come oldest first. An id that was accepted is its holder's, also while the holder asks for another one. */
function resolveTenantIDs(candidates: readonly ClaimCandidate[]): void {
  const owners = new Map<string, ClaimCandidate>();
  const take = (id: string | undefined, each: ClaimCandidate): void => {
    if (id !== undefined && !owners.has(id)) owners.set(id, each);
  };
  for (const each of candidates) take(each.claimant.accepted?.tenantID, each);
  for (const each of candidates) take(each.wanted?.tenantID, each);
  for (const each of candidates) {
    const asked = each.wanted?.tenantID;
    const owner = asked === undefined ? undefined : owners.get(asked);
    if (owner === undefined || owner === each) continue;
    const kept = each.claimant.accepted;
    each.wanted = kept !== undefined && owners.get(kept.tenantID) === each ? kept : undefined;
    each.refusals.push({
      reason: REASON.ClaimRefused,
      message: `spec.tenantID ${JSON.stringify(asked)} belongs to Tenant ${JSON.stringify(owner.claimant.name)}; delete one of the two Tenants.`,
    });
  }
}

/**
 * In one realm two Tenants may be only where each names its email domains and none is named twice: an address has one owner.
 * What was accepted beats what is new; those that were accepted side by side before stay so, and the younger is told.
 */
function resolveRealms(candidates: readonly ClaimCandidate[]): void {
  const seats = new Map<ClaimCandidate, TenantSpec>();
  const rival = (each: ClaimCandidate, spec: TenantSpec, of: readonly ClaimCandidate[]): ClaimCandidate | undefined =>
    of.find((other) => {
      const theirs = seats.get(other);
      return other !== each && theirs !== undefined && realmKey(theirs) === realmKey(spec) && overlap(theirs, spec);
    });
  for (const each of candidates) {
    const { accepted } = each.claimant;
    if (accepted !== undefined && each.wanted !== undefined) seats.set(each, accepted);
  }
  for (const [index, each] of candidates.entries()) {
    const { wanted } = each;
    if (wanted === undefined) continue;
    const before = seats.get(each);
    const asBefore = before !== undefined && sameSeat(before, wanted);
    const other = rival(each, wanted, asBefore ? candidates.slice(0, index) : candidates);
    if (other === undefined) {
      seats.set(each, wanted);
      continue;
    }
    if (!asBefore) each.wanted = before;
    each.refusals.push({
      reason: REASON.ClaimRefused,
      message: `Realm ${JSON.stringify(wanted.keycloak.realm)} is also Tenant ${JSON.stringify(other.claimant.name)}'s; two Tenants share a realm only where both name their domains in spec.allow.emailDomains and no domain is named twice. Give one of them a realm of its own, or set the domains apart.`,
    });
  }
}

function sameSeat(a: TenantSpec, b: TenantSpec): boolean {
  const domains = (spec: TenantSpec): string => JSON.stringify(spec.allow.emailDomains.toSorted(compare));
  return realmKey(a) === realmKey(b) && domains(a) === domains(b);
}

/** No domain named means every domain. */
function overlap({ allow: a }: TenantSpec, { allow: b }: TenantSpec): boolean {
  if (a.emailDomains.length === 0 || b.emailDomains.length === 0) return true;
  const theirs = new Set(b.emailDomains.map((domain) => domain.toLowerCase()));
  return a.emailDomains.some((domain) => theirs.has(domain.toLowerCase()));
}

function resolveNamespaces(candidates: readonly ClaimCandidate[]): Map<string, ClaimCandidate> {
  const owners = new Map<string, ClaimCandidate>();
  for (const accepted of [true, false]) {
    for (const each of candidates) {
      for (const namespace of each.wanted?.namespaces ?? []) {
        const before = each.claimant.accepted?.namespaces.includes(namespace) ?? false;
        if (before === accepted && !owners.has(namespace)) owners.set(namespace, each);
      }
    }
  }
  return owners;
}

function outcome(
  { claimant: own, wanted, refusals }: ClaimCandidate,
  owners: ReadonlyMap<string, ClaimCandidate>,
): Acceptance {
  if (wanted === undefined) return { accepted: undefined, refusals };
  const ownerOf = (namespace: string) => owners.get(namespace)?.claimant;
  const lost = wanted.namespaces.filter((namespace) => ownerOf(namespace)?.uid !== own.uid);
  return {
    accepted: { ...wanted, namespaces: wanted.namespaces.filter((namespace) => !lost.includes(namespace)) },
    refusals: [
      ...refusals,
      ...lost.toSorted(compare).map((namespace) => ({
        reason: REASON.ClaimRefused,
        message: `Namespace ${JSON.stringify(namespace)} belongs to Tenant ${JSON.stringify(ownerOf(namespace)?.name)}; take it out of spec.namespaces of one of the two.`,
      })),
    ],
  };
}
