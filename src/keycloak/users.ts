/** What happens to users beside ensuring them. Whatever takes something away verifies both marks right before. */
import { isUUID } from "../api/names.ts";
import { REASON } from "../api/reasons.ts";
import { isSagaError } from "../lib/errors.ts";
import { demandID } from "../lib/ids.ts";
import type { Parts } from "./parts.ts";
import { refuseAdmin } from "./grants.ts";
import { byEmail, locate } from "./locate.ts";
import { sameAddress } from "./merge.ts";
import { MARK_TENANT_ID, MARK_USER_UUID } from "../api/meta.ts";
import { ADOPTED_MARK, carriesAdoptedMark, marksOf } from "./marks.ts";
import { groupsOf, leaveGroup, realmRolesOf, takeRoles } from "./memberships.ts";
import { adoptedMarkHolds } from "./profile.ts";
import { userFields } from "./profileFields.ts";
import { type AddressHolder, type ManagedSet, NotAsked, type OwnAddress } from "./realm.ts";
import { putAddress, vacate } from "./vacate.ts";
import { emptyAnswer, type User } from "./representations.ts";
import { type Ask, orMissing } from "./session.ts";
import { terminal } from "./failures.ts";

export interface MarkedUser {
  readonly uuid: string;
  readonly tenantID: string;
  /** Upstream id as recorded; a hint. Unknown where a cut came between create and record: then the marks find it. */
  readonly userID: string | undefined;
}

/** Anybody can write an address into an account of their own: only a verified one, of somebody who may log in, says who it is. */
export async function uuidByEmail(ask: Ask, email: string, tenantID: string): Promise<string | undefined> {
  const marked = (await byEmail(ask, email)).filter((user) => {
    const marks = marksOf(user);
    return sameAddress(user.email, email) && marks.tenantID === tenantID && marks.uuid !== undefined;
  });
  const [user] = marked;
  if (user === undefined || marked.length > 1 || user.emailVerified !== true || user.enabled !== true) return undefined;
  const { uuid } = marksOf(user);
  return uuid !== undefined && isUUID(uuid) ? uuid : undefined;
}

export async function restoreEmail(
  parts: Parts,
  ask: Ask,
  holder: AddressHolder,
  { email, vouched }: OwnAddress,
): Promise<boolean> {
  const { ours } = await locate(ask, holder.tenantID, holder.uuid, holder.userID);
  if (ours === undefined) return false;
  const adopted = await isAdopted(parts, ask, ours);
  if (adopted && (sameAddress(ours.email, email) || ours.emailVerified === true)) return false;
  const mayRename = !adopted && ((await parts.facts.settings(ask)).editUsernameAllowed ?? false);
  const username = mayRename ? email : ours.username;
  if (sameAddress(ours.email, email) && sameAddress(ours.username, username)) return false;
  await refuseAdmin(ask, parts.facts, ours.id);
  const stays = sameAddress(ours.email, email) && ours.emailVerified === true;
  await putAddress(ask, ours, { username, email, emailVerified: vouched || stays });
  return true;
}

export async function takeAddress(parts: Parts, ask: Ask, holder: AddressHolder, email: string): Promise<boolean> {
  const { ours } = await locate(ask, holder.tenantID, holder.uuid, holder.userID);
  if (ours?.id !== holder.userID || !sameAddress(ours.email, email) || ours.emailVerified === true) return false;
  await refuseAdmin(ask, parts.facts, ours.id);
  return vacate(ask, ours);
}

export async function findUser(ask: Ask, uuid: string, tenantID: string): Promise<string | undefined> {
  return (await locate(ask, tenantID, uuid, undefined)).ours?.id;
}

