/** A user's groups and realm roles: what is there, what changes, and the calls that change it. */
import type { Facts } from "./facts.ts";
import type { Group, Groups } from "./groups.ts";
import { type Memberships, planMemberships } from "./merge.ts";
import type { DesiredUser } from "./realm.ts";
import {
  emptyAnswer,
  federatedAnswer,
  groupTreesAnswer,
  type Mappings,
  mappingsAnswer,
  type Role,
  rolesAnswer,
  type User,
} from "./representations.ts";
import type { Ask } from "./session.ts";

export interface GroupMoves {
  readonly plan: Memberships;
  readonly joining: readonly Group[];
  /** Ids. */
  readonly leaving: readonly string[];
}

/** Those that a user can be created with: named by their path, which must not be another's too. */
export function namedAtCreation(groups: readonly Group[]): Group[] {
  return groups.filter(({ name, path }) => path === `/${name}`);
}

export async function groupPlan(
  ask: Ask,
  all: Groups,
  user: DesiredUser,
  state: { current: User; groups: readonly Group[]; adopted: boolean; created: boolean },
): Promise<GroupMoves> {
  const only = user.groups !== undefined && user.groups.length === 0;
  const wanted = new Map(state.groups.map((group) => [group.id, group]));
  // Just created with its groups: only the realm's own default groups can be there beside them.
  const current =
    state.created && !only
      ? namedAtCreation(state.groups).map(({ id }) => id)
      : [...(await groupsOf(ask, state.current.id)).keys()];
  const plan = planMemberships({
    wanted: [...wanted.keys()],
    current,
    gaveBefore: [...(await all.ids(ask, user.managedBefore.groups))],
    only,
    adopted: state.adopted,
  });
  const managed = plan.managed.flatMap((id) => wanted.get(id)?.path ?? []).toSorted();
  return {
    plan: { ...plan, managed },
    joining: plan.join.flatMap((id) => wanted.get(id) ?? []),
    leaving: plan.leave,
  };
}

/** Id to path, as Keycloak writes it: for people to read. */
export async function groupsOf(ask: Ask, id: string): Promise<Map<string, string>> {
  const groups = await ask("reading a user's groups", groupTreesAnswer, (client) =>
    client.users.listGroups({ id, max: 1000, briefRepresentation: true }),
  );
  return new Map(groups.map((group) => [group.id, group.path]));
}

export async function move(ask: Ask, id: string, { joining, leaving }: GroupMoves): Promise<void> {
  for (const groupId of leaving) await leaveGroup(ask, id, groupId);
  for (const group of joining) {
    await ask(`adding a user to group ${group.path}`, emptyAnswer, (client) =>
      client.users.addToGroup({ id, groupId: group.id }),
    );
  }
}

export async function leaveGroup(ask: Ask, id: string, groupId: string): Promise<void> {
  await ask("taking a user out of a group", emptyAnswer, (client) => client.users.delFromGroup({ id, groupId }));
}

/** Of the realm and of its clients. */
export function rolesOf(ask: Ask, id: string): Promise<Mappings> {
  return ask("reading a user's roles", mappingsAnswer, (client) => client.users.listRoleMappings({ id }));
}

/** The identity providers by which the user can log in. */
export async function identityProvidersOf(ask: Ask, id: string): Promise<string[]> {
  const linked = await ask("reading a user's identity providers", federatedAnswer, (client) =>
    client.users.listFederatedIdentities({ id }),
  );
  return linked.map(({ identityProvider }) => identityProvider);
}

export interface RoleMoves {
  readonly plan: Memberships;
  readonly adding: readonly Role[];
  readonly removing: readonly Role[];
}

export async function rolePlan(
  facts: Facts,
  ask: Ask,
  user: DesiredUser,
  state: { current: User; roles: readonly Role[]; adopted: boolean },
): Promise<RoleMoves> {
  if (user.realmRoles === undefined && user.managedBefore.realmRoles.length === 0) {
    return { plan: { join: [], leave: [], managed: [] }, adding: [], removing: [] };
  }
  const defaultRole = (await facts.settings(ask)).defaultRole?.name;
  const held = (await realmRolesOf(ask, state.current.id)).filter(({ name }) => name !== defaultRole);
  const plan = planMemberships({
    wanted: state.roles.map(({ name }) => name),
    current: held.map(({ name }) => name),
    gaveBefore: user.managedBefore.realmRoles,
    only: user.realmRoles !== undefined && user.realmRoles.length === 0,
    adopted: state.adopted,
  });
  return {
    plan,
    adding: state.roles.filter(({ name }) => plan.join.includes(name)),
    removing: held.filter(({ name }) => plan.leave.includes(name)),
  };
}

export function realmRolesOf(ask: Ask, id: string): Promise<Role[]> {
  return ask("reading a user's realm roles", rolesAnswer, (client) => client.users.listRealmRoleMappings({ id }));
}

export async function remap(ask: Ask, id: string, { adding, removing }: RoleMoves): Promise<void> {
  if (removing.length > 0) await takeRoles(ask, id, removing);
  if (adding.length > 0) {
    const roles = adding.map(({ id: roleID, name }) => ({ id: roleID, name }));
    await ask("giving a user realm roles", emptyAnswer, (client) => client.users.addRealmRoleMappings({ id, roles }));
  }
}

export async function takeRoles(ask: Ask, id: string, removing: readonly Role[]): Promise<void> {
  const roles = removing.map((role) => ({ id: role.id, name: role.name }));
  await ask("taking realm roles from a user", emptyAnswer, (client) =>
    client.users.delRealmRoleMappings({ id, roles }),
  );
}

export function isEmpty({ join, leave }: Memberships): boolean {
  return join.length === 0 && leave.length === 0;
}
