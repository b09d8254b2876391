/** Ensure: find ours, create what is missing, correct what differs, touch nothing else. */
import { REASON } from "../api/reasons.ts";
import { ConflictError, isSagaError, TerminalError, TransientError, WaitingError } from "../lib/errors.ts";
import { adoptionObstacle, answersTo, hasAddress, judgeClaim } from "./adopt.ts";
import { NOT_FOUND } from "./classify.ts";
import type { Facts } from "./facts.ts";
import { refuseAdmin, refuseAdminGroup, refuseAdminRole, wantedGroups, wantedRoles } from "./grants.ts";
import { type Group, groupPath, type Groups } from "./groups.ts";
import { byID, inTheWay, locate, type Located } from "./locate.ts";
import { ADOPTED_MARK, carriesAdoptedMark, isOurs, TENANT_MARK, UUID_MARK } from "./marks.ts";
import { groupPlan, isEmpty, move, remap, rolePlan } from "./memberships.ts";
import { type Attributes, correct, DISPLAY_NAME, markAttributes, ownAttributes, type UserUpdate } from "./merge.ts";
import type { Newcomers } from "./newcomers.ts";
import { adoptedMarkHolds, fateOf, marksProblem } from "./profile.ts";
import { type Adoption, type DesiredUser, type EnsuredUser, MarkedStranger, type Past, type Telling } from "./realm.ts";
import { createdAnswer, emptyAnswer, type Profile, type User } from "./representations.ts";
import type { Roles } from "./roles.ts";
import type { Ask } from "./session.ts";
import { standingOf } from "./standing.ts";

export interface Parts {
  readonly realm: string;
  readonly facts: Facts;
  readonly groups: Groups;
  readonly roles: Roles;
  readonly newcomers: Newcomers;
}

interface Found {
  readonly user: User;
  readonly how: "found" | "created" | "adopted";
}

export async function ensureUser(
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
  if (ours !== undefined && (hint === undefined || hint === "")) refuseStranger(ours, user);
  const { user: current, how }: Found =
    ours === undefined
      ? await createOrClaim(parts, ask, { user, attributes, groups, adoption, profile, stray })
      : { user: ours, how: "found" };
  const adopted =
    how === "adopted" ||
    (how === "found" && (user.adopted === true || (carriesAdoptedMark(current) && adoptedMarkHolds(profile))));

  const correction = correct(current, user, {
    adopted,
    // Only asked where it matters; most users are as they should be.
    mayRename: current.username === user.email || ((await parts.facts.settings(ask)).editUsernameAllowed ?? false),
    attributes,
  });
  const membership = await groupPlan(ask, user, { current, groups, adopted, created: how === "created" });
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
      await put(parts, ask, user, current.id, correction.update);
      did();
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
      attributes: Object.keys(attributes).toSorted(),
    },
    usernameKept: correction.usernameKept,
  };
}

const NOBODY: Located = { ours: undefined, stray: undefined };

async function whoIsThere(
  { newcomers }: Parts,
  ask: Ask,
  { tenantID, uuid }: DesiredUser,
  hint: string | undefined,
  { newIn: session }: Past,
): Promise<Located> {
  const isNew = session !== undefined && (hint === undefined || hint === "");
  if (isNew && (await newcomers.areNowhere(ask, { tenantID, uuid, session }))) return NOBODY;
  return locate(ask, tenantID, uuid, hint);
}

/** Without a recorded id there are only the marks to go by, and they may have been written by whom they stand on. */
function refuseStranger(found: User, user: DesiredUser): void {
  if (answersTo(found, user)) return;
  const wrongAddress = !hasAddress(found, user);
  throw new MarkedStranger(
    {
      code: REASON.UserClaimed,
      neighbour: "keycloak",
      message:
        `Keycloak user ${found.id} carries the marks of ${user.uuid}, but ${wrongAddress ? "has another address" : "its email is not verified"}; ` +
        `it was left alone. Take ${TENANT_MARK} and ${UUID_MARK} off it, or, if it is this person, give it the address ${user.email}, verified.`,
    },
    wrongAddress,
  );
}

