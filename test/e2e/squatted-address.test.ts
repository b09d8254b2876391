/**
 * A person writes the address of somebody who comes tomorrow into their own account. Whoever then comes is a person of
 * their own, and whoever wrote it stays who they are: an address that people can write says of nobody who they are.
 */
import { randomUUID } from "node:crypto";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { candidateUUID } from "../../src/api/names.ts";
import { objectPath } from "../../src/kube/objects.ts";
import { loseDatabase } from "../support/loss.ts";
import { enter, logIn, type OwnLogin } from "../support/ownLogin.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

let platform: Platform;
/** One of each dialect of gateway, in one realm. */
const tenants: Partial<Record<"admin-v1" | "new-api", TestTenant>> = {};

beforeAll(async () => {
  // Whatever is corrected here is so because somebody came, not because it was compared.
  platform = await openPlatform({ DRIFT_SECONDS: "86400" });
  const wishes = { ownDomain: true, patch: { allow: { retain: true } } };
  const first = await platform.tenant("squat", { ...wishes, values: { DELETION_GRACE: "1h" } });
  const { realm } = first.realm;
  tenants["admin-v1"] = first;
  tenants["new-api"] = await platform.tenant("squat", {
    ...wishes,
    realm: { realm },
    values: { DELETION_GRACE: "1h", NEWAPI_DIALECT: "new-api", KEYCLOAK_REALM: realm },
  });
});
afterAll(async () => {
  // So that they can leave.
  for (const tenant of Object.values(tenants)) {
    await tenant.change({ deletionGrace: "0s" });
    await soon(async () => assert.equal((await tenant.tenant()).status?.accepted?.deletionGrace, "0s"));
  }
  await platform?.close();
});

function of(dialect: keyof typeof tenants): TestTenant {
  const tenant = tenants[dialect];
  assert(tenant !== undefined);
  return tenant;
}

const keycloakUser = (tenant: TestTenant, { keycloakID: id }: Person) => tenant.realm.admin.users.findOne({ id });

/** Somebody of the tenant writes the address into their own account; as they are then. */
async function squat(tenant: TestTenant, name: string, address: string, spec: object = {}): Promise<OwnLogin> {
  await tenant.apply(name, { ...spec });
  const squatter = await enter(tenant, name);
  expect((await squatter.account("POST", "", (own) => ({ ...own, email: address }))).status).toBe(204);
  expect(await keycloakUser(tenant, squatter.person)).toMatchObject({ email: address, emailVerified: false });
  return squatter;
}

/** Nothing that was the other one's opens anything of this one's. */
async function apart(tenant: TestTenant, name: string, other: Person): Promise<Person> {
  const newUser = await tenant.person(name);
  const shared = Object.entries(newUser).filter(([field, value]) => other[field as keyof Person] === value);
  expect(shared).toEqual([]);
  expect(newUser.uuid).toBe(candidateUUID(tenant.id, tenant.email(name)));
  const { users } = tenant.realm.admin;
  expect(await users.getCredentials({ id: newUser.keycloakID })).toEqual([]);
  expect(await users.listSessions({ id: newUser.keycloakID })).toEqual([]);
  expect(await logIn(tenant, tenant.email(name))).toBeUndefined();
  expect(await platform.opens(newUser.apiKey)).toBe(200);
  return newUser;
}

interface Way {
  readonly how: string;
  readonly spec?: object;
  leave(tenant: TestTenant, name: string, person: Person): Promise<void>;
  /** Of the row from then on. */
  readonly state: string;
  /** What the leaver's own key opens at the gateway: nothing, where the account is locked. */
  readonly opens: number;
  readonly enabled: boolean;
}

const WAYS: readonly Way[] = [
  { how: "living", leave: () => Promise.resolve(), state: "done", opens: 200, enabled: true },
  {
    how: "graceful",
    async leave(tenant, name, person) {
      await tenant.remove(name);
      await tenant.gone(name);
      await soon(async () => assert.equal((await keycloakUser(tenant, person))?.enabled, false));
    },
    state: "deleting",
    opens: 403,
    enabled: false,
  },
  {
    how: "retained",
    spec: { deletionPolicy: "Retain" },
    async leave(tenant, name) {
      await tenant.remove(name);
      await tenant.gone(name);
    },
    state: "retained",
    opens: 200,
    enabled: true,
  },
  {
    how: "orphaned",
    async leave(tenant, name, { uuid }) {
      const path = objectPath("TenantUser", { namespace: tenant.namespace, name });
      await platform.product.kill("reconciler");
      await platform.kube.patch(path, { metadata: { finalizers: null } }, "impatient");
      await platform.api.send("DELETE", path);
      await platform.product.start("reconciler");
      await soon(async () => assert.equal((await tenant.row(uuid))?.state, "orphaned"));
    },
    state: "orphaned",
    opens: 200,
    enabled: true,
  },
];

