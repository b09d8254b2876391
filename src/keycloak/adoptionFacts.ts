/** What Keycloak knows of a user that might be taken over. */
import type { AdoptionFacts } from "./adopt.ts";
import type { Facts } from "./facts.ts";
import { effectiveAdminRoles } from "./grants.ts";
import { groupsOf, identityProvidersOf, rolesOf } from "./memberships.ts";
import type { User } from "./representations.ts";
import type { Ask } from "./session.ts";

export async function adoptionFactsOf(facts: Facts, ask: Ask, user: User): Promise<AdoptionFacts> {
  const { id } = user;
  const mappings = await rolesOf(ask, id);
  const identityProviders = await identityProvidersOf(ask, id);
  const groups = [...(await groupsOf(ask, id))].map(([groupID, path]) => ({ id: groupID, path }));
  return { user, groups, mappings, adminRoles: await effectiveAdminRoles(ask, facts, id), identityProviders };
}
