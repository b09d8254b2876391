/** What happens to users beside ensuring them. Whatever takes something away verifies both marks right before. */
import { isUUID } from "../api/names.ts";
import { REASON } from "../api/reasons.ts";
import { TerminalError } from "../lib/errors.ts";
import type { Parts } from "./ensure.ts";
import { refuseAdmin } from "./grants.ts";
import { groupPath } from "./groups.ts";
import { byEmail, locate } from "./locate.ts";
import { ADOPTED_MARK, carriesAdoptedMark, marksOf, TENANT_MARK, UUID_MARK } from "./marks.ts";
import { groupsOf, realmRolesOf, takeRoles } from "./memberships.ts";
import { adoptedMarkHolds } from "./profile.ts";
import type { ManagedSet } from "./realm.ts";
import { emptyAnswer, type User } from "./representations.ts";
import { type Ask, orMissing } from "./session.ts";

export interface Person {
  readonly uuid: string;
  readonly tenantID: string;
  /** Upstream id as recorded; a hint. Unknown where a cut came between create and record: then the marks find it. */
  readonly userID: string | undefined;
}

export async function uuidByEmail(ask: Ask, email: string, tenantID: string): Promise<string | undefined> {
  for (const user of await byEmail(ask, email)) {
    const marks = marksOf(user);
    if (user.email?.toLowerCase() === email && marks.tenantID === tenantID && marks.uuid !== undefined) {
      return isUUID(marks.uuid) ? marks.uuid : undefined;
    }
  }
  return undefined;
}

export async function findUser(ask: Ask, uuid: string, tenantID: string): Promise<string | undefined> {
  return (await locate(ask, tenantID, uuid, undefined)).ours?.id;
}

/** Of an adopted account nothing is switched: it was somebody's before us. */
export async function setEnabled(parts: Parts, ask: Ask, person: Person, enabled: boolean): Promise<boolean> {
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

export async function deleteUser(parts: Parts, ask: Ask, person: Person): Promise<void> {
  const { ours, stray } = await locate(ask, person.tenantID, person.uuid, person.userID);
  if (ours === undefined) {
    if (stray !== undefined) refuseUnmarked(stray);
    return;
  }
  // Adopted, and the row does not know it (a cut before the record): its account stays.
  if (await isAdopted(parts, ask, ours)) return release(ask, ours, NOTHING);
  await refuseAdmin(ask, parts.facts, ours.id);
  const { id } = ours;
  await orMissing(ask("deleting a user", emptyAnswer, (client) => client.users.del({ id })));
}

export async function releaseUser(ask: Ask, person: Person, managed: ManagedSet): Promise<void> {
  const { ours } = await locate(ask, person.tenantID, person.uuid, person.userID);
  if (ours !== undefined) await release(ask, ours, managed);
}

/** Marks last: until they are gone a cut release is found again and finished. */
async function release(ask: Ask, user: User, managed: ManagedSet): Promise<void> {
  const { id } = user;
  const memberOf = await groupsOf(ask, id);
  for (const path of managed.groups) {
    const groupId = memberOf.get(groupPath(path));
    if (groupId === undefined) continue;
    await orMissing(
      ask("taking a user out of a group", emptyAnswer, (client) => client.users.delFromGroup({ id, groupId })),
    );
  }
  if (managed.realmRoles.length > 0) {
    const held = (await realmRolesOf(ask, id)).filter(({ name }) => managed.realmRoles.includes(name));
    if (held.length > 0) await takeRoles(ask, id, held);
  }
  const taken = new Set([TENANT_MARK, UUID_MARK, ADOPTED_MARK, ...managed.attributes]);
  const attributes = Object.fromEntries(Object.entries(user.attributes ?? {}).filter(([name]) => !taken.has(name)));
  const { username, email, emailVerified, enabled, firstName, lastName } = user;
  await orMissing(
    ask("releasing a user", emptyAnswer, (client) =>
      client.users.update({ id }, { username, email, emailVerified, enabled, firstName, lastName, attributes }),
    ),
  );
}

export async function invite(ask: Ask, userID: string, actions: readonly string[]): Promise<void> {
  await ask("sending the invitation", emptyAnswer, (client) =>
    client.users.executeActionsEmail({ id: userID, actions: [...actions] }),
  );
}

async function isAdopted(parts: Parts, ask: Ask, user: User): Promise<boolean> {
  return carriesAdoptedMark(user) && adoptedMarkHolds(await parts.facts.profile(ask));
}

/** The recorded account lives on without our marks: silence would leave it alive and call it deleted. */
function refuseUnmarked(stray: User): void {
  const marks = marksOf(stray);
  if (marks.tenantID !== undefined && marks.uuid !== undefined) return;
  throw new TerminalError({
    code: REASON.UserClaimed,
    neighbour: "keycloak",
    message: `Keycloak user ${stray.id} has lost its marks and is left alone; delete it by hand, or set ${TENANT_MARK} and ${UUID_MARK} on it again.`,
  });
}
