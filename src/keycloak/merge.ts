/** What a user must become, and whether that needs a write. Pure. */
import { ADOPTED_MARK, TENANT_MARK, UUID_MARK } from "./marks.ts";
import type { DesiredUser } from "./realm.ts";
import type { User } from "./representations.ts";

/** Keycloak has no display name of its own: it goes to this attribute, where the realm's user profile keeps it. */
export const DISPLAY_NAME = "displayName";

export type Attributes = Readonly<Record<string, readonly string[]>>;

/** The attributes beside the marks that we give this user. */
export function ownAttributes(user: DesiredUser, keepsDisplayName: boolean): Attributes {
  return {
    ...user.attributes,
    ...(user.displayName === undefined || !keepsDisplayName ? {} : { [DISPLAY_NAME]: [user.displayName] }),
  };
}

export function markAttributes(user: DesiredUser): Attributes {
  return { [TENANT_MARK]: [user.tenantID], [UUID_MARK]: [user.uuid] };
}

/**
 * PUT replaces `attributes` whole: ours over what is there, minus those we gave earlier and give no longer.
 * Everything else stays.
 */
export function mergeAttributes(current: Attributes, ours: Attributes, gaveBefore: readonly string[]): Attributes {
  const merged: Record<string, readonly string[]> = {};
  for (const [name, values] of Object.entries(current)) {
    if (!gaveBefore.includes(name) || isMark(name)) merged[name] = values;
  }
  return { ...merged, ...ours };
}

export interface UserUpdate {
  readonly username: string;
  readonly email: string | undefined;
  readonly emailVerified: boolean | undefined;
  readonly enabled: boolean | undefined;
  readonly firstName: string | undefined;
  readonly lastName: string | undefined;
  readonly attributes: Attributes;
}

export interface Correction {
  /** The whole body of the PUT; undefined when nothing differs. */
  readonly update: UserUpdate | undefined;
  readonly usernameKept: boolean;
}

/**
 * A name that the spec leaves out is not managed. Of an adopted account email, username and `enabled` are never
 * changed: they were somebody's before us. `requiredActions` belong to the creation: repeated, they would never end.
 */
export function correct(
  current: User,
  user: DesiredUser,
  how: { adopted: boolean; mayRename: boolean; attributes: Attributes },
): Correction {
  const moves = !how.adopted;
  const emailDiffers = moves && !sameAddress(current.email, user.email);
  const nameDiffers = moves && !sameAddress(current.username, user.email);
  const attributes = mergeAttributes(
    current.attributes ?? {},
    { ...how.attributes, ...markAttributes(user), ...(how.adopted ? { [ADOPTED_MARK]: ["true"] } : {}) },
    user.managedBefore.attributes,
  );
  const next: UserUpdate = {
    username: nameDiffers && how.mayRename ? user.email : current.username,
    email: emailDiffers ? user.email : current.email,
    emailVerified: emailDiffers ? true : current.emailVerified,
    enabled: moves ? user.enabled : current.enabled,
    firstName: user.firstName ?? current.firstName,
    lastName: user.lastName ?? current.lastName,
    attributes,
  };
  const same =
    next.username === current.username &&
    next.email === current.email &&
    next.enabled === current.enabled &&
    next.firstName === current.firstName &&
    next.lastName === current.lastName &&
    sameAttributes(next.attributes, current.attributes ?? {});
  return { update: same ? undefined : next, usernameKept: nameDiffers && !how.mayRename };
}

/** Keycloak keeps the values of an attribute as a set: their order is not a difference. */
export function sameAttributes(left: Attributes, right: Attributes): boolean {
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  for (const name of names) {
    const a = [...(left[name] ?? [])].toSorted();
    const b = [...(right[name] ?? [])].toSorted();
    if (a.length !== b.length || a.some((value, index) => value !== b[index])) return false;
  }
  return true;
}

export interface Memberships {
  readonly join: readonly string[];
  readonly leave: readonly string[];
  /** What stands in the row from now on as given by us. */
  readonly managed: readonly string[];
}

/**
 * Groups by path, or roles by name. Only what we gave is taken away again; an empty list in the spec (`only`) says "none
 * beyond", and takes away everything else too. Of an account that we made, all that is wanted counts as given by us, so
 * that a cut between join and record forgets nothing; of an adopted one only what it did not have before.
 */
export function planMemberships(input: {
  wanted: readonly string[];
  current: readonly string[];
  gaveBefore: readonly string[];
  only: boolean;
  adopted: boolean;
}): Memberships {
  const wanted = new Set(input.wanted);
  const current = new Set(input.current);
  const gave = new Set(input.gaveBefore);
  const join = [...wanted].filter((name) => !current.has(name));
  const leave = [...current].filter((name) => !wanted.has(name) && (input.only || gave.has(name)));
  const managed = [...wanted].filter((name) => !input.adopted || gave.has(name) || !current.has(name));
  return { join, leave, managed: managed.toSorted() };
}

/** Keycloak keeps names and addresses in lower case; so is the canonical email. */
function sameAddress(current: string | undefined, wanted: string): boolean {
  return current?.toLowerCase() === wanted.toLowerCase();
}

function isMark(name: string): boolean {
  return name === TENANT_MARK || name === UUID_MARK || name === ADOPTED_MARK;
}
