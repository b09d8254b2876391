/** Realms for tests: what onboarding makes, and what goes wrong with it. */
import type KeycloakAdminClient from "@keycloak/keycloak-admin-client";

import { realmManagementRoles } from "../../stack/realm.ts";

export * from "../../stack/realm.ts";

/** Takes roles of client realm-management from a user again. */
export async function revokeRealmManagement(
  admin: KeycloakAdminClient,
  from: { user: string },
  names: readonly string[],
): Promise<void> {
  const { id: clientUniqueId, roles } = await realmManagementRoles(admin, names);
  await admin.users.delClientRoleMappings({ id: from.user, clientUniqueId, roles });
}
