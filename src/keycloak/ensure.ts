/** Ensure: find ours, create what is missing, correct what differs, touch nothing else. */
import { REASON } from "../api/reasons.ts";
import { ConflictError, isSagaError, TerminalError } from "../lib/errors.ts";
import { answersTo, hasAddress, judgeClaim } from "./adopt.ts";
import { claimed, emailInUse, foreign, isDoubled, isTaken, notReady, vanished } from "./addressConflicts.ts";
import { NOT_FOUND } from "./classify.ts";
import { createOrClaim, type Found } from "./create.ts";
import { refuseAdmin, refuseAdminGroup, refuseAdminRole, wantedGroups, wantedRoles } from "./grants.ts";
import { byID, inTheWay, locate, type Located } from "./locate.ts";
import { MARK_TENANT_ID, MARK_USER_UUID } from "../api/meta.ts";
import { carriesAdoptedMark } from "./marks.ts";
import { groupPlan, isEmpty, move, remap, rolePlan } from "./memberships.ts";
import {
  type Attributes,
  correct,
  type Correction,
  given,
  ownAttributes,
  sameAddress,
  sameAttributes,
  type UserUpdate,
} from "./merge.ts";
import type { Parts } from "./parts.ts";
import { adoptedMarkHolds, attributePolicyOf, marksProblem, renames } from "./profile.ts";
import { USER_FIELDS } from "./profileFields.ts";
import { type Adoption, type DesiredUser, type EnsuredUser, MarkedUser, type Past, type Telling } from "./realm.ts";
import { emptyAnswer, type Profile, type User } from "./representations.ts";
import { type Kept, resetAccess } from "./reset.ts";
import type { Ask } from "./session.ts";
import { usernameOf } from "./username.ts";
import { vacate } from "./vacate.ts";
import { terminal, waiting } from "./failures.ts";

type Rules = Parameters<typeof correct>[2];

/** What was refused on the strength of what was remembered is asked once more of what there is now. */
export async function ensureUser(...[parts, ...rest]: Parameters<typeof ensureOnce>): Promise<EnsuredUser> {
  const before = parts.memory.recalls();
  try {
    return await ensureOnce(parts, ...rest);
  } catch (error) {
    if (!mayBeOfMemory(error) || parts.memory.recalls() === before) throw error;
    parts.memory.forget();
    return ensureOnce(parts, ...rest);
  }
}

/** A group or role that was made again under its name, a setting or a grant that was changed. */
function mayBeOfMemory(error: unknown): boolean {
  if (!isSagaError(error)) return false;
  if (error.code === NOT_FOUND) return true;
  return error.class === "terminal" && (error.code === REASON.NotAllowed || error.code === REASON.RequestRefused);
}

async function ensureOnce(
  parts: Parts,
  ask: Ask,
  user: DesiredUser,
  hint: string | undefined,
  adoption: Adoption & Telling & Past,
): Promise<EnsuredUser> {
  const profile = await parts.facts.profile(ask);
  const attributes = permittedAttributes(parts.realm, profile, user);
  const groups = await wantedGroups(ask, parts.groups, user);
  const roles = await wantedRoles(ask, parts.roles, user);

  const { ours, stray } = await whoIsThere(parts, ask, user, hint, adoption);
  const found: Found =
    ours === undefined
      ? await createOrClaim(parts, ask, { user, attributes, groups, adoption, profile, stray })
      : { user: ours, how: "found" };
  const { how } = found;
  const byMarksAlone = how === "found" && (hint === undefined || hint === "");
  if (byMarksAlone) refuseUnbound(found.user, user);
  const adopted =
    how === "adopted" ||
    (how === "found" && (user.adopted === true || (carriesAdoptedMark(found.user) && adoptedMarkHolds(profile))));
  if (adopted && user.reset === true) {
    // Nothing of it is ours to reset, so whoever had it would keep it.
    throw claimed(user.email, `it (${found.user.id}) was adopted for the person before; take spec.userUUID out`);
  }
  // Under another address it is somebody's of whom only the uuid is said to be the same.
  const succeeded = byMarksAlone && !adopted && !sameAddress(found.user.email, user.email);
  const resets = how === "found" && !adopted && (user.reset === true || succeeded);
  if (resets) await refuseAdmin(ask, parts.facts, found.user.id);
  if (succeeded && user.reset !== true) await adoption.succeeding?.();
  const kept = async (): Promise<Kept> => ({
    groups: groups.map(({ id }) => id),
    realmRoles: roles.map(({ name }) => name),
    settings: await parts.facts.settings(ask),
  });
  const current = resets ? await resetAccess(ask, found.user, user, await kept()) : found.user;
  if (resets) adoption.wrote?.("reset", current.id);

  const rules = {
    adopted,
    // Only asked where it matters; most users are as they should be.
    mayRename: current.username === usernameOf(user) || renames(await parts.facts.settings(ask)),
    attributes,
  };
  const correction = correct(current, user, rules);
  let after: Correction | undefined;
  const membership = await groupPlan(ask, parts.groups, user, { current, groups, adopted, created: how === "created" });
  const mapping = await rolePlan(parts.facts, ask, user, { current, roles, adopted });

  const changes = correction.update !== undefined || !isEmpty(membership.plan) || !isEmpty(mapping.plan);
  if (changes) {
    if (how !== "created") await refuseAdmin(ask, parts.facts, current.id);
    for (const group of membership.joining) await refuseAdminGroup(ask, parts.groups, group);
    for (const role of mapping.adding) await refuseAdminRole(ask, parts.roles, role);
    const { wrote } = adoption;
    // A user who was just made is told of as that, and one correction as one, whatever it took.
    let tell = how === "created" ? undefined : () => wrote?.(how === "adopted" ? "adopted" : "updated", current.id);
    const did = (): void => {
      tell?.();
      tell = undefined;
    };
    if (correction.update !== undefined) {
      await put(parts, ask, { user, current, update: correction.update });
      did();
      after = await asKept(parts, ask, user, current.id, rules);
    }
    await move(ask, current.id, membership);
    if (!isEmpty(membership.plan)) did();
    await remap(ask, current.id, mapping);
    did();
  }
  return {
    userID: current.id,
    created: how === "created",
    adopted,
    changed: changes || how !== "found",
    managed: {
      groups: membership.plan.managed,
      realmRoles: mapping.plan.managed,
      attributes: given(user, attributes),
    },
    ...(succeeded ? { succeeded } : {}),
    usernameKept: (after ?? correction).usernameKept,
    lockedOut: (after ?? correction).lockedOut,
  };
}

