/** What somebody was given by hand goes with them: the person who gets the account gets nothing of it. */
import type KeycloakAdminClient from "@keycloak/keycloak-admin-client";
import { expect, test } from "vitest";
import { resetAccess } from "../../../src/keycloak/reset.ts";
import type { Ask } from "../../../src/keycloak/session.ts";

const grace = {
  uuid: "u1",
  tenantID: "acme",
  email: "grace@example.org",
  enabled: true,
  defaultGroups: ["/staff"],
  managedBefore: { groups: [], realmRoles: [], attributes: [] },
};
const ada = { id: "kc-1", username: "ada@example.org", email: "ada@example.org", enabled: true };
const role = (name: string, containerId: string) => ({ id: `id-${name}`, name, containerId });

function makeKeycloak(client = "c-1") {
  const did: string[] = [];
  const done = (what: string) => Promise.resolve(void did.push(what));
  const names = (roles: readonly { name: string }[]) => roles.map(({ name }) => name).join();
  const users = {
    update: (_id: unknown, { enabled }: { enabled: boolean }) => done(`enabled ${enabled}`),
    listGroups: () =>
      Promise.resolve([
        { id: "g1", name: "staff", path: "/staff" },
        { id: "g2", name: "everybody", path: "/everybody" },
        { id: "g3", name: "vault", path: "/vault" },
      ]),
    delFromGroup: ({ groupId }: { groupId: string }) => done(`left ${groupId}`),
    listRoleMappings: () =>
      Promise.resolve({
        realmMappings: ["default-roles-acme", "reader", "auditor"].map((name) => role(name, "acme")),
        clientMappings: {
          billing: { id: client, mappings: [role("approve", client), role("pay", client)] },
          wiki: { mappings: [role("edit", "c-2")] },
        },
      }),
    delRealmRoleMappings: ({ roles }: { roles: { name: string }[] }) => done(`lost ${names(roles)}`),
    delClientRoleMappings: ({ clientUniqueId, roles }: { clientUniqueId: string; roles: { name: string }[] }) =>
      done(`lost ${names(roles)} of ${clientUniqueId}`),
    getCredentials: () => Promise.resolve([]),
    listFederatedIdentities: () => Promise.resolve([]),
    listConsents: () => Promise.resolve([]),
    logout: () => done("logged out"),
  };
  const ask: Ask = async (_doing, answer, send) =>
    answer.parse(await send({ users } as unknown as KeycloakAdminClient));
  return { did, ask };
}

const kept = {
  groups: ["g1"],
  realmRoles: ["reader"],
  settings: { realm: "acme", defaultRole: { name: "default-roles-acme" }, defaultGroups: ["/everybody"] },
};

test("all goes but what the new person is to have, and what the realm gives everybody", async () => {
  const { did, ask } = makeKeycloak();
  await resetAccess(ask, ada, grace, kept);
  expect(did).toEqual([
    "enabled false",
    "left g3",
    "lost auditor",
    "lost approve,pay of c-1",
    "lost edit of c-2",
    "logged out",
  ]);
});

test("where a client cannot be named, the account stays locked and passes to nobody", async () => {
  const { did, ask } = makeKeycloak("..");
  await expect(resetAccess(ask, ada, grace, kept)).rejects.toMatchObject({ class: "terminal" });
  expect(did).not.toContain("logged out");
});
