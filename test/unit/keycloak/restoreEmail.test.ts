/** Whose address is put back had it; whether it counts as verified is for the platform to say, not for who writes it last. */
import { expect, it } from "vitest";
import type { Parts } from "../../../src/keycloak/parts.ts";
import type { Ask } from "../../../src/keycloak/session.ts";
import { restoreEmail } from "../../../src/keycloak/users.ts";

const UUID = "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90";
const holder = { tenantID: "acme", uuid: UUID, userID: "kc-1" };

it.each([
  ["an address that its tenant speaks for", true, "written@example.com", false, true],
  ["one that it does not speak for", false, "written@example.com", true, false],
  ["one that stayed, and that the person has verified", false, "ceo@example.org", true, true],
])("%s", async (_what, vouched, email, emailVerified, counts) => {
  const updates: unknown[] = [];
  const attributes = { sme_tenant_id: ["acme"], sme_user_uuid: [UUID] };
  const user = { id: "kc-1", username: "old", email, emailVerified, enabled: true, attributes };
  const client = {
    users: {
      findOne: () => Promise.resolve(user),
      update: (_id: unknown, update: unknown) => Promise.resolve(void updates.push(update)),
      listCompositeClientRoleMappings: () => Promise.resolve([]),
    },
  };
  const ask: Ask = async (_doing, answer, send) => answer.parse(await send(client as never));
  const parts = {
    facts: {
      settings: () => Promise.resolve({ realm: "acme", editUsernameAllowed: true }),
      profile: () => Promise.resolve({ unmanagedAttributePolicy: "ADMIN_EDIT" }),
      realmManagementID: () => Promise.resolve("rm"),
    },
  } as unknown as Parts;
  expect(await restoreEmail(parts, ask, holder, { email: "ceo@example.org", vouched })).toBe(true);
  expect(updates).toMatchObject([{ username: "ceo@example.org", email: "ceo@example.org", emailVerified: counts }]);
});
