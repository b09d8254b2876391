/** Accounts that were in the realm before us: taken over by the Tenant's leave and by rule, and never otherwise. */
import { randomUUID } from "node:crypto";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { grantRealmManagement } from "../../stack/realm.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

let platform: Platform;
/** The only one in its realm, and allowed to adopt. */
let tenant: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("adopting", {
    ownDomain: true,
    patch: { adoption: "Unclaimed", allow: { groups: ["/team"] } },
  });
  const { admin } = tenant.realm;
  await admin.roles.create({ name: "auditor" });
  await admin.groups.create({ name: "strangers" });
  const { id } = await admin.groups.create({ name: "bosses" });
  await grantRealmManagement(admin, { group: id }, ["manage-users"]);
  const config = { clientId: "x", authorizationUrl: "http://127.0.0.1/a", tokenUrl: "http://127.0.0.1/t" };
  await admin.identityProviders.create({ alias: "elsewhere", providerId: "oidc", enabled: true, config });
});
afterAll(() => platform?.close());

interface Before {
  readonly emailVerified?: boolean;
  readonly email?: string;
  readonly groups?: string[];
  readonly attributes?: Record<string, string[]>;
  readonly also?: (id: string) => Promise<unknown>;
}

/** Somebody with this address whom we did not make. */
async function account(local: string, { also, ...more }: Before = {}): Promise<string> {
  const email = tenant.email(local);
  const { id } = await tenant.realm.admin.users.create({
    username: email,
    email,
    emailVerified: true,
    enabled: true,
    firstName: "There",
    lastName: "Before",
    ...more,
  });
  await also?.(id);
  return id;
}

async function whole(id: string): Promise<object> {
  const { users } = tenant.realm.admin;
  return {
    user: await users.findOne({ id }),
    groups: (await users.listGroups({ id })).map(({ path = "" }) => path).toSorted(),
    roles: await users.listRoleMappings({ id }),
  };
}

const realmRole =
  (name: string) =>
  async (id: string): Promise<void> => {
    const role = await tenant.realm.admin.roles.findOneByName({ name });
    await tenant.realm.admin.users.addRealmRoleMappings({ id, roles: [{ id: role?.id ?? "", name }] });
  };

describe("with adoption: Unclaimed", () => {
  it("an account without a claim on it is taken over, and given back as it was", async () => {
    const id = await account("ada", { groups: ["/team"], attributes: { theirs: ["1"] } });
    const before = await whole(id);
    await tenant.apply("ada", { displayName: "Ada" });
    const person = await tenant.person("ada");
    expect(person.keycloakID).toBe(id);
    expect(await tenant.keycloakUsers(person.uuid)).toMatchObject([
      { groups: ["/sme-users", "/team"], attributes: { theirs: ["1"], displayName: ["Ada"], sme_adopted: ["true"] } },
    ]);

    // It was somebody's before us: neither its address nor whether it is enabled is ours to change.
    await tenant.apply("ada", { enabled: false, email: tenant.email("lovelace") });
    await tenant.says("ada", "Ready", "True", "Disabled");
    expect(await tenant.realm.admin.users.findOne({ id })).toMatchObject({ email: tenant.email("ada"), enabled: true });
    expect(await platform.opens(person.apiKey)).toBe(403);

    await tenant.remove("ada");
    await tenant.gone("ada");
    await soon(async () => assert.equal((await tenant.row(person.uuid))?.state, "deleted"));
    expect(await whole(id)).toEqual(before);
    expect(await platform.opens(person.apiKey)).not.toBe(200);
    expect(await tenant.secret(person.secretName)).toBeUndefined();
  });

  it("an account with the marks of another tenant is left as it is, and waited for", async () => {
    const id = await account("marked", { attributes: { sme_tenant_id: ["another"], sme_user_uuid: [randomUUID()] } });
    const before = await whole(id);
    await tenant.apply("marked");
    const { message } = await tenant.says("marked", "Ready", "False", "EmailInUse");
    expect(message).toContain("A Keycloak user of another tenant in this realm has ");
    expect(await whole(id)).toEqual(before);
    await tenant.remove("marked");
    await tenant.gone("marked");
    expect(await whole(id)).toEqual(before);
  });

  it.each<[why: string, before: Before, sentence: RegExp]>([
    ["whose address is not proven", { emailVerified: false }, /its email is not verified/],
    ["in a group that is not allowed", { groups: ["/strangers"] }, /it is a member of group \/strangers/],
    ["with a realm role", { also: (id) => realmRole("auditor")(id) }, /it holds the realm role auditor/],
    ["of a realm administrator", { also: (id) => admin(id) }, /it holds the administrator's role view-realm/],
    ["of an administrator by group", { groups: ["/bosses"] }, /it holds the administrator's role manage-users/],
    ["linked to an identity provider", { also: (id) => link(id) }, /it is linked to the identity provider elsewhere/],
    ["with one mark alone", { attributes: { sme_user_uuid: [randomUUID()] } }, /it carries only one of our two marks/],
    ["whose user name only is the address", { email: "else@elsewhere.example" }, /its email is another one/],
  ])("never an account %s", async (why, existing, sentence) => {
    const name = why.toLowerCase().replaceAll(/[^a-z]+/g, "-");
    const id = await account(name, existing);
    const before = await whole(id);
    await tenant.apply(name);
    const { message } = await tenant.says(name, "Stalled", "True", "UserClaimed");
    expect(message).toMatch(sentence);
    expect(message).toContain(tenant.email(name));
    expect(await whole(id)).toEqual(before);
    expect(await tenant.accounts((await tenant.user(name))?.status?.userUUID ?? "")).toEqual([]);
    // And it stays as it is when the person goes again.
    await tenant.remove(name);
    await tenant.gone(name);
    expect(await whole(id)).toEqual(before);
  });
  const admin = (id: string) => grantRealmManagement(tenant.realm.admin, { user: id }, ["view-realm"]);
  const link = (id: string) =>
    tenant.realm.admin.users.addToFederatedIdentity({
      id,
      federatedIdentityId: "elsewhere",
      federatedIdentity: { userId: "1", userName: "else", identityProvider: "elsewhere" },
    });

  it("nobody, from the moment that a second Tenant shares the realm; whoever was adopted stays", async () => {
    const adopted = await account("early");
    await tenant.apply("early");
    const early = await tenant.person("early");
    expect(early.keycloakID).toBe(adopted);

    const { realm } = tenant.realm;
    await platform.tenant("second", {
      ownDomain: true,
      patch: { adoption: "Unclaimed" },
      realm: { realm },
      values: { KEYCLOAK_REALM: realm },
    });
    const id = await account("late");
    const before = await whole(id);
    await tenant.apply("late", { email: tenant.email("late") });
    expect((await tenant.says("late", "Stalled", "True", "UserClaimed")).message).toContain(
      "it carries no marks, and the Tenant's adoption is Never",
    );
    expect(await whole(id)).toEqual(before);
    expect(await tenant.person("early")).toEqual(early);
  });
});
