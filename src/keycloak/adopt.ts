/** Whose is the user that stands in the way, and may we take it over? Pure. */
import { isUUIDv4, derivedUUIDs } from "../api/names.ts";
import { MARK_TENANT_ID, MARK_USER_UUID } from "../api/meta.ts";
import { isOurs, marksOf } from "./marks.ts";
import type { DesiredUser } from "./realm.ts";
import type { Mappings, User } from "./representations.ts";

export type Claim =
  /** Nobody stands there any more: look again. */
  | { readonly kind: "nobody" }
  | { readonly kind: "ours"; readonly user: User }
  /** Another person of our own tenant: may be on the way to another address. */
  | { readonly kind: "colleague"; readonly user: User }
  | { readonly kind: "unmarked"; readonly user: User }
  /** `holder`: a person of another tenant, who may give the address up. */
  | { readonly kind: "foreign"; readonly why: string; readonly holder?: User };

/** Judges the users found by username, by email and by mark after a 409. */
export function judgeClaim(wanted: DesiredUser, candidates: readonly User[]): Claim {
  const ours = candidates.find((user) => isOurs(user, wanted.tenantID, wanted.uuid));
  if (ours !== undefined) return { kind: "ours", user: ours };
  const [user, ...others] = candidates;
  if (user === undefined) return { kind: "nobody" };
  const colleague = candidates.find((each) => {
    const marks = marksOf(each);
    return marks.tenantID === wanted.tenantID && marks.uuid !== undefined;
  });
  if (colleague !== undefined) return { kind: "colleague", user: colleague };
  for (const each of candidates) {
    const { tenantID, uuid } = marksOf(each);
    if (tenantID !== undefined && uuid !== undefined) {
      const why = "it belongs to another tenant";
      // A mark with several values is nobody's: only a person can tell.
      return isSingle(each) ? { kind: "foreign", why, holder: each } : { kind: "foreign", why };
    }
    if (tenantID !== undefined || uuid !== undefined)
      return { kind: "foreign", why: "it carries only one of our two marks" };
  }
  if (others.length > 0) return { kind: "foreign", why: "one user has it as username and another one as email" };
  return { kind: "unmarked", user };
}

function isSingle({ attributes }: User): boolean {
  return attributes?.[MARK_TENANT_ID]?.length === 1 && attributes[MARK_USER_UUID]?.length === 1;
}

/**
 * Whether somebody found by the marks alone can be whom we made them for: has the address, or the one that this uuid was
 * derived from, and did not give it to itself. Marks stay where a realm once let people write them, and a uuid can be
 * computed from an address. A version-4 uuid cannot: whoever carries it was given it.
 */
export function answersTo(user: User, wanted: Pick<DesiredUser, "uuid" | "tenantID" | "email">): boolean {
  if (user.emailVerified !== true) return false;
  return isUUIDv4(wanted.uuid) || hasAddress(user, wanted);
}

/** The address that is wanted, or the one that the uuid comes from. */
export function hasAddress(user: User, { uuid, tenantID, email }: Pick<DesiredUser, "uuid" | "tenantID" | "email">) {
  const address = user.email?.toLowerCase();
  if (address === undefined || address === email) return address === email;
  return derivedUUIDs(tenantID, address).includes(uuid);
}

/** What is known of an unmarked user when it comes to taking it over. */
export interface AdoptionFacts {
  readonly user: User;
  readonly groups: readonly { readonly id: string; readonly path: string }[];
  readonly mappings: Mappings;
  /** Effective roles of client realm-management. */
  readonly adminRoles: readonly string[];
  readonly identityProviders: readonly string[];
}

/** Why the user may not be adopted; undefined when it may. */
export function adoptionObstacle(
  facts: AdoptionFacts,
  rules: { email: string; allowedGroupIDs: ReadonlySet<string>; defaultRole: string | undefined },
): string | undefined {
  const { user } = facts;
  if (user.serviceAccountClientId !== undefined) return "it is a client's service account";
  if (user.email?.toLowerCase() !== rules.email) return "its email is another one, and we never change it";
  // Anybody may register with anybody's address; only a proven one says who stands behind the account.
  if (user.emailVerified !== true) return "its email is not verified";
  if (user.federationLink !== undefined) return "it comes from a user federation";
  const [provider] = facts.identityProviders;
  if (provider !== undefined) return `it is linked to the identity provider ${provider}`;
  const [adminRole] = facts.adminRoles;
  if (adminRole !== undefined) return `it holds the administrator's role ${adminRole}`;
  const realmRole = facts.mappings.realmMappings?.find(({ name }) => name !== rules.defaultRole);
  if (realmRole !== undefined) return `it holds the realm role ${realmRole.name}`;
  for (const [client, { mappings }] of Object.entries(facts.mappings.clientMappings ?? {})) {
    const [role] = mappings ?? [];
    if (role !== undefined) return `it holds the role ${role.name} of client ${client}`;
  }
  const group = facts.groups.find(({ id }) => !rules.allowedGroupIDs.has(id));
  if (group !== undefined) return `it is a member of group ${group.path}, which the Tenant does not allow`;
  return undefined;
}
