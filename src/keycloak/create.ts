/** A user who is not there yet: created, or, where somebody is in the way, judged and perhaps adopted. */
import { REASON } from "../api/reasons.ts";
import { type ConflictError, isSagaError } from "../lib/errors.ts";
import { adoptionObstacle, judgeClaim } from "./adopt.ts";
import { claimed, emailInUse, foreign, isDoubled, isTaken, notReady, vanished } from "./addressConflicts.ts";
import { refuseAdminGroup } from "./grants.ts";
import type { Group } from "./groups.ts";
import { byID, inTheWay } from "./locate.ts";
import { MARK_TENANT_ID, MARK_USER_UUID } from "../api/meta.ts";
import { ADOPTED_MARK, isOurs } from "./marks.ts";
import { namedAtCreation } from "./memberships.ts";
import { type Attributes, keptName, markAttributes } from "./merge.ts";
import type { Parts } from "./parts.ts";
import { adoptedMarkHolds, fixOf } from "./profile.ts";
import { userFields } from "./profileFields.ts";
import type { Adoption, DesiredUser, Telling } from "./realm.ts";
import { createdAnswer, emptyAnswer, type Profile, type User } from "./representations.ts";
import type { Ask } from "./session.ts";
import { adoptionFactsOf } from "./adoptionFacts.ts";
import { usernameOf } from "./username.ts";
import { unavailable, waiting } from "./failures.ts";

export interface Found {
  readonly user: User;
  readonly how: "found" | "created" | "adopted";
}

export interface NewUser {
  readonly user: DesiredUser;
  readonly attributes: Attributes;
  readonly groups: readonly Group[];
  readonly adoption: Adoption & Telling;
  readonly profile: Profile;
  readonly stray: User | undefined;
}

export async function createOrClaim(parts: Parts, ask: Ask, newUser: NewUser): Promise<Found> {
  for (const group of newUser.groups) await refuseAdminGroup(ask, parts.groups, group);
  if (await isDoubled(parts, ask, newUser.user.email)) return claim(parts, ask, newUser, undefined);
  try {
    return { user: await create(parts, ask, newUser), how: "created" };
  } catch (error) {
    if (!isTaken(error)) throw error;
    return claim(parts, ask, newUser, error);
  }
}

async function create(parts: Parts, ask: Ask, { user, attributes, groups, adoption }: NewUser): Promise<User> {
  const made = await ask("creating a user", createdAnswer, (client) =>
    client.users.create({
      username: usernameOf(user),
      email: user.email,
      emailVerified: user.vouched !== false,
      enabled: user.enabled,
      ...userFields((field) => keptName(user[field])),
      attributes: { ...attributes, ...markAttributes(user) },
      groups: namedAtCreation(groups).map(({ path }) => path),
      ...(user.requiredActions === undefined ? {} : { requiredActions: [...user.requiredActions] }),
    }),
  ).catch((error: unknown) => {
    // An unknown group in the body is a bare 500: look at the groups again before the next try.
    if (isSagaError(error) && error.upstreamStatus === 500) parts.memory.forget();
    throw error;
  });
  adoption.wrote?.("created", made.id);
  // 201 does not mean that the marks were kept, and a user without them could never be found again. This read (about
  // a tenth of a create) is made every time: the profile may have changed since it was last looked at.
  const kept = await byID(ask, made.id);
  if (kept === undefined) throw vanished();
  if (isOurs(kept, user.tenantID, user.uuid)) return kept;
  parts.memory.forget();
  await ask("deleting the user just created", emptyAnswer, (client) => client.users.del({ id: made.id }));
  adoption.wrote?.("deleted", made.id);
  throw waiting(
    REASON.AttributesDropped,
    `Realm ${parts.realm} dropped the marks of the user just created, so it was removed again; let its user profile keep them (unmanagedAttributePolicy ADMIN_EDIT).`,
  );
}

async function claim(parts: Parts, ask: Ask, newUser: NewUser, conflict: ConflictError | undefined): Promise<Found> {
  const { user, adoption, profile, stray } = newUser;
  const judged = judgeClaim(user, await inTheWay(ask, user));
  switch (judged.kind) {
    case "ours":
      return { user: judged.user, how: "found" };
    case "nobody":
      throw unavailable("keycloak said that the user exists, but shows none; it is looked for again.", {
        upstreamStatus: 409,
        cause: conflict,
      });
    case "colleague":
      throw await emailInUse(parts, ask, user.email, judged.user);
    case "foreign":
      throw foreign(user.email, judged);
    case "unmarked":
      break;
    default:
      return judged satisfies never;
  }
  if (stray?.id === judged.user.id) {
    throw claimed(
      user.email,
      `it is the one we made (${stray.id}), but somebody removed its attributes; set them again: ${MARK_TENANT_ID}=${user.tenantID}, ${MARK_USER_UUID}=${user.uuid}`,
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
      `Adoption needs the attribute ${ADOPTED_MARK}, which realm ${parts.realm} must keep and let only administrators write; ${fixOf(profile, parts.realm, [ADOPTED_MARK])}.`,
    );
  }
  const obstacle = adoptionObstacle(await adoptionFactsOf(parts.facts, ask, candidate), {
    email: user.email,
    allowedGroupIDs: await parts.groups.ids(ask, [...input.allowedGroups, ...user.defaultGroups]),
    defaultRole: (await parts.facts.settings(ask)).defaultRole?.name,
  });
  if (obstacle !== undefined) throw claimed(user.email, obstacle);
  return { user: candidate, how: "adopted" };
}
