/** The groups and roles that a user is to have: they exist, and none of them makes an administrator. */
import { REASON } from "../api/reasons.ts";
import type { Facts } from "./facts.ts";
import { groupPath } from "../api/names.ts";
import type { Group, Groups } from "./groups.ts";
import type { DesiredUser } from "./realm.ts";
import { type Role, rolesAnswer } from "./representations.ts";
import type { Roles } from "./roles.ts";
import type { Ask } from "./session.ts";
import { terminal, waiting } from "./failures.ts";

/**
 * Default groups and those of the spec. A missing default group is the platform's and comes by itself one day
 * (`TenantNotReady`); a missing group of the spec needs a person (`MissingGroup`).
 */
export async function wantedGroups(ask: Ask, groups: Groups, user: DesiredUser): Promise<Group[]> {
  const defaults = new Set(user.defaultGroups.map(groupPath));
  const wanted: Group[] = [];
  for (const path of new Set([...defaults, ...(user.groups ?? []).map(groupPath)])) {
    const group = await groups.find(ask, path);
    if (group !== undefined) wanted.push(group);
    else if (defaults.has(path)) {
      throw waiting(
        REASON.TenantNotReady,
        `The tenant's default group ${path} does not exist in Keycloak yet; create it.`,
      );
    } else {
      throw terminal(
        REASON.MissingGroup,
        `Group ${path} does not exist in the tenant's Keycloak realm; create it, or take it out of spec.groups.${await otherName(ask, groups, path)}`,
      );
    }
  }
  return wanted;
}

async function otherName(ask: Ask, groups: Groups, path: string): Promise<string> {
  const written = await groups.meantByName(ask, path);
  return written === undefined ? "" : ` A group with that name, slash and all, is there: it is written ${written}.`;
}

export async function wantedRoles(ask: Ask, roles: Roles, user: DesiredUser): Promise<Role[]> {
  const wanted: Role[] = [];
  for (const name of new Set(user.realmRoles ?? [])) {
    const role = await roles.find(ask, name);
    if (role === undefined) {
      throw terminal(
        REASON.MissingRole,
        `Realm role ${name} does not exist in the tenant's Keycloak realm; create it, or take it out of spec.realmRoles.`,
      );
    }
    wanted.push(role);
  }
  return wanted;
}

export async function refuseAdminGroup(ask: Ask, groups: Groups, group: Group): Promise<void> {
  refuse(`Group ${group.path} makes its members administrators of the realm`, await groups.adminRoles(ask, group));
}

export async function refuseAdminRole(ask: Ask, roles: Roles, role: Role): Promise<void> {
  refuse(`Realm role ${role.name} makes its holders administrators of the realm`, await roles.adminRoles(ask, role));
}

/** Asked right before a write, never from memory: an administrator is not ours to change, whatever its marks say. */
export async function refuseAdmin(ask: Ask, facts: Facts, userID: string): Promise<void> {
  refuse(`Keycloak user ${userID} is an administrator of the realm`, await effectiveAdminRoles(ask, facts, userID));
}

/** Realm-management roles that the user holds by itself, by a composite, or by a group (those above included). */
export async function effectiveAdminRoles(ask: Ask, facts: Facts, userID: string): Promise<string[]> {
  const realmManagement = await facts.realmManagementID(ask);
  const roles = await ask("reading a user's effective roles", rolesAnswer, (client) =>
    client.users.listCompositeClientRoleMappings({ id: userID, clientUniqueId: realmManagement }),
  );
  return roles.map(({ name }) => name).toSorted();
}

function refuse(what: string, adminRoles: readonly string[]): void {
  if (adminRoles.length === 0) return;
  throw terminal(REASON.NotAllowed, `${what} (${nameAdminRoles(adminRoles)}); nothing was changed.`);
}

/** For a sentence: the first few of what may be twenty. */
export function nameAdminRoles(names: readonly string[]): string {
  const more = names.length > 3 ? " and others" : "";
  return `realm-management: ${names.slice(0, 3).join(", ")}${more}`;
}
