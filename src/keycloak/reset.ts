/** An account passes to another person: nothing that opened it for the one before may open it now. */
import { demandID } from "../lib/ids.ts";
import { LOCKOUT_MARK } from "./marks.ts";
import { userFields } from "./profileFields.ts";
import type { DesiredUser } from "./realm.ts";
import { groupsOf, identityProvidersOf, leaveGroup, rolesOf, takeRoles } from "./memberships.ts";
import { consentsAnswer, credentialsAnswer, emptyAnswer, type RealmSettings, type User } from "./representations.ts";
import { type Ask, orMissing } from "./session.ts";

/** What the new person is to have anyhow; everything else was the old person's, whoever gave it. */
export interface Kept {
  /** Ids. */
  readonly groups: readonly string[];
  /** Names of realm roles. */
  readonly realmRoles: readonly string[];
  /** What the realm gives everybody stays. */
  readonly settings: RealmSettings;
}

/**
 * Locked first, so that nobody who is logged in undoes it. May be cut anywhere and repeated. Names that the new person's
 * manifest does not give are the old person's, and go.
 */
export async function resetAccess(ask: Ask, user: User, wanted: DesiredUser, kept: Kept): Promise<User> {
  const { id, username, email, emailVerified } = user;
  // The lockout, too, was of the person before.
  const { [LOCKOUT_MARK]: _lockout, ...attributes } = user.attributes ?? {};
  const locked = {
    username,
    email,
    emailVerified,
    enabled: false,
    ...userFields((field) => wanted[field] ?? ""),
    attributes,
  };
  await ask("locking a user", emptyAnswer, (client) =>
    client.users.update({ id }, { ...locked, requiredActions: [...(wanted.requiredActions ?? [])] }),
  );
  await takeGrants(ask, id, kept);
  const credentials = await ask("reading a user's credentials", credentialsAnswer, (client) =>
    client.users.getCredentials({ id }),
  );
  for (const { id: credentialId } of credentials) {
    await orMissing(
      ask("removing a credential", emptyAnswer, (client) => client.users.deleteCredential({ id, credentialId })),
    );
  }
  for (const federatedIdentityId of await identityProvidersOf(ask, id)) {
    await orMissing(
      ask("unlinking an identity provider", emptyAnswer, (client) =>
        client.users.delFromFederatedIdentity({ id, federatedIdentityId }),
      ),
    );
  }
  const consents = await ask("reading a user's consents", consentsAnswer, (client) =>
    client.users.listConsents({ id }),
  );
  for (const { clientId } of consents) {
    await orMissing(ask("revoking a consent", emptyAnswer, (client) => client.users.revokeConsent({ id, clientId })));
  }
  await ask("ending a user's sessions", emptyAnswer, (client) => client.users.logout({ id }));
  return { ...user, ...locked };
}

async function takeGrants(ask: Ask, id: string, { groups, realmRoles, settings }: Kept): Promise<void> {
  for (const [groupId, path] of await groupsOf(ask, id)) {
    if (groups.includes(groupId) || settings.defaultGroups?.includes(path) === true) continue;
    await orMissing(leaveGroup(ask, id, groupId));
  }
  const { realmMappings = [], clientMappings = {} } = await rolesOf(ask, id);
  const isKept = (name: string): boolean => realmRoles.includes(name) || name === settings.defaultRole?.name;
  const given = realmMappings.filter(({ name }) => !isKept(name));
  if (given.length > 0) await takeRoles(ask, id, given);
  const ofClients = Object.values(clientMappings).flatMap(({ mappings = [] }) => mappings);
  for (const [client, roles] of Map.groupBy(ofClients, ({ containerId }) => containerId ?? "")) {
    const clientUniqueId = demandID(client);
    const taken = roles.map((role) => ({ id: role.id, name: role.name }));
    await ask("taking client roles from a user", emptyAnswer, ({ users }) =>
      users.delClientRoleMappings({ id, clientUniqueId, roles: taken }),
    );
  }
}