/**
 * Reads what Keycloak made of a write, and writes once more what it did not take: somebody may have written at the same
 * time. What it does not keep then would be written for ever, so a person must be told.
 */
async function asKept(parts: Parts, ask: Ask, user: DesiredUser, id: string, rules: Rules): Promise<Correction> {
  for (let attempt = 1; ; attempt += 1) {
    const kept = await byID(ask, id);
    if (kept === undefined) throw vanished();
    const correction = correct(kept, user, rules);
    if (correction.update === undefined) return correction;
    if (attempt === 2) throw notKept(parts.realm, kept, correction.update);
    await put(parts, ask, { user, current: kept, update: correction.update });
  }
}

function notKept(realm: string, kept: User, { attributes, ...fields }: UserUpdate): TerminalError {
  const had = kept.attributes ?? {};
  const names = [
    ...(["username", "email", ...USER_FIELDS] as const).filter((name) => fields[name] !== kept[name]),
    ...(fields.enabled === undefined ? [] : ["enabled"]),
    ...Object.keys({ ...attributes, ...had }).filter(
      (name) => !sameAttributes({ [name]: attributes[name] ?? [] }, { [name]: had[name] ?? [] }),
    ),
  ];
  return terminal(
    REASON.RequestRefused,
    `Keycloak accepts ${names.join(", ")} and keeps something else (realm ${realm}); take it out of the spec, ` +
      `or let the realm's user profile keep it.`,
  );
}

const NOBODY: Located = { ours: undefined, stray: undefined };

async function whoIsThere(
  { newUsers }: Parts,
  ask: Ask,
  { tenantID, uuid }: DesiredUser,
  hint: string | undefined,
  { newIn: session }: Past,
): Promise<Located> {
  const isNew = session !== undefined && (hint === undefined || hint === "");
  if (isNew && (await newUsers.areNowhere(ask, { tenantID, uuid, session }))) return NOBODY;
  return locate(ask, tenantID, uuid, hint);
}

/** Without a recorded id there are only the marks to go by, and they may have been written by whom they stand on. */
function refuseUnbound(found: User, user: DesiredUser): void {
  if (answersTo(found, user)) return;
  const wrongAddress = !hasAddress(found, user);
  throw new MarkedUser(
    {
      code: REASON.UserClaimed,
      upstream: "keycloak",
      message:
        `Keycloak user ${found.id} carries the marks of ${user.uuid}, but ${wrongAddress ? "has another address" : "its email is not verified"}; ` +
        `it was left alone. Take ${MARK_TENANT_ID} and ${MARK_USER_UUID} off it, or, if it is this person, give it the address ${user.email}, verified.`,
    },
    wrongAddress,
  );
}

/** Nothing is done in a realm that would lose our marks or let people forge them: the saga waits for the Tenant. */
function permittedAttributes(realm: string, profile: Profile, user: DesiredUser): Attributes {
  const problem = marksProblem(profile, realm);
  if (problem !== undefined) throw notReady(problem.message);
  const own = ownAttributes(user, (name) => attributePolicyOf(profile, name) !== "dropped");
  const dropped = Object.keys(own).find((name) => attributePolicyOf(profile, name) === "dropped");
  if (dropped !== undefined) {
    throw waiting(
      REASON.AttributesDropped,
      `The user profile of realm ${realm} drops the attribute ${dropped}; declare it there with edit permission for admin, or take it out of spec.attributes.`,
    );
  }
  return own;
}

async function put(
  parts: Parts,
  ask: Ask,
  { user, current, update }: { user: DesiredUser; current: User; update: UserUpdate },
): Promise<void> {
  const { id } = current;
  try {
    if (!sameAddress(current.email, update.email ?? "") && (await isDoubled(parts, ask, user.email, id))) {
      throw new ConflictError({ code: REASON.Conflict, upstream: "keycloak", message: "The address is taken." });
    }
    await ask("updating a user", emptyAnswer, (client) => client.users.update({ id }, update));
  } catch (error) {
    if (!isTaken(error)) throw error;
    // The address it should have is taken; the one that somebody wrote into it is kept from nobody.
    if (!sameAddress(current.email, user.email)) await vacate(ask, current);
    const others = (await inTheWay(ask, user)).filter((each) => each.id !== id);
    const judged = judgeClaim(user, others);
    if (judged.kind === "colleague") throw await emailInUse(parts, ask, user.email, judged.user);
    throw judged.kind === "foreign" ? foreign(user.email, judged) : claimed(user.email, "it is somebody else's");
  }
}
