/** Who of a tenant's users is no longer as we made them: read in pages per realm, never user by user. */
import { carriesAdoptedMark, marksOf, TENANT_MARK } from "./marks.ts";
import { correct, DISPLAY_NAME, ownAttributes } from "./merge.ts";
import type { Parts } from "./ensure.ts";
import { groupPath } from "./groups.ts";
import { adoptedMarkHolds, fateOf, marksProblem } from "./profile.ts";
import type { DesiredUser } from "./realm.ts";
import { type Profile, type User, usersAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";

const PAGE = 200;

/** The uuids of those who differ; a user that is not there differs too. All must be of one tenant. */
export async function drifted(parts: Parts, ask: Ask, wanted: readonly DesiredUser[]): Promise<string[]> {
  const tenantID = wanted[0]?.tenantID;
  if (tenantID === undefined) return [];
  const profile = await parts.facts.profile(ask);
  // A realm that loses marks is the Tenant check's to say; nobody is mended there.
  if (marksProblem(profile, parts.realm) !== undefined) return [];
  const found = await usersOf(ask, tenantID);
  const mayRename = (await parts.facts.settings(ask)).editUsernameAllowed ?? false;
  const memberships = await membersOf(parts, ask, wanted);
  return wanted
    .filter((user) => {
      const current = found.get(user.uuid);
      if (current?.length !== 1 || current[0] === undefined) return true;
      return differs(current[0], user, profile, mayRename) || memberships.lacks(current[0].id, user);
    })
    .map(({ uuid }) => uuid);
}

function differs(current: User, user: DesiredUser, profile: Profile, mayRename: boolean): boolean {
  const adopted = user.adopted === true || (carriesAdoptedMark(current) && adoptedMarkHolds(profile));
  const attributes = ownAttributes(user, fateOf(profile, DISPLAY_NAME) !== "dropped");
  return correct(current, user, { adopted, mayRename, attributes }).update !== undefined;
}

async function usersOf(ask: Ask, tenantID: string): Promise<Map<string, User[]>> {
  const found = new Map<string, User[]>();
  await pages(
    (first) =>
      ask("reading the tenant's users", usersAnswer, (client) =>
        client.users.find({ q: `${TENANT_MARK}:${tenantID}`, first, max: PAGE, briefRepresentation: false }),
      ),
    (user) => {
      const marks = marksOf(user);
      if (marks.tenantID !== tenantID || marks.uuid === undefined) return;
      found.set(marks.uuid, [...(found.get(marks.uuid) ?? []), user]);
    },
  );
  return found;
}

interface Memberships {
  lacks(userID: string, user: DesiredUser): boolean;
}

/** Members of each group and role that anybody of these should have. */
async function membersOf(parts: Parts, ask: Ask, wanted: readonly DesiredUser[]): Promise<Memberships> {
  const groups = new Map<string, Set<string>>();
  for (const path of new Set(wanted.flatMap(groupsWanted))) {
    const group = await parts.groups.find(ask, path);
    const members = new Set<string>();
    groups.set(path, members);
    if (group === undefined) continue;
    await pages(
      (first) =>
        ask(`reading the members of group ${path}`, usersAnswer, (client) =>
          client.groups.listMembers({ id: group.id, first, max: PAGE, briefRepresentation: true }),
        ),
      ({ id }) => members.add(id),
    );
  }
  const roles = new Map<string, Set<string>>();
  for (const name of new Set(wanted.flatMap((user) => user.realmRoles ?? []))) {
    const members = new Set<string>();
    roles.set(name, members);
    await pages(
      (first) =>
        ask(`reading who has role ${name}`, usersAnswer, (client) =>
          client.roles.findUsersWithRole({ name, first, max: PAGE, briefRepresentation: true }),
        ),
      ({ id }) => members.add(id),
    );
  }
  return {
    lacks: (userID, user) =>
      groupsWanted(user).some((path) => groups.get(path)?.has(userID) !== true) ||
      (user.realmRoles ?? []).some((name) => roles.get(name)?.has(userID) !== true),
  };
}

function groupsWanted(user: DesiredUser): string[] {
  return [...new Set([...user.defaultGroups, ...(user.groups ?? [])].map(groupPath))];
}

async function pages<T>(read: (first: number) => Promise<readonly T[]>, take: (item: T) => void): Promise<void> {
  for (let first = 0; ; first += PAGE) {
    const page = await read(first);
    for (const item of page) take(item);
    if (page.length < PAGE) return;
  }
}
