/** Who of a tenant's users is no longer as we made them: read in pages per realm, never user by user. */
import { MARK_TENANT_ID } from "../api/meta.ts";
import { carriesAdoptedMark, marksOf } from "./marks.ts";
import { isSagaError } from "../lib/errors.ts";
import { NOT_FOUND } from "./classify.ts";
import { correct, ownAttributes } from "./merge.ts";
import { REASON } from "../api/reasons.ts";
import { systemClock } from "../lib/clock.ts";
import { readPages } from "../lib/paging.ts";
import type { Parts } from "./parts.ts";
import { groupPath } from "../api/names.ts";
import { adoptedMarkHolds, attributePolicyOf, marksProblem, renames } from "./profile.ts";
import type { DesiredUser } from "./realm.ts";
import { type Profile, type User, usersAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";

const PAGE = 200;
/** Of users, or members of one group or role; and how long all pages of one may take. */
const MOST = 100_000;
const WITHIN_MS = 120_000;

/** The uuids of those who differ; a user that is not there differs too. All must be of one tenant. */
export async function driftedUsers(parts: Parts, ask: Ask, wanted: readonly DesiredUser[]): Promise<string[]> {
  try {
    return await compare(parts, ask, wanted);
  } catch (error) {
    // A group or role was made again under its name; the 404 has made us forget the old one.
    if (!isSagaError(error) || error.code !== NOT_FOUND) throw error;
    return compare(parts, ask, wanted);
  }
}

async function compare(parts: Parts, ask: Ask, wanted: readonly DesiredUser[]): Promise<string[]> {
  const tenantID = wanted[0]?.tenantID;
  if (tenantID === undefined) return [];
  const profile = await parts.facts.profile(ask);
  // A realm that loses marks is the Tenant check's to say; nobody is corrected there.
  if (marksProblem(profile, parts.realm) !== undefined) return [];
  const mayRename = renames(await parts.facts.settings(ask));
  const found = await usersOf(ask, tenantID, wanted, (current, user) => differs(current, user, profile, mayRename));
  const ids = new Set(Array.from(found.values(), ({ id }) => id));
  const memberships = await membersOf(parts, ask, wanted, ids);
  return wanted
    .filter((user) => {
      const seen = found.get(user.uuid);
      return seen === undefined || seen.isDifferent || memberships.lacks(seen.id, user);
    })
    .map(({ uuid }) => uuid);
}

function differs(current: User, user: DesiredUser, profile: Profile, mayRename: boolean): boolean {
  const adopted = user.adopted === true || (carriesAdoptedMark(current) && adoptedMarkHolds(profile));
  const attributes = ownAttributes(user, (name) => attributePolicyOf(profile, name) !== "dropped");
  const { update, lockedOut } = correct(current, user, { adopted, mayRename, attributes });
  return update !== undefined || lockedOut !== (user.saidLockedOut ?? false);
}

/** All that is kept of a user: how much stands in one, and how many there are, is the realm's choice. */
interface Seen {
  readonly id: string;
  isDifferent: boolean;
}

async function usersOf(
  ask: Ask,
  tenantID: string,
  wanted: readonly DesiredUser[],
  isDifferent: (current: User, user: DesiredUser) => boolean,
): Promise<Map<string, Seen>> {
  const people = new Map(wanted.map((user) => [user.uuid, user]));
  const found = new Map<string, Seen>();
  await pages(
    "the tenant's users",
    (first) =>
      ask("reading the tenant's users", usersAnswer, (client) =>
        client.users.find({ q: `${MARK_TENANT_ID}:${tenantID}`, first, max: PAGE, briefRepresentation: false }),
      ),
    (user) => {
      const marks = marksOf(user);
      const person = marks.tenantID === tenantID ? people.get(marks.uuid ?? "") : undefined;
      if (person === undefined) return;
      const before = found.get(person.uuid);
      // Two are one too many.
      if (before !== undefined) before.isDifferent = true;
      else found.set(person.uuid, { id: user.id, isDifferent: isDifferent(user, person) });
    },
  );
  return found;
}

interface Memberships {
  lacks(userID: string, user: DesiredUser): boolean;
}

/** Which of these users, by id, are in each group and role that anybody should have. */
async function membersOf(
  parts: Parts,
  ask: Ask,
  wanted: readonly DesiredUser[],
  ids: ReadonlySet<string>,
): Promise<Memberships> {
  const groups = new Map<string, Set<string>>();
  for (const path of new Set(wanted.flatMap(groupsWanted))) {
    const group = await parts.groups.find(ask, path);
    const members = new Set<string>();
    groups.set(path, members);
    if (group === undefined) continue;
    await pages(
      `the members of group ${path}`,
      (first) =>
        ask(`reading the members of group ${path}`, usersAnswer, (client) =>
          client.groups.listMembers({ id: group.id, first, max: PAGE, briefRepresentation: true }),
        ),
      ({ id }) => ids.has(id) && members.add(id),
    );
  }
  const roles = new Map<string, Set<string>>();
  for (const name of new Set(wanted.flatMap((user) => user.realmRoles ?? []))) {
    const members = new Set<string>();
    roles.set(name, members);
    await pages(
      `who has role ${name}`,
      (first) =>
        ask(`reading who has role ${name}`, usersAnswer, (client) =>
          client.roles.findUsersWithRole({ name, first, max: PAGE, briefRepresentation: true }),
        ),
      ({ id }) => ids.has(id) && members.add(id),
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

const pages = <T>(what: string, read: (first: number) => Promise<readonly T[]>, take: (item: T) => void) =>
  readPages(
    {
      what,
      upstream: "keycloak",
      code: REASON.UpstreamUnavailable,
      pageSize: PAGE,
      mostItems: MOST,
      withinMs: WITHIN_MS,
      clock: systemClock,
    },
    read,
    take,
  );
