/** What a user must become, and whether that needs a write. Pure. */
import { MARK_TENANT_ID, MARK_USER_UUID } from "../api/meta.ts";
import { ADOPTED_MARK, isLockedOut, LOCKOUT_MARK } from "./marks.ts";
import {
  PROFILE_ATTRIBUTES,
  PROFILE_RULES,
  ruleOf,
  USER_FIELDS,
  type UserField,
  userFields,
  type UserFields,
} from "./profileFields.ts";
import type { DesiredUser } from "./realm.ts";
import type { User } from "./representations.ts";
import { usernameOf } from "./username.ts";

export type Attributes = Readonly<Record<string, readonly string[]>>;

/** What Java calls white space: Keycloak stores no value that is nothing else. */
// oxlint-disable-next-line no-control-regex -- they count as white space there
const BLANK = /^[\t-\r\x1c-\x20\u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000]*$/u;

/** The values as Keycloak keeps them: a set, without blank ones. */
function keptValues(values: readonly string[]): string[] {
  return [...new Set(values)].filter((value) => !BLANK.test(value));
}

/** A name as Keycloak keeps it: a blank one is none. */
export function keptName(name: string | undefined): string | undefined {
  return name === undefined || BLANK.test(name) ? undefined : name;
}

/**
 * The attributes beside the marks that we give this user: one without a value that Keycloak keeps is not given, nor one of
 * the profile that the realm would drop.
 */
export function ownAttributes(user: DesiredUser, keeps: (attribute: string) => boolean): Attributes {
  const asked: Record<string, readonly string[]> = { ...user.attributes };
  for (const name of PROFILE_ATTRIBUTES) {
    const value = user[name];
    if (value !== undefined && keeps(name)) asked[name] = [value];
  }
  return Object.fromEntries(
    Object.entries(asked)
      .map(([name, values]) => [name, keptValues(values)] as const)
      .filter(([, values]) => values.length > 0),
  );
}

/** What stands in the row as given by us, beside groups and roles: attributes and fields; no attribute is called like a field. */
export function given(user: DesiredUser, attributes: Attributes): string[] {
  const fields = USER_FIELDS.filter((field) => keptName(user[field]) !== undefined);
  return [...Object.keys(attributes), ...fields].filter((name) => ruleOf(name)?.managed !== false).toSorted();
}

export function markAttributes(user: DesiredUser): Attributes {
  return { [MARK_TENANT_ID]: [user.tenantID], [MARK_USER_UUID]: [user.uuid] };
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

export interface UserUpdate extends UserFields {
  readonly username: string;
  readonly email: string | undefined;
  readonly emailVerified: boolean | undefined;
  /** Only where it changes: whoever says of somebody that it is enabled lifts a lockout, a temporary one too. */
  readonly enabled: boolean | undefined;
  readonly attributes: Attributes;
}

export interface Correction {
  /** The whole body of the PUT; undefined when nothing differs. */
  readonly update: UserUpdate | undefined;
  readonly usernameKept: boolean;
  /** Keycloak has locked the person out, and the spec wants it let in. */
  readonly lockedOut: boolean;
}

/**
 * A name that the spec leaves out is not managed; one that it had before is taken away. A lockout by Keycloak is left;
 * one whom the spec disables too is from then on disabled by us, so that the spec can enable it again. Of an adopted
 * account username and `enabled` are never changed, nor a verified email: they were somebody's before us. An unverified
 * email is what somebody wrote into the account, and is put back. `requiredActions` belong to the creation: repeated, they
 * would never end.
 */
export function correct(
  current: User,
  user: DesiredUser,
  how: { adopted: boolean; mayRename: boolean; attributes: Attributes },
): Correction {
  const moves = !how.adopted;
  const isAnother = !sameAddress(current.email, user.email);
  const emailDiffers = isAnother && (moves || (current.email !== undefined && current.emailVerified !== true));
  const isOurs = emailDiffers || !isAnother;
  const vouched = user.vouched !== false;
  const wantedName = usernameOf(user);
  // A realm whose user names are the addresses has its own way with them.
  const isNamed = sameAddress(current.username, wantedName) || sameAddress(current.username, user.email);
  const nameDiffers = moves && !isNamed;
  const lockedOut = isLockedOut(current);
  const disables = moves && !user.enabled;
  const { [LOCKOUT_MARK]: lockout, ...others } = current.attributes ?? {};
  const attributes = mergeAttributes(
    lockout === undefined || (lockedOut && disables) ? others : { ...others, [LOCKOUT_MARK]: lockout },
    {
      ...(how.adopted ? forAdopted(how.attributes) : how.attributes),
      ...markAttributes(user),
      ...(how.adopted ? { [ADOPTED_MARK]: ["true"] } : {}),
    },
    user.managedBefore.attributes,
  );
  const enabled = !moves || (lockedOut && user.enabled) ? current.enabled : user.enabled;
  const fieldOf = (field: UserField): string | undefined => {
    if (how.adopted && !PROFILE_RULES[field].adopted) return current[field];
    return keptName(user[field]) ?? (user.managedBefore.attributes.includes(field) ? undefined : current[field]);
  };
  const next: UserUpdate = {
    username: nameDiffers && how.mayRename ? wantedName : current.username,
    email: emailDiffers ? user.email : current.email,
    // What was verified stays so: it may have been by the person.
    emailVerified: isOurs && vouched ? true : emailDiffers ? false : current.emailVerified,
    enabled: enabled === current.enabled ? undefined : enabled,
    ...userFields(fieldOf),
    attributes,
  };
  const same =
    next.username === current.username &&
    next.email === current.email &&
    next.emailVerified === current.emailVerified &&
    next.enabled === undefined &&
    USER_FIELDS.every((field) => next[field] === current[field]) &&
    sameAttributes(next.attributes, current.attributes ?? {});
  return {
    update: same ? undefined : next,
    usernameKept: nameDiffers && !how.mayRename,
    lockedOut: lockedOut && user.enabled,
  };
}

function forAdopted(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => ruleOf(name)?.adopted !== false));
}

/** Keycloak keeps the values of an attribute as a set: their order is not a difference, nor is what it does not keep. */
export function sameAttributes(left: Attributes, right: Attributes): boolean {
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  for (const name of names) {
    const a = keptValues(left[name] ?? []).toSorted();
    const b = keptValues(right[name] ?? []).toSorted();
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
export function sameAddress(current: string | undefined, wanted: string): boolean {
  return current?.toLowerCase() === wanted.toLowerCase();
}

function isMark(name: string): boolean {
  return name === MARK_TENANT_ID || name === MARK_USER_UUID || name === ADOPTED_MARK;
}