/** Nothing is done in a realm that would lose our marks or let people forge them: the saga waits for the Tenant. */
function permittedAttributes(realm: string, profile: Profile, user: DesiredUser): Attributes {
  const problem = marksProblem(profile, realm);
  if (problem !== undefined) throw notReady(problem.message);
  const dropped = Object.keys(user.attributes ?? {}).find((name) => fateOf(profile, name) === "dropped");
  if (dropped !== undefined) {
    throw new WaitingError({
      code: REASON.AttributesDropped,
      neighbour: "keycloak",
      message: `The user profile of realm ${realm} drops the attribute ${dropped}; declare it there with edit permission for admin, or take it out of spec.attributes.`,
    });
  }
  return ownAttributes(user, fateOf(profile, DISPLAY_NAME) !== "dropped");
}

interface Newcomer {
  readonly user: DesiredUser;
  readonly attributes: Attributes;
  readonly groups: readonly Group[];
  readonly adoption: Adoption & Telling;
  readonly profile: Profile;
  readonly stray: User | undefined;
}

async function createOrClaim(parts: Parts, ask: Ask, newcomer: Newcomer): Promise<Found> {
  for (const group of newcomer.groups) await refuseAdminGroup(ask, parts.groups, group);
  try {
    return { user: await create(parts, ask, newcomer), how: "created" };
  } catch (error) {
    if (!isTaken(error)) throw error;
    return claim(parts, ask, newcomer, error);
  }
}

async function create(parts: Parts, ask: Ask, { user, attributes, groups, adoption }: Newcomer): Promise<User> {
  const made = await ask("creating a user", createdAnswer, (client) =>
    client.users.create({
      username: user.email,
      email: user.email,
      emailVerified: true,
      enabled: user.enabled,
      ...(user.firstName === undefined ? {} : { firstName: user.firstName }),
      ...(user.lastName === undefined ? {} : { lastName: user.lastName }),
      attributes: { ...attributes, ...markAttributes(user) },
      groups: groups.map(({ path }) => path),
      ...(user.requiredActions === undefined ? {} : { requiredActions: [...user.requiredActions] }),
    }),
  ).catch((error: unknown) => {
    // An unknown group in the body is a bare 500: look at the groups again before the next try.
    if (isSagaError(error) && error.upstreamStatus === 500) parts.groups.forget();
    throw error;
  });
  adoption.wrote?.("created", made.id);
  // 201 does not mean that the marks were kept, and a user without them could never be found again. This read (about
  // a tenth of a create) is made every time: the profile may have changed since it was last looked at.
  const kept = await byID(ask, made.id);
  if (kept === undefined) throw vanished();
  if (isOurs(kept, user.tenantID, user.uuid)) return kept;
  parts.facts.forget();
  await ask("deleting the user just created", emptyAnswer, (client) => client.users.del({ id: made.id }));
  adoption.wrote?.("deleted", made.id);
  throw new WaitingError({
    code: REASON.AttributesDropped,
    neighbour: "keycloak",
    message: `Realm ${parts.realm} dropped the marks of the user just created, so it was removed again; let its user profile keep them (unmanagedAttributePolicy ADMIN_EDIT).`,
  });
}

async function claim(parts: Parts, ask: Ask, newcomer: Newcomer, conflict: ConflictError): Promise<Found> {
  const { user, adoption, profile, stray } = newcomer;
  const judged = judgeClaim(user, await inTheWay(ask, user));
  switch (judged.kind) {
    case "ours":
      return { user: judged.user, how: "found" };
    case "nobody":
      throw new TransientError({
        code: REASON.NeighbourUnavailable,
        neighbour: "keycloak",
        upstreamStatus: 409,
        message: "keycloak said that the user exists, but shows none; it is looked for again.",
        cause: conflict,
      });
    case "colleague":
      throw await emailInUse(parts, ask, user.email, judged.user);
    case "foreign":
      throw claimed(user.email, judged.why);
    case "unmarked":
      break;
  }
  if (stray?.id === judged.user.id) {
    throw claimed(
      user.email,
      `it is the one we made (${stray.id}), but somebody removed its attributes; set them again: ${TENANT_MARK}=${user.tenantID}, ${UUID_MARK}=${user.uuid}`,
    );
  }
  if (adoption.policy === "Never") throw claimed(user.email, "it carries no marks, and the Tenant's adoption is Never");
  return adopt(parts, ask, { user, candidate: judged.user, allowedGroups: adoption.allowedGroups, profile });
}

