import { REASON } from "../api/reasons.ts";
import type { Tenant, TenantSpec } from "../api/tenant.ts";
import type { Refusal } from "./desired.ts";

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

/** What a tenant's rows hold fast. `deleted` and void ones hold nothing, debts do. */
export interface TenantUse {
  readonly rows: number;
  readonly namespaces: readonly string[];
}

/** What Postgres knows: the mirror of accepted specs, and by tenant id what is in use. */
export interface Books {
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
 * Decides between all living Tenants at once which spec each works with, by uid. Without the books nothing new is taken
 * over and nothing refused: what was accepted stays.
 */
export function accept(claimants: readonly Claimant[], books: Books | undefined): Map<string, Acceptance> {
  const known = books === undefined ? claimants : claimants.map((each) => withMirror(each, claimants, books.mirror));
  const ordered = known.toSorted(byAge);
  const bids = ordered.map((each) => (books === undefined ? frozen(each) : bid(each, books)));
  contestTenantIDs(bids);
  const owners = contestNamespaces(bids);
  return new Map(bids.map((each) => [each.claimant.uid, outcome(each, owners)]));
}

/** Tenants in the same realm: there, an account without marks may be anybody's. */
export function realmKey(spec: TenantSpec): string {
  return `${URL.canParse(spec.keycloak.url) ? new URL(spec.keycloak.url).href.replace(/\/+$/, "") : spec.keycloak.url} ${spec.keycloak.realm}`;
}

/** One Tenant in the contest: `wanted` is what it works with as far as others let it. */
interface Bid {
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

function frozen(each: Claimant): Bid {
  return { claimant: each, wanted: each.accepted, refusals: [] };
}

function bid(each: Claimant, { uses }: Books): Bid {
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
  // On its way out a Tenant may be mended, so that its users can go; it takes nothing new.
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
      message: `${field} cannot change from ${JSON.stringify(before)} to ${JSON.stringify(after)} while the tenant has users; put it back, or remove the users first (debts count); ${UNTIL_THEN}`,
    }));
  const leaving = use.namespaces
    .filter((namespace) => accepted.namespaces.includes(namespace) && !spec.namespaces.includes(namespace))
    .toSorted(compare)
    .map((namespace) => ({
      reason: REASON.ChangeRefused,
      message: `Namespace ${JSON.stringify(namespace)} cannot leave while it has users; put it back into spec.namespaces, or remove its users first (debts count); ${UNTIL_THEN}`,
    }));
  return [...changes, ...leaving];
}

/** Bids come oldest first. An id that was accepted is its holder's, also while the holder asks for another one. */
function contestTenantIDs(bids: readonly Bid[]): void {
  const owners = new Map<string, Bid>();
  const take = (id: string | undefined, each: Bid): void => {
    if (id !== undefined && !owners.has(id)) owners.set(id, each);
  };
  for (const each of bids) take(each.claimant.accepted?.tenantID, each);
  for (const each of bids) take(each.wanted?.tenantID, each);
  for (const each of bids) {
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

function contestNamespaces(bids: readonly Bid[]): Map<string, Bid> {
  const owners = new Map<string, Bid>();
  for (const accepted of [true, false]) {
    for (const each of bids) {
      for (const namespace of each.wanted?.namespaces ?? []) {
        const before = each.claimant.accepted?.namespaces.includes(namespace) ?? false;
        if (before === accepted && !owners.has(namespace)) owners.set(namespace, each);
      }
    }
  }
  return owners;
}

function outcome({ claimant: own, wanted, refusals }: Bid, owners: ReadonlyMap<string, Bid>): Acceptance {
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