describe.each(["admin-v1", "new-api"] as const)("the address of a new user, at a gateway of dialect %s", (dialect) => {
  it.each(WAYS)("in the account of somebody $how, is the new user's", async ({ how, spec, ...way }) => {
    const tenant = of(dialect);
    const [name, next] = [how, `after-${how}`];
    const squatter = await squat(tenant, name, tenant.email(next), spec);
    const { person } = squatter;
    await way.leave(tenant, name, person);
    // It is still there: it is what the new user meets.
    expect(await keycloakUser(tenant, person)).toMatchObject({ email: tenant.email(next), enabled: way.enabled });
    expect(await tenant.row(person.uuid)).toMatchObject({ state: way.state, email: tenant.email(name) });

    await tenant.apply(next);
    const newUser = await apart(tenant, next, person);

    // The other one is who it was, under its own address.
    expect(await tenant.row(person.uuid)).toMatchObject({ state: way.state, email: tenant.email(name) });
    expect(await tenant.keycloakUsers(person.uuid)).toMatchObject([
      { id: person.keycloakID, email: tenant.email(name), enabled: way.enabled },
    ]);
    expect(await keycloakUser(tenant, person)).toMatchObject({ emailVerified: true });
    expect(await platform.opens(person.apiKey)).toBe(way.opens);
    const again = await squatter.account("POST", "", (own) => ({ ...own, email: tenant.email(next) }));
    expect([401, 409]).toContain(again.status);

    await tenant.apply(name, { deletionPolicy: "Delete" });
    expect(await tenant.person(name)).toEqual(person);
    expect(await tenant.person(next)).toEqual(newUser);
    expect(await logIn(tenant, tenant.email(name))).toBeDefined();
  });
});

describe("the address of a new user", () => {
  it("that the account of a leaver has, verified even, is the new user's: this database knows the leaver", async () => {
    const tenant = of("admin-v1");
    const { person } = await squat(tenant, "proven", tenant.email("after-proven"));
    const { users } = tenant.realm.admin;
    await users.update({ id: person.keycloakID }, { ...(await keycloakUser(tenant, person)), emailVerified: true });
    await tenant.remove("proven");
    await tenant.gone("proven");
    await tenant.apply("after-proven");
    await apart(tenant, "after-proven", person);
    await tenant.apply("proven");
    expect(await tenant.person("proven")).toEqual(person);
  });

  it("in the account of another tenant's person in the same realm, is the new user's", async () => {
    const [there, here] = [of("new-api"), of("admin-v1")];
    const { person } = await squat(there, "elsewhere", here.email("after-elsewhere"));
    await there.remove("elsewhere");
    await there.gone("elsewhere");
    await here.apply("after-elsewhere");
    await apart(here, "after-elsewhere", person);
    await there.apply("elsewhere");
    expect(await there.person("elsewhere")).toEqual(person);
  });

  it("is one new user's: a second one waits, and resumes as that person when the first one has gone", async () => {
    const tenant = of("admin-v1");
    const { person } = await squat(tenant, "wanted", tenant.email("after-wanted"));
    await tenant.remove("wanted");
    await tenant.gone("wanted");
    await tenant.apply("after-wanted");
    const newUser = await apart(tenant, "after-wanted", person);
    await tenant.apply("second", { email: tenant.email("after-wanted") });
    await tenant.says("second", "Ready", "False", "EmailInUse");
    await tenant.remove("after-wanted");
    expect(await tenant.person("second")).toEqual(newUser);
    await tenant.apply("wanted");
    expect(await tenant.person("wanted")).toEqual(person);
  });
});

describe("after the loss of the database, the address of a new user", () => {
  it("is proof for the one whose own and verified it is, and for nobody else", async () => {
    const tenant = of("admin-v1");
    // Whose uuid says nothing of their address, and stands in Git no more.
    await tenant.apply("known", { userUUID: randomUUID() });
    const known = await tenant.person("known");
    await tenant.apply("known");
    expect(await tenant.person("known")).toEqual(known);
    const { person: living } = await squat(tenant, "here", tenant.email("after-here"));
    const { person: left } = await squat(tenant, "left", tenant.email("after-left"), { deletionPolicy: "Retain" });
    await tenant.remove("left");
    await tenant.gone("left");

    await platform.reinstall(async () => {
      await loseDatabase(platform.env);
      await tenant.apply("after-here");
      await tenant.apply("after-left");
    });
    expect(await tenant.person("known")).toEqual(known);
    await apart(tenant, "after-here", living);
    await apart(tenant, "after-left", left);
    // Of whom nothing says any more that it is them: once the address is proven to be theirs, they are who they were.
    const { message } = await tenant.says("here", "Ready", "False", "EmailInUse");
    expect(message).toContain(living.keycloakID);
    const proven = { email: tenant.email("here"), emailVerified: true };
    const user = await keycloakUser(tenant, living);
    await tenant.realm.admin.users.update({ id: living.keycloakID }, { ...user, ...proven });
    expect(await tenant.person("here")).toEqual(living);
  });
});