/** Of an adopted account nothing is switched: it was somebody's before us. */
export async function setEnabled(parts: Parts, ask: Ask, person: MarkedUser, enabled: boolean): Promise<boolean> {
  const { ours } = await locate(ask, person.tenantID, person.uuid, person.userID);
  if (ours === undefined) return false;
  if (ours.enabled === enabled || (await isAdopted(parts, ask, ours))) return true;
  await refuseAdmin(ask, parts.facts, ours.id);
  const { id } = ours;
  const done = await orMissing(
    ask(enabled ? "enabling a user" : "disabling a user", emptyAnswer, (client) =>
      client.users.update({ id }, { enabled }),
    ).then(() => true),
  );
  return done ?? false;
}

const NOTHING: ManagedSet = { groups: [], realmRoles: [], attributes: [] };

export async function deleteUser(parts: Parts, ask: Ask, person: MarkedUser): Promise<void> {
  const { ours, stray } = await locate(ask, person.tenantID, person.uuid, person.userID);
  if (ours === undefined) {
    if (stray !== undefined) refuseUnmarked(stray);
    return;
  }
  // Adopted, and the row does not know it (a cut before the record): its account stays.
  if (await isAdopted(parts, ask, ours)) return release(parts, ask, ours, NOTHING);
  await refuseAdmin(ask, parts.facts, ours.id);
  const { id } = ours;
  await orMissing(ask("deleting a user", emptyAnswer, (client) => client.users.del({ id })));
}

export async function releaseUser(parts: Parts, ask: Ask, person: MarkedUser, managed: ManagedSet): Promise<void> {
  const { ours } = await locate(ask, person.tenantID, person.uuid, person.userID);
  if (ours !== undefined) await release(parts, ask, ours, managed);
}

/** Marks last: until they are gone a cut release is found again and finished. */
async function release(parts: Parts, ask: Ask, user: User, managed: ManagedSet): Promise<void> {
  const { id } = user;
  const memberOf = await groupsOf(ask, id);
  for (const groupId of await parts.groups.ids(ask, managed.groups)) {
    if (!memberOf.has(groupId)) continue;
    await orMissing(leaveGroup(ask, id, groupId));
  }
  if (managed.realmRoles.length > 0) {
    const held = (await realmRolesOf(ask, id)).filter(({ name }) => managed.realmRoles.includes(name));
    if (held.length > 0) await takeRoles(ask, id, held);
  }
  const taken = new Set([MARK_TENANT_ID, MARK_USER_UUID, ADOPTED_MARK, ...managed.attributes]);
  const attributes = Object.fromEntries(Object.entries(user.attributes ?? {}).filter(([name]) => !taken.has(name)));
  // Without `enabled`: to say that somebody is enabled lifts a lockout by Keycloak.
  const kept = { username: user.username, email: user.email, emailVerified: user.emailVerified };
  await orMissing(
    ask("releasing a user", emptyAnswer, (client) =>
      client.users.update({ id }, { ...kept, ...userFields((field) => user[field]), attributes }),
    ),
  );
}

export async function invite(ask: Ask, userID: string, actions: readonly string[]): Promise<void> {
  let asked = false;
  try {
    await ask("sending the invitation", emptyAnswer, (client) => {
      asked = true;
      return client.users.executeActionsEmail({ id: demandID(userID), actions: [...actions] });
    });
  } catch (error) {
    throw asked || !isSagaError(error) ? error : new NotAsked(error);
  }
}

async function isAdopted(parts: Parts, ask: Ask, user: User): Promise<boolean> {
  return carriesAdoptedMark(user) && adoptedMarkHolds(await parts.facts.profile(ask));
}

/** The recorded account lives on without our marks: silence would leave it alive and call it deleted. */
function refuseUnmarked(stray: User): void {
  const marks = marksOf(stray);
  if (marks.tenantID !== undefined && marks.uuid !== undefined) return;
  throw terminal(
    REASON.UserClaimed,
    `Keycloak user ${stray.id} has lost its marks and is left alone; delete it by hand, or set ${MARK_TENANT_ID} and ${MARK_USER_UUID} on it again.`,
  );
}