async function adopt(
  parts: Parts,
  ask: Ask,
  input: { user: DesiredUser; candidate: User; allowedGroups: readonly string[]; profile: Profile },
): Promise<Found> {
  const { candidate, user, profile } = input;
  if (!adoptedMarkHolds(profile)) {
    throw notReady(
      `Adoption needs the attribute ${ADOPTED_MARK}; declare it in the user profile of realm ${parts.realm} with edit permission for admin only, or set unmanagedAttributePolicy ADMIN_EDIT.`,
    );
  }
  const obstacle = adoptionObstacle(await standingOf(parts.facts, ask, candidate), {
    email: user.email,
    allowedGroups: [...input.allowedGroups, ...user.defaultGroups].map(groupPath),
    defaultRole: (await parts.facts.settings(ask)).defaultRole?.name,
  });
  if (obstacle !== undefined) throw claimed(user.email, obstacle);
  return { user: candidate, how: "adopted" };
}

async function put(parts: Parts, ask: Ask, user: DesiredUser, id: string, update: UserUpdate): Promise<void> {
  try {
    await ask("updating a user", emptyAnswer, (client) => client.users.update({ id }, update));
  } catch (error) {
    if (!isTaken(error)) throw error;
    const others = (await inTheWay(ask, user)).filter((each) => each.id !== id);
    const judged = judgeClaim(user, others);
    if (judged.kind === "colleague") throw await emailInUse(parts, ask, user.email, judged.user);
    throw claimed(user.email, judged.kind === "foreign" ? judged.why : "it is somebody else's");
  }
}

/** A 409: somebody else has what this one asks for. */
function isTaken(error: unknown): error is ConflictError {
  return error instanceof ConflictError && error.code !== NOT_FOUND;
}

function notReady(message: string): WaitingError {
  return new WaitingError({ code: REASON.TenantNotReady, neighbour: "keycloak", message });
}

/**
 * The colleague's own saga may be about to give the address up, so this waits and is never an end. Where the realm keeps
 * user names, one that was an address once stands in everybody's way (seen: a 409 for the email of another user): then
 * only a person can help, and is told how.
 */
async function emailInUse(parts: Parts, ask: Ask, email: string, colleague: User): Promise<WaitingError> {
  const onlyByName = colleague.email?.toLowerCase() !== email;
  const kept = onlyByName && (await parts.facts.settings(ask)).editUsernameAllowed !== true;
  return new WaitingError({
    code: REASON.EmailInUse,
    neighbour: "keycloak",
    upstreamStatus: 409,
    message: kept
      ? `${email} is still the user name of another Keycloak user of this tenant (${colleague.id}), and realm ${parts.realm} keeps user names; switch on "Edit username" there (editUsernameAllowed).`
      : `Another Keycloak user of this tenant still has ${email}; this one waits until it is free.`,
  });
}

function claimed(email: string, why: string): TerminalError {
  return new TerminalError({
    code: REASON.UserClaimed,
    neighbour: "keycloak",
    upstreamStatus: 409,
    message: `A Keycloak user with ${email} exists already and is left alone: ${why}.`,
  });
}

function vanished(): TransientError {
  return new TransientError({
    code: REASON.NeighbourUnavailable,
    neighbour: "keycloak",
    upstreamStatus: 404,
    message: "keycloak lost the user just created while it was being worked on; it is looked for again.",
  });
}
