/** What Keycloak knows of a user that might be taken over. */
import type { AdoptionFacts } from "./adopt.ts";
import type { Facts } from "./facts.ts";
import { effectiveAdminRoles } from "./grants.ts";
import { groupsOf } from "./memberships.ts";
import { federatedAnswer, mappingsAnswer, type User } from "./representations.ts";
import type { Ask } from "./session.ts";

export async function adoptionFactsOf(facts: Facts, ask: Ask, user: User): Promise<AdoptionFacts> {
  const { id } = user;
  const mappings = await ask("reading a user's roles", mappingsAnswer, (client) =>
    client.users.listRoleMappings({ id }),
  );
  const linked = await ask("reading a user's identity providers", federatedAnswer, (client) =>
    client.users.listFederatedIdentities({ id }),
  );
  return {
    user,
    groups: [...(await groupsOf(ask, id))].map(([groupID, path]) => ({ id: groupID, path })),
    mappings,
    adminRoles: await effectiveAdminRoles(ask, facts, id),
    identityProviders: linked.map(({ identityProvider }) => identityProvider),
  };
}
