/** Whose is the user that stands in the way, and may we take it over? Pure. */
import { candidateUUID, isUUIDv4 } from "../api/names.ts";
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
  | { readonly kind: "foreign"; readonly why: string };

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
    if (tenantID !== undefined && uuid !== undefined) return { kind: "foreign", why: "it belongs to another tenant" };
    if (tenantID !== undefined || uuid !== undefined)
      return { kind: "foreign", why: "it carries only one of our two marks" };
  }
  if (others.length > 0) return { kind: "foreign", why: "one user has it as username and another one as email" };
  return { kind: "unmarked", user };
}

/** How many times one address may have begun a person anew before it is no longer tried whose uuid this was. */
const MOST_NAMESAKES = 9;

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
  return namesakes(tenantID, address).includes(uuid);
}

/** The uuids that people of this tenant can have got by this address, in their order. */
export function namesakes(tenantID: string, email: string): string[] {
  return Array.from({ length: MOST_NAMESAKES }, (_, index) =>
    candidateUUID(tenantID, email, index === 0 ? undefined : index + 1),
  );
}

/** What is known of an unmarked user when it comes to taking it over. */
export interface Standing {
  readonly user: User;
  readonly groups: readonly string[];
  readonly mappings: Mappings;
  /** Effective roles of client realm-management. */
  readonly adminRoles: readonly string[];
  readonly identityProviders: readonly string[];
}

/** Why the user may not be adopted; undefined when it may. */
export function adoptionObstacle(
  standing: Standing,
  rules: { email: string; allowedGroups: readonly string[]; defaultRole: string | undefined },
): string | undefined {
  const { user } = standing;
  if (user.serviceAccountClientId !== undefined) return "it is a client's service account";
  if (user.email?.toLowerCase() !== rules.email) return "its email is another one, and we never change it";
  // Anybody may register with anybody's address; only a proven one says who stands behind the account.
  if (user.emailVerified !== true) return "its email is not verified";
  if (user.federationLink !== undefined) return "it comes from a user federation";
  const [provider] = standing.identityProviders;
  if (provider !== undefined) return `it is linked to the identity provider ${provider}`;
  const [adminRole] = standing.adminRoles;
  if (adminRole !== undefined) return `it holds the administrator's role ${adminRole}`;
  const realmRole = standing.mappings.realmMappings?.find(({ name }) => name !== rules.defaultRole);
  if (realmRole !== undefined) return `it holds the realm role ${realmRole.name}`;
  for (const [client, { mappings }] of Object.entries(standing.mappings.clientMappings ?? {})) {
    const [role] = mappings ?? [];
    if (role !== undefined) return `it holds the role ${role.name} of client ${client}`;
  }
  const group = standing.groups.find((path) => !rules.allowedGroups.includes(path));
  if (group !== undefined) return `it is a member of group ${group}, which the Tenant does not allow`;
  return undefined;
}
