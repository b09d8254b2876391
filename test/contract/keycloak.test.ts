/** The tenant's realm on a real Keycloak: what is ours, what is never touched, and what each refusal says. */
import { randomUUID } from "node:crypto";
import * as fc from "fast-check";
import { generate } from "selfsigned";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import * as z from "zod";
import { candidateUUID } from "../../src/api/names.ts";
import { makeRealm } from "../../src/keycloak/client.ts";
import type { Adoption, DesiredUser, ManagedSet, Realm, RealmCheck } from "../../src/keycloak/realm.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { isSagaError, type SagaError } from "../../src/lib/errors.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { readStackEnv } from "../../stack/index.ts";
import {
  grantRealmManagement,
  type KeycloakServer,
  type RealmOptions,
  revokeRealmManagement,
  SERVICE_ACCOUNT_ROLES,
  tenantRealm,
  type TenantRealm,
} from "../support/keycloak.ts";
import { type RecordingProxy, recordingProxy } from "../support/recordingProxy.ts";

const never = new AbortController().signal;
const NEVER: Adoption = { policy: "Never" };
const NONE: ManagedSet = { groups: [], realmRoles: [], attributes: [] };
const TENANT = "acme";

/** `KEYCLOAK_URL` names a Keycloak; without it, the one of the stack `STACK_NAME`. */
function server(): KeycloakServer {
  const { KEYCLOAK_URL: url, KEYCLOAK_ADMIN: admin, KEYCLOAK_ADMIN_PASSWORD: password } = process.env;
  if (url !== undefined && admin !== undefined && password !== undefined) return { url, admin, password };
  const env = readStackEnv(process.env["STACK_NAME"] ?? "test");
  return { url: env.KEYCLOAK_URL, admin: env.KEYCLOAK_ADMIN, password: env.KEYCLOAK_ADMIN_PASSWORD };
}

/** A realm of its own, with a recording proxy in front of Keycloak. */
interface Bench extends TenantRealm {
  readonly proxy: RecordingProxy;
  /** A new saga worker's view: no token, nothing remembered. */
  fresh(change?: { clientSecret?: string; realm?: string; url?: string; caBundle?: string }): Realm;
}

async function bench(options: Partial<RealmOptions> = {}): Promise<Bench> {
  const realm = await tenantRealm(server(), { realm: `contract-${randomUUID().slice(0, 8)}`, ...options });
  const proxy = await recordingProxy(realm.url);
  return {
    ...realm,
    proxy,
    fresh: (change = {}) =>
      makeRealm({
        url: change.url ?? proxy.url,
        realm: change.realm ?? realm.realm,
        clientID: realm.clientID,
        clientSecret: new Sensitive(change.clientSecret ?? realm.clientSecret),
        clock: systemClock,
        caBundle: change.caBundle,
      }),
    remove: async () => {
      await proxy[Symbol.asyncDispose]();
      await realm.remove();
    },
  };
}

async function ownBench(options: Partial<RealmOptions> = {}): Promise<Bench> {
  const made = await bench(options);
  onTestFinished(() => made.remove());
  return made;
}

function person(change: Partial<DesiredUser> = {}): DesiredUser {
  const uuid = change.uuid ?? randomUUID();
  return {
    uuid,
    tenantID: TENANT,
    email: `p-${uuid.slice(0, 8)}@example.org`,
    enabled: true,
    defaultGroups: ["sme-users"],
    managedBefore: NONE,
    ...change,
  };
}

async function refusal(work: Promise<unknown>): Promise<SagaError> {
  try {
    await work;
  } catch (error) {
    if (isSagaError(error)) return error;
    throw error;
  }
  throw new Error("expected a refusal");
}

let b: Bench;
let realm: Realm;

async function read(id: string) {
  const user = await b.admin.users.findOne({ id });
  if (user === undefined) throw new Error(`no user ${id}`);
  return user;
}

async function paths(id: string): Promise<string[]> {
  return (await b.admin.users.listGroups({ id })).flatMap(({ path }) => path ?? []).toSorted();
}

async function realmRoles(id: string): Promise<string[]> {
  const roles = await b.admin.users.listRealmRoleMappings({ id });
  return roles.flatMap(({ name }) => (name === undefined || name.startsWith("default-roles") ? [] : [name])).toSorted();
}

/** A user that was there before us, or was made by hand. */
async function unmanagedUser(representation: Parameters<TenantRealm["admin"]["users"]["create"]>[0]) {
  const { id } = await b.admin.users.create({ enabled: true, ...representation });
  return id;
}

beforeAll(async () => {
  b = await bench({
    groups: ["/sme-users", "/eng", "/eng/core", "/ops", "/admins", "/admins/night", "/bosses"],
    realmRoles: ["reader", "writer", "boss"],
  });
  await grantRealmManagement(b.admin, { group: b.groups.get("/admins") ?? "" }, ["manage-users"]);
  await grantRealmManagement(b.admin, { realmRole: "boss" }, ["view-users"]);
  const boss = await b.admin.roles.findOneByName({ name: "boss" });
  await b.admin.groups.addRealmRoleMappings({
    id: b.groups.get("/bosses") ?? "",
    roles: [{ id: boss?.id ?? "", name: "boss" }],
  });
  realm = b.fresh();
}, 120_000);

afterAll(() => b?.remove());

afterEach(() => {
  b.proxy.interfere = () => undefined;
  b.proxy.calls.length = 0;
});

describe("ensuring a user", () => {
  test("creates it with the email as username, both marks, default and wanted groups, names and roles", async () => {
    const wanted = person({
      firstName: "Ada",
      lastName: "Lovelace",
      displayName: "Ada L.",
      groups: ["/eng/core"],
      realmRoles: ["reader"],
      attributes: { team: ["x", "y"] },
      requiredActions: ["UPDATE_PASSWORD"],
    });
    const ensured = await realm.ensureUser(wanted, undefined, NEVER, never);
    expect(ensured).toMatchObject({ created: true, adopted: false, changed: true, usernameKept: false });
    expect(ensured.managed).toEqual({
      groups: ["/eng/core", "/sme-users"],
      realmRoles: ["reader"],
      attributes: ["displayName", "firstName", "lastName", "team"],
    });
    const user = await read(ensured.userID);
    expect(user).toMatchObject({
      username: wanted.email,
      email: wanted.email,
      emailVerified: true,
      enabled: true,
      firstName: "Ada",
      lastName: "Lovelace",
      requiredActions: ["UPDATE_PASSWORD"],
    });
    expect(user.attributes).toEqual({
      sme_tenant_id: [TENANT],
      sme_user_uuid: [wanted.uuid],
      displayName: ["Ada L."],
      team: expect.arrayContaining(["x", "y"]),
    });
    expect(await paths(ensured.userID)).toEqual(["/eng/core", "/sme-users"]);
    expect(await realmRoles(ensured.userID)).toEqual(["reader"]);
  });

  test("sends the uuid as X-Idempotency-Key with every call and logs in once", async () => {
    const wanted = person();
    const own = b.fresh();
    await own.ensureUser(wanted, undefined, NEVER, never);
    await own.ensureUser(wanted, undefined, NEVER, never);
    const calls = b.proxy.calls.filter(({ path }) => path.startsWith("/admin/"));
    expect(calls.length).toBeGreaterThan(3);
    for (const call of calls) expect(call.headers["x-idempotency-key"]).toBe(wanted.uuid);
    expect(b.proxy.logins()).toBe(1);
  });

  test("logs in once for fifty sagas at the same time", async () => {
    const own = b.fresh();
    await Promise.all(Array.from({ length: 50 }, () => own.ensureUser(person(), undefined, NEVER, never)));
    expect(b.proxy.logins()).toBe(1);
  });

  test("writes nothing the second time, with or without the id", async () => {
    const wanted = person({
      displayName: "Bo",
      groups: ["/eng"],
      realmRoles: ["writer"],
      attributes: { team: ["b", "a"] },
    });
    const first = await realm.ensureUser(wanted, undefined, NEVER, never);
    b.proxy.calls.length = 0;
    const again = { ...wanted, managedBefore: first.managed };
    const byHint = await realm.ensureUser(again, first.userID, NEVER, never);
    const byMark = await b.fresh().ensureUser(again, undefined, NEVER, never);
    expect(b.proxy.writes()).toEqual([]);
    expect(byHint).toMatchObject({ userID: first.userID, created: false, changed: false, managed: first.managed });
    expect(byMark).toEqual(byHint);
  });

  test("makes two calls at rest for a user that is as it should be", async () => {
    const wanted = person();
    const { userID, managed } = await realm.ensureUser(wanted, undefined, NEVER, never);
    b.proxy.calls.length = 0;
    await realm.ensureUser({ ...wanted, managedBefore: managed }, userID, NEVER, never);
    expect(b.proxy.calls.map(({ method }) => method)).toEqual(["GET", "GET"]);
  });

  test("does not believe an id that names somebody else", async () => {
    const other = await realm.ensureUser(person(), undefined, NEVER, never);
    const wanted = person();
    const mine = await realm.ensureUser(wanted, undefined, NEVER, never);
    const before = await read(other.userID);
    expect(await realm.ensureUser(wanted, other.userID, NEVER, never)).toMatchObject({ userID: mine.userID });
    expect(await realm.ensureUser(wanted, randomUUID(), NEVER, never)).toMatchObject({ userID: mine.userID });
    expect(await read(other.userID)).toEqual(before);
  });

  test("finds its user after a create whose answer was lost", async () => {
    const wanted = person();
    let cut = false;
    b.proxy.interfere = (method, path) => {
      if (!cut && method === "GET" && /\/users\/[0-9a-f-]{36}$/.test(path)) {
        cut = true;
        return { status: 502, type: "text/html", body: "<html>Bad gateway</html>" };
      }
      return undefined;
    };
    expect((await refusal(realm.ensureUser(wanted, undefined, NEVER, never))).class).toBe("transient");
    expect(await realm.ensureUser(wanted, undefined, NEVER, never)).toMatchObject({ created: false });
    expect(await b.admin.users.find({ email: wanted.email })).toHaveLength(1);
  });

  test("makes one user when two workers race", async () => {
    const wanted = person();
    const [one, two] = await Promise.all([
      b.fresh().ensureUser(wanted, undefined, NEVER, never),
      b.fresh().ensureUser(wanted, undefined, NEVER, never),
    ]);
    expect(one.userID).toBe(two.userID);
  });
});

describe("a rush of new users", () => {
  const searches = () => b.proxy.calls.filter(({ path }) => path.includes("q=sme_user_uuid")).length;
  const lists = () => b.proxy.calls.filter(({ path }) => path.includes("q=sme_tenant_id")).length;
  const come = (on: Realm, user: DesiredUser, newIn: number | undefined) =>
    on.ensureUser(user, undefined, { ...NEVER, newIn }, never);

  test("is held against one list, and one whose marks are there already is still found", async () => {
    const rushed = b.fresh();
    const old = person({ tenantID: "rush" });
    const before = await come(rushed, old, undefined);
    for (let n = 0; n < 25; n += 1) await come(rushed, person({ tenantID: "rush" }), 7);
    b.proxy.calls.length = 0;
    for (let n = 0; n < 3; n += 1) {
      expect(await come(rushed, person({ tenantID: "rush" }), 7)).toMatchObject({ created: true });
    }
    expect([lists(), searches()]).toEqual([1, 0]);
    // After a lost database: whoever carries the uuid is not made a second time, whatever the address is by now.
    const moved = { ...old, email: `moved-${old.email}` };
    expect(await come(rushed, moved, 7)).toMatchObject({ userID: before.userID, created: false });
    expect(await come(rushed, moved, 7)).toMatchObject({ userID: before.userID, created: false });
    expect(searches()).toBe(2);
  }, 60_000);

  test("is searched for where something was begun before, and after Keycloak was away", async () => {
    const rushed = b.fresh();
    for (let n = 0; n < 26; n += 1) await come(rushed, person({ tenantID: "rush2" }), 7);
    b.proxy.calls.length = 0;
    await come(rushed, person({ tenantID: "rush2" }), undefined);
    expect(searches()).toBe(1);
    b.proxy.interfere = (method, path) =>
      method === "POST" && /\/users\/?$/.test(path) ? { status: 503, type: "text/plain", body: "away" } : undefined;
    await refusal(come(rushed, person({ tenantID: "rush2" }), 7));
    b.proxy.interfere = () => undefined;
    await come(rushed, person({ tenantID: "rush2" }), 7);
    expect(searches()).toBe(2);
  }, 60_000);
});

describe("correcting a user", () => {
  test("changes what differs and keeps what others wrote", async () => {
    const wanted = person({ firstName: "Old", attributes: { team: ["x"] } });
    const { userID, managed } = await realm.ensureUser(wanted, undefined, NEVER, never);
    const before = await read(userID);
    await b.admin.users.update(
      { id: userID },
      { ...before, lastName: "ByHand", attributes: { ...before.attributes, theirs: ["1"] }, enabled: false },
    );
    const next = { ...wanted, firstName: "New", attributes: { role: ["y"] }, managedBefore: managed };
    const ensured = await realm.ensureUser(next, userID, NEVER, never);
    expect(ensured).toMatchObject({ created: false, changed: true });
    const after = await read(userID);
    expect(after).toMatchObject({ firstName: "New", lastName: "ByHand", enabled: true, email: wanted.email });
    expect(after.attributes).toEqual({
      sme_tenant_id: [TENANT],
      sme_user_uuid: [wanted.uuid],
      theirs: ["1"],
      role: ["y"],
    });
  });

  test("takes away only what it gave, unless the spec says none", async () => {
    const wanted = person({ groups: ["/eng"], realmRoles: ["reader"] });
    const first = await realm.ensureUser(wanted, undefined, NEVER, never);
    const id = first.userID;
    await b.admin.users.addToGroup({ id, groupId: b.groups.get("/ops") ?? "" });
    const writer = await b.admin.roles.findOneByName({ name: "writer" });
    await b.admin.users.addRealmRoleMappings({ id, roles: [{ id: writer?.id ?? "", name: "writer" }] });

    const moved = await realm.ensureUser(
      { ...wanted, groups: ["/eng/core"], realmRoles: undefined, managedBefore: first.managed },
      id,
      NEVER,
      never,
    );
    expect(await paths(id)).toEqual(["/eng/core", "/ops", "/sme-users"]);
    expect(await realmRoles(id)).toEqual(["writer"]);
    expect(moved.managed).toMatchObject({ groups: ["/eng/core", "/sme-users"], realmRoles: [] });

    const none = await realm.ensureUser(
      { ...wanted, groups: [], realmRoles: [], managedBefore: moved.managed },
      id,
      NEVER,
      never,
    );
    expect(await paths(id)).toEqual(["/sme-users"]);
    expect(await realmRoles(id)).toEqual([]);
    expect(none.managed).toMatchObject({ groups: ["/sme-users"], realmRoles: [] });
    const defaults = await b.admin.users.listRealmRoleMappings({ id });
    expect(defaults.map(({ name }) => name)).toEqual([`default-roles-${b.realm}`]);
  });

  test("tells of each write once it is made, and of nothing when nothing is", async () => {
    const told: string[][] = [];
    const telling = { ...NEVER, wrote: (...write: string[]) => void told.push(write) };
    const wanted = person({ groups: ["/eng/core"] });
    const { userID, managed } = await realm.ensureUser(wanted, undefined, telling, never);
    expect(told).toEqual([["created", userID]]);
    const again = { ...wanted, managedBefore: managed };
    await realm.ensureUser(again, userID, telling, never);
    expect(told).toHaveLength(1);
    await realm.ensureUser({ ...again, firstName: "Ada", groups: [] }, userID, telling, never);
    expect(told.slice(1)).toEqual([["updated", userID]]);
  });

  test("brings back a default group that somebody took away", async () => {
    const wanted = person();
    const { userID, managed } = await realm.ensureUser(wanted, undefined, NEVER, never);
    await b.admin.users.delFromGroup({ id: userID, groupId: b.groups.get("/sme-users") ?? "" });
    const ensured = await realm.ensureUser({ ...wanted, managedBefore: managed }, userID, NEVER, never);
    expect(ensured.changed).toBe(true);
    expect(await paths(userID)).toEqual(["/sme-users"]);
  });

  test("changes the email and keeps the username where the realm keeps it", async () => {
    const wanted = person();
    const { userID } = await realm.ensureUser(wanted, undefined, NEVER, never);
    const moved = { ...wanted, email: `new-${wanted.email}` };
    expect(await realm.ensureUser(moved, userID, NEVER, never)).toMatchObject({ changed: true, usernameKept: true });
    expect(await read(userID)).toMatchObject({ email: moved.email, username: wanted.email, emailVerified: true });
    expect(await realm.ensureUser(moved, userID, NEVER, never)).toMatchObject({ changed: false, usernameKept: true });
  });

  test("lets the username follow where the realm allows it", async () => {
    const own = await ownBench({ editUsernameAllowed: true });
    const wanted = person();
    const tenant = own.fresh();
    const { userID } = await tenant.ensureUser(wanted, undefined, NEVER, never);
    const moved = { ...wanted, email: `new-${wanted.email}` };
    expect(await tenant.ensureUser(moved, userID, NEVER, never)).toMatchObject({ changed: true, usernameKept: false });
    expect(await own.admin.users.findOne({ id: userID })).toMatchObject({ email: moved.email, username: moved.email });
  });

  test("waits for an address that a colleague still has, and refuses one that is an unmanaged user's", async () => {
    const colleague = person();
    await realm.ensureUser(colleague, undefined, NEVER, never);
    const wanted = person();
    const { userID } = await realm.ensureUser(wanted, undefined, NEVER, never);
    expect(await refusal(realm.ensureUser({ ...wanted, email: colleague.email }, userID, NEVER, never))).toMatchObject({
      class: "waiting",
      code: "EmailInUse",
    });
    const email = `s-${wanted.email}`;
    await unmanagedUser({ username: `stranger-${wanted.uuid}`, email });
    expect(await refusal(realm.ensureUser({ ...wanted, email }, userID, NEVER, never))).toMatchObject({
      class: "terminal",
      code: "UserClaimed",
    });
    expect(await read(userID)).toMatchObject({ email: wanted.email });
  });
});

describe("a user that stands in the way", () => {
  test.each([
    ["without marks, by email", (w: DesiredUser) => ({ username: `u-${w.uuid}`, email: w.email }), /adoption is Never/],
    ["without marks, by username", (w: DesiredUser) => ({ username: w.email }), /adoption is Never/],
    [
      "with one mark only",
      (w: DesiredUser) => ({ username: w.email, email: w.email, attributes: { sme_user_uuid: [w.uuid] } }),
      /only one of our two marks/,
    ],
  ])("%s is left as it is", async (_what, make, why) => {
    const wanted = person();
    const id = await unmanagedUser(make(wanted));
    const before = await read(id);
    for (const adoption of [NEVER, { policy: "Unclaimed", allowedGroups: [] } satisfies Adoption]) {
      if (adoption.policy === "Unclaimed" && /adoption/.test(why.source)) continue;
      const error = await refusal(realm.ensureUser(wanted, undefined, adoption, never));
      expect(error).toMatchObject({ class: "terminal", code: "UserClaimed", message: expect.stringMatching(why) });
    }
    expect(b.proxy.writes().filter((write) => !write.endsWith("/users/"))).toEqual([]);
    expect(await read(id)).toEqual(before);
  });

  test("of our tenant under another uuid makes this one wait", async () => {
    const first = person();
    const { userID } = await realm.ensureUser(first, undefined, NEVER, never);
    const error = await refusal(realm.ensureUser(person({ email: first.email }), undefined, NEVER, never));
    const holder = { tenantID: TENANT, uuid: first.uuid, userID };
    expect(error).toMatchObject({ class: "waiting", code: "EmailInUse", holder });
  });

  test("of another tenant makes this one wait too, is not told of, and frees the address when it goes", async () => {
    const wanted = person();
    const attributes = { sme_tenant_id: ["rival-co"], sme_user_uuid: [wanted.uuid] };
    const id = await unmanagedUser({ username: wanted.email, email: wanted.email, attributes });
    const before = await read(id);
    const mine = await realm.ensureUser(person(), undefined, NEVER, never);
    for (const [user, hint] of [
      [wanted, undefined],
      [{ ...wanted, uuid: randomUUID() }, mine.userID],
    ] as const) {
      const error = await refusal(realm.ensureUser(user, hint, NEVER, never));
      const holder = { tenantID: "rival-co", uuid: wanted.uuid, userID: id };
      expect(error).toMatchObject({ class: "waiting", code: "EmailInUse", holder });
      expect(error.message).toMatch(/another tenant/);
      expect(error.message).not.toContain("rival-co");
    }
    expect(await read(id)).toEqual(before);
    await b.admin.users.del({ id });
    expect(await realm.ensureUser(wanted, undefined, NEVER, never)).toMatchObject({ created: true });
  });

  test("is never taken over after its marks were wiped, and the message says how to give it back", async () => {
    const wanted = person();
    const { userID } = await realm.ensureUser(wanted, undefined, NEVER, never);
    await b.admin.users.update({ id: userID }, { ...(await read(userID)), attributes: {} });
    const adoption: Adoption = { policy: "Unclaimed", allowedGroups: [] };
    const error = await refusal(realm.ensureUser(wanted, userID, adoption, never));
    expect(error).toMatchObject({
      code: "UserClaimed",
      message: expect.stringContaining(`sme_user_uuid=${wanted.uuid}`),
    });
    expect(await refusal(realm.deleteUser(wanted.uuid, TENANT, userID, never))).toMatchObject({ code: "UserClaimed" });
    expect((await read(userID)).attributes ?? {}).toEqual({});
  });
});

/** An account that may be adopted, but for what `more` says. */
async function proven(wanted: DesiredUser, more: object = {}): Promise<string> {
  return unmanagedUser({
    username: `u-${wanted.uuid}`,
    email: wanted.email,
    emailVerified: true,
    firstName: "There",
    attributes: { theirs: ["1"] },
    ...more,
  });
}

describe("adoption", () => {
  const unclaimed: Adoption = { policy: "Unclaimed", allowedGroups: ["/eng"] };

  test("takes over an account that nobody has a claim or a right on, and gives it back as it was", async () => {
    const wanted = person({ groups: ["/ops"], attributes: { team: ["x"] } });
    const id = await proven(wanted, { groups: ["/eng"] });
    const ensured = await realm.ensureUser(wanted, undefined, unclaimed, never);
    expect(ensured).toMatchObject({ userID: id, created: false, adopted: true, changed: true });
    expect(ensured.managed.groups).toEqual(["/ops", "/sme-users"]);
    expect(await read(id)).toMatchObject({ username: `u-${wanted.uuid}`, email: wanted.email, firstName: "There" });
    expect(await paths(id)).toEqual(["/eng", "/ops", "/sme-users"]);

    const again = { ...wanted, managedBefore: ensured.managed };
    b.proxy.calls.length = 0;
    expect(await b.fresh().ensureUser(again, undefined, unclaimed, never)).toMatchObject({
      userID: id,
      adopted: true,
      changed: false,
      managed: ensured.managed,
    });
    expect(b.proxy.writes()).toEqual([]);

    const moved = { ...again, email: `new-${wanted.email}`, enabled: false };
    await realm.ensureUser(moved, id, unclaimed, never);
    expect(await realm.setEnabled(wanted.uuid, TENANT, id, false, never)).toBe(true);
    expect(await read(id)).toMatchObject({ email: wanted.email, enabled: true });

    await realm.releaseUser(wanted.uuid, TENANT, id, ensured.managed, never);
    await realm.releaseUser(wanted.uuid, TENANT, id, ensured.managed, never);
    expect(await paths(id)).toEqual(["/eng"]);
    expect(await read(id)).toMatchObject({ email: wanted.email, enabled: true, firstName: "There" });
    expect((await read(id)).attributes).toEqual({ theirs: ["1"] });
  });

  test("is remembered upstream: a delete by somebody who does not know releases", async () => {
    const wanted = person();
    const id = await proven(wanted);
    await realm.ensureUser(wanted, undefined, unclaimed, never);
    await realm.deleteUser(wanted.uuid, TENANT, id, never);
    expect((await read(id)).attributes).toEqual({ theirs: ["1"] });
  });

  test("refuses an account with a role, a foreign group, an unproven address or another one", async () => {
    const cases: [object, (id: string) => Promise<unknown>, RegExp][] = [
      [{ emailVerified: false }, () => Promise.resolve(), /not verified/],
      [{ groups: ["/ops"] }, () => Promise.resolve(), /group \/ops/],
      [
        {},
        async (id) => {
          const role = await b.admin.roles.findOneByName({ name: "reader" });
          await b.admin.users.addRealmRoleMappings({ id, roles: [{ id: role?.id ?? "", name: "reader" }] });
        },
        /realm role reader/,
      ],
      [{}, (id) => grantRealmManagement(b.admin, { user: id }, ["view-users"]), /administrator's role/],
      [{ groups: ["/bosses"] }, () => Promise.resolve(), /administrator's role/],
    ];
    for (const [more, then, why] of cases) {
      const wanted = person();
      const id = await proven(wanted, more);
      await then(id);
      const before = await read(id);
      const error = await refusal(realm.ensureUser(wanted, undefined, unclaimed, never));
      expect(error).toMatchObject({ class: "terminal", code: "UserClaimed", message: expect.stringMatching(why) });
      expect(await read(id)).toEqual(before);
    }
    const wanted = person();
    await unmanagedUser({ username: wanted.email, email: `else-${wanted.email}`, emailVerified: true });
    expect((await refusal(realm.ensureUser(wanted, undefined, unclaimed, never))).message).toMatch(/another one/);
  });

  test("can be foreseen: everybody of the realm who is not ours, with what stands in the way; nothing is written", async () => {
    const own = await ownBench({ groups: ["/sme-users", "/eng", "/ops"], realmRoles: [] });
    const made = own.fresh();
    await made.ensureUser(person(), undefined, unclaimed, never);
    const add = (email: string, more: object) =>
      own.admin.users.create({ username: email, email, enabled: true, emailVerified: true, ...more });
    const { id } = await add("ada@example.org", { firstName: "Ada", groups: ["/eng"], enabled: false });
    await add("bob@example.org", { emailVerified: false });
    await add("cy@example.org", { groups: ["/ops"] });
    await own.admin.users.create({ username: "nomail", enabled: true });
    await add("forged@example.org", { attributes: { sme_tenant_id: [TENANT] } });
    own.proxy.calls.length = 0;
    const page = await made.unmanagedUsers({ first: 0, allowedGroups: ["/eng", "/sme-users"] }, never);
    expect(own.proxy.writes()).toEqual([]);
    expect(page.next).toBeUndefined();
    const obstacles = new Map(
      page.unmanagedUsers.map(({ email, username, obstacle }) => [email ?? username, obstacle]),
    );
    expect(obstacles).toEqual(
      new Map([
        ["ada@example.org", undefined],
        ["bob@example.org", "its email is not verified"],
        ["cy@example.org", "it is a member of group /ops, which the Tenant does not allow"],
        ["nomail", "it has no email"],
      ]),
    );
    expect(page.unmanagedUsers.find((each) => each.id === id)).toMatchObject({ enabled: false, firstName: "Ada" });
    expect(await made.unmanagedUsers({ first: 50, allowedGroups: [] }, never)).toEqual({
      unmanagedUsers: [],
      next: undefined,
    });
  });
});

describe("privileges", () => {
  test.each(["/admins", "/admins/night", "/bosses"])("refuses group %s, which makes administrators", async (group) => {
    const wanted = person({ groups: [group] });
    const error = await refusal(realm.ensureUser(wanted, undefined, NEVER, never));
    expect(error).toMatchObject({ class: "terminal", code: "NotAllowed", message: expect.stringContaining(group) });
    expect(await b.admin.users.find({ email: wanted.email })).toEqual([]);

    const plain = await realm.ensureUser({ ...wanted, groups: undefined }, undefined, NEVER, never);
    expect((await refusal(realm.ensureUser(wanted, plain.userID, NEVER, never))).code).toBe("NotAllowed");
    expect(await paths(plain.userID)).toEqual(["/sme-users"]);
  });

  test("refuses a realm role that contains one of realm-management", async () => {
    const wanted = person();
    const { userID } = await realm.ensureUser(wanted, undefined, NEVER, never);
    const error = await refusal(realm.ensureUser({ ...wanted, realmRoles: ["boss"] }, userID, NEVER, never));
    expect(error).toMatchObject({ code: "NotAllowed", message: expect.stringContaining("role boss") });
    expect(await realmRoles(userID)).toEqual([]);
  });

  test("touches no administrator, whatever its marks say", async () => {
    const wanted = person();
    const { userID } = await realm.ensureUser(wanted, undefined, NEVER, never);
    await grantRealmManagement(b.admin, { user: userID }, ["realm-admin"]);
    const before = await read(userID);
    b.proxy.calls.length = 0;
    for (const work of [
      () => realm.ensureUser({ ...wanted, firstName: "Eve" }, userID, NEVER, never),
      () => realm.setEnabled(wanted.uuid, TENANT, userID, false, never),
      () => realm.deleteUser(wanted.uuid, TENANT, userID, never),
    ]) {
      expect(await refusal(work())).toMatchObject({ class: "terminal", code: "NotAllowed" });
    }
    expect(b.proxy.writes()).toEqual([]);
    expect(await read(userID)).toEqual(before);
  });

  test("names a group or role that does not exist", async () => {
    expect(await refusal(realm.ensureUser(person({ groups: ["/nope"] }), undefined, NEVER, never))).toMatchObject({
      class: "terminal",
      code: "MissingGroup",
      message: expect.stringContaining("/nope"),
    });
    expect(await refusal(realm.ensureUser(person({ realmRoles: ["nope"] }), undefined, NEVER, never))).toMatchObject({
      class: "terminal",
      code: "MissingRole",
    });
    expect(await refusal(realm.ensureUser(person({ defaultGroups: ["gone"] }), undefined, NEVER, never))).toMatchObject(
      {
        class: "waiting",
        code: "TenantNotReady",
        message: expect.stringContaining("/gone"),
      },
    );
  });

  test("says what is wrong with an email", async () => {
    const error = await refusal(realm.ensureUser(person({ email: "not an address" }), undefined, NEVER, never));
    expect(error).toMatchObject({ class: "terminal", code: "RequestRefused", upstreamStatus: 400 });
    expect(error.message).toContain("email is not an address that Keycloak takes");
  });
});

describe("taking away", () => {
  test("disables, enables and deletes ours, and is content when it is gone", async () => {
    const wanted = person({ attributes: { team: ["x"] }, firstName: "Ada" });
    const { userID } = await realm.ensureUser(wanted, undefined, NEVER, never);
    const before = await read(userID);
    expect(await realm.findUser(wanted.uuid, TENANT, never)).toBe(userID);
    expect(await realm.setEnabled(wanted.uuid, TENANT, userID, false, never)).toBe(true);
    expect(await read(userID)).toEqual({ ...before, enabled: false });
    expect(await realm.setEnabled(wanted.uuid, TENANT, userID, false, never)).toBe(true);
    expect(await realm.setEnabled(wanted.uuid, TENANT, userID, true, never)).toBe(true);
    expect(await read(userID)).toEqual(before);
    await realm.deleteUser(wanted.uuid, TENANT, userID, never);
    await realm.deleteUser(wanted.uuid, TENANT, userID, never);
    expect(await b.admin.users.find({ email: wanted.email })).toEqual([]);
    expect(await realm.setEnabled(wanted.uuid, TENANT, userID, true, never)).toBe(false);
    expect(await realm.findUser(wanted.uuid, TENANT, never)).toBeUndefined();
  });

  test("deletes nobody by an id or a mark alone", async () => {
    const wanted = person();
    const { userID } = await realm.ensureUser(wanted, undefined, NEVER, never);
    await realm.deleteUser(randomUUID(), TENANT, userID, never);
    await realm.deleteUser(wanted.uuid, "other", userID, never);
    expect(await realm.setEnabled(wanted.uuid, "other", userID, false, never)).toBe(false);
    expect(await read(userID)).toMatchObject({ enabled: true });
  });

  test("takes a proxy's 404 for no answer, never for a user that is gone", async () => {
    const wanted = person();
    const { userID } = await realm.ensureUser(wanted, undefined, NEVER, never);
    b.proxy.interfere = () => ({ status: 404, type: "text/html", body: "<html>default backend - 404</html>" });
    expect(await refusal(realm.deleteUser(wanted.uuid, TENANT, userID, never))).toMatchObject({ class: "transient" });
    b.proxy.interfere = () => ({ status: 404, type: "text/plain", body: "" });
    expect(await refusal(realm.deleteUser(wanted.uuid, TENANT, userID, never))).toMatchObject({ class: "transient" });
    b.proxy.interfere = () => ({ status: 200, type: "text/html", body: "<html>Welcome</html>" });
    expect(await refusal(realm.deleteUser(wanted.uuid, TENANT, userID, never))).toMatchObject({ class: "transient" });
  });

  test("finds the uuid that an email of our tenant carries", async () => {
    const wanted = person();
    await realm.ensureUser(wanted, undefined, NEVER, never);
    expect(await realm.uuidByEmail(wanted.email, TENANT, never)).toBe(wanted.uuid);
    expect(await realm.uuidByEmail(wanted.email, "other", never)).toBeUndefined();
    expect(await realm.uuidByEmail(`no-${wanted.email}`, TENANT, never)).toBeUndefined();
  });

  test("says why an invitation could not be sent", async () => {
    const { userID } = await realm.ensureUser(person(), undefined, NEVER, never);
    const error = await refusal(realm.invite(userID, ["UPDATE_PASSWORD"], never));
    expect(error).toMatchObject({ upstream: "keycloak", upstreamStatus: 500 });
    expect(error.message).toContain("Failed to send execute actions email");
  });
});

describe("credentials and connection", () => {
  test("renews a token that Keycloak no longer takes, once, and asks again", async () => {
    const own = b.fresh();
    const wanted = person();
    await own.ensureUser(wanted, undefined, NEVER, never);
    let refused = 0;
    b.proxy.calls.length = 0;
    b.proxy.interfere = (_method, path) =>
      path.startsWith("/admin/") && refused++ === 0
        ? { status: 401, type: "application/json", body: '{"error":"HTTP 401 Unauthorized"}' }
        : undefined;
    expect(await own.findUser(wanted.uuid, TENANT, never)).toBeDefined();
    expect(b.proxy.logins()).toBe(1);
    b.proxy.calls.length = 0;
    b.proxy.interfere = (_method, path) =>
      path.startsWith("/admin/")
        ? { status: 401, type: "application/json", body: '{"error":"HTTP 401 Unauthorized"}' }
        : undefined;
    // The login is accepted, so the secret is right: nobody is told to renew it.
    const refused401 = await refusal(own.findUser(wanted.uuid, TENANT, never));
    expect(refused401).toMatchObject({ class: "transient", upstreamStatus: 401 });
    expect(refused401.message).not.toContain("secret");
    expect(b.proxy.logins()).toBe(1);
  });

  test("says that the secret is wrong, or the realm is not there, without the secret", async () => {
    const wrong = await refusal(b.fresh({ clientSecret: "wrong-secret-value" }).findUser(randomUUID(), TENANT, never));
    expect(wrong).toMatchObject({ class: "terminal", code: "CredentialsRefused", upstreamStatus: 401 });
    expect(JSON.stringify([wrong.message, wrong.body])).not.toContain("wrong-secret-value");
    expect(await refusal(b.fresh({ realm: "nowhere" }).findUser(randomUUID(), TENANT, never))).toMatchObject({
      class: "terminal",
      code: "RealmNotFound",
    });
    expect(await refusal(b.fresh({ url: `${b.proxy.url}/auth` }).findUser(randomUUID(), TENANT, never))).toMatchObject({
      class: "terminal",
      message: expect.stringContaining("spec.keycloak.url"),
    });
    expect(await refusal(b.fresh({ url: "http://127.0.0.1:1" }).findUser(randomUUID(), TENANT, never))).toMatchObject({
      class: "transient",
      code: "UpstreamUnavailable",
    });
  });

  test("obeys Retry-After's classes: 429 and 503 pass by themselves", async () => {
    for (const status of [429, 503]) {
      b.proxy.interfere = (_method, path) =>
        path.startsWith("/admin/") ? { status, type: "text/html", body: "<html>busy</html>" } : undefined;
      expect(await refusal(realm.findUser(randomUUID(), TENANT, never))).toMatchObject({
        class: "transient",
        upstreamStatus: status,
      });
    }
  });

  test("cuts a call by its signal", async () => {
    await realm.findUser(randomUUID(), TENANT, never);
    b.proxy.interfere = () => "hang";
    const started = Date.now();
    const error = await refusal(realm.findUser(randomUUID(), TENANT, AbortSignal.timeout(200)));
    expect(error.class).toBe("transient");
    expect(Date.now() - started).toBeLessThan(2000);
  });

  test("cuts one pending user's login without cutting the other's", async () => {
    const own = b.fresh();
    const cut = own.findUser(randomUUID(), TENANT, AbortSignal.timeout(1));
    const stays = own.findUser(randomUUID(), TENANT, never);
    expect((await refusal(cut)).class).toBe("transient");
    expect(await stays).toBeUndefined();
    expect(b.proxy.logins()).toBe(1);
  });

  test("ends a call after its deadline", { timeout: 20_000 }, async () => {
    await realm.findUser(randomUUID(), TENANT, never);
    b.proxy.interfere = () => "hang";
    const error = await refusal(realm.findUser(randomUUID(), TENANT, never));
    expect(error).toMatchObject({ class: "transient", message: expect.stringContaining("within 10 s") });
  });

  test("trusts a tenant's own CA for that tenant alone", async () => {
    const { private: key, cert } = await generate([{ name: "commonName", value: "127.0.0.1" }], {
      keyType: "ec",
      extensions: [
        { name: "basicConstraints", cA: true },
        { name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] },
      ],
    });
    await using tls = await recordingProxy(b.url, { key, cert });
    expect(await b.fresh({ url: tls.url, caBundle: cert }).findUser(randomUUID(), TENANT, never)).toBeUndefined();
    expect(await refusal(b.fresh({ url: tls.url }).findUser(randomUUID(), TENANT, never))).toMatchObject({
      class: "transient",
    });
    expect(() => b.fresh({ caBundle: "nonsense" })).toThrow(/caBundle/);
  });
});

describe("the user profile", () => {
  test("that drops the marks makes the saga wait before anything is made", async () => {
    const own = await ownBench({ profile: "DISABLED" });
    const wanted = person();
    const error = await refusal(own.fresh().ensureUser(wanted, undefined, NEVER, never));
    expect(error).toMatchObject({ class: "waiting", code: "TenantNotReady" });
    expect(error.message).toContain("unmanagedAttributePolicy=ADMIN_EDIT");
    expect(own.proxy.writes()).toEqual([]);
  });

  test("that begins to drop them between check and create leaves nobody behind", async () => {
    const own = await ownBench();
    const tenant = own.fresh();
    await tenant.ensureUser(person(), undefined, NEVER, never);
    await own.setProfile("DISABLED");
    const wanted = person();
    expect(await refusal(tenant.ensureUser(wanted, undefined, NEVER, never))).toMatchObject({
      class: "waiting",
      code: "AttributesDropped",
    });
    expect(await own.admin.users.find({ email: wanted.email })).toEqual([]);
    await own.setProfile("ADMIN_EDIT");
    expect(await tenant.ensureUser(wanted, undefined, NEVER, never)).toMatchObject({ created: true });
  });

  test("that keeps only the marks is enough, leaves out the display name, and names an attribute it would drop", async () => {
    const own = await ownBench({ profile: "declared" });
    const tenant = own.fresh();
    const wanted = person({ displayName: "Ada" });
    const first = await tenant.ensureUser(wanted, undefined, NEVER, never);
    expect(first.managed.attributes).toEqual([]);
    expect(
      await tenant.ensureUser({ ...wanted, managedBefore: first.managed }, first.userID, NEVER, never),
    ).toMatchObject({ changed: false });
    const error = await refusal(tenant.ensureUser({ ...wanted, attributes: { team: ["x"] } }, undefined, NEVER, never));
    expect(error).toMatchObject({
      class: "waiting",
      code: "AttributesDropped",
      message: expect.stringContaining("team"),
    });
    expect(
      (await tenant.check({ ...request, allowedGroups: [], allowedRealmRoles: [] }, never)).filter(blocks),
    ).toEqual([]);
  });

  test.each([["ENABLED"], ["declared-forgeable"]] as const)(
    "%s lets people forge the marks: refused",
    async (profile) => {
      const own = await ownBench({ profile });
      const wanted = person();
      // Somebody who may log in writes the marks of a person to come on itself.
      const { id } = await own.admin.users.create({
        username: "mallory",
        email: "mallory@example.org",
        emailVerified: true,
        firstName: "M",
        lastName: "M",
        enabled: true,
        credentials: [{ type: "password", value: "pw", temporary: false }],
      });
      expect(await forge(own, "mallory", "pw", { sme_tenant_id: [TENANT], sme_user_uuid: [wanted.uuid] })).toBe(204);
      expect((await own.admin.users.findOne({ id }))?.attributes).toMatchObject({ sme_user_uuid: [wanted.uuid] });

      const error = await refusal(own.fresh().ensureUser(wanted, undefined, NEVER, never));
      expect(error).toMatchObject({ class: "waiting", code: "TenantNotReady" });
      const problems = await own.fresh().check({ ...request, allowedGroups: [], allowedRealmRoles: [] }, never);
      expect(problems.filter(blocks).map(({ reason }) => reason)).toEqual(["MarksForgeable"]);
      expect(own.proxy.writes()).toEqual([]);
    },
  );

  test("that let people forge the marks is fixed, and the forged ones stay behind: of no use to anybody", async () => {
    const own = await ownBench({ profile: "ENABLED" });
    const email = "successor@example.org";
    const wanted = person({ email, uuid: candidateUUID(TENANT, email) });
    const forged = { attributes: { sme_tenant_id: [TENANT], sme_user_uuid: [wanted.uuid] }, enabled: true };
    const { id } = await own.admin.users.create({
      ...forged,
      username: "mallory",
      email: "m@example.org",
      emailVerified: true,
    });
    await own.setProfile("ADMIN_EDIT");
    const before = await own.admin.users.findOne({ id });
    const refused = await refusal(own.fresh().ensureUser(wanted, undefined, NEVER, never));
    expect(refused).toMatchObject({ class: "terminal", code: "UserClaimed", wrongAddress: true });
    expect(refused.message).toContain(id);
    expect(await own.admin.users.findOne({ id })).toEqual(before);

    // The very address, given by oneself, is worth no more.
    await own.admin.users.update({ id }, { ...before, email, emailVerified: false });
    const unproven = await refusal(own.fresh().ensureUser(wanted, undefined, NEVER, never));
    expect(unproven).toMatchObject({ class: "terminal", code: "UserClaimed", wrongAddress: false });
    expect(await own.admin.users.find({})).toHaveLength(1);
  });

  test("ENABLED is fine once both marks are declared for administrators only", async () => {
    const own = await ownBench({ profile: "protected" });
    const wanted = person();
    await own.admin.users.create({
      username: "mallory",
      email: "mallory@example.org",
      emailVerified: true,
      firstName: "M",
      lastName: "M",
      enabled: true,
      credentials: [{ type: "password", value: "pw", temporary: false }],
    });
    await forge(own, "mallory", "pw", { sme_tenant_id: [TENANT], sme_user_uuid: [wanted.uuid], sme_adopted: ["true"] });
    const tenant = own.fresh();
    expect(await tenant.ensureUser(wanted, undefined, NEVER, never)).toMatchObject({ created: true, adopted: false });
    expect(
      (await tenant.check({ ...request, allowedGroups: [], allowedRealmRoles: [] }, never)).filter(blocks),
    ).toEqual([]);
  });
});

/** Writes attributes through the account API, as the person itself. Answers the status. */
async function forge(own: Bench, username: string, password: string, attributes: object): Promise<number> {
  const login = await fetch(`${own.url}/realms/${own.realm}/protocol/openid-connect/token`, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "password", client_id: "admin-cli", username, password }),
  });
  const { access_token: token } = z.object({ access_token: z.string() }).parse(await login.json());
  const answer = await fetch(`${own.url}/realms/${own.realm}/account/`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ username, email: `${username}@example.org`, firstName: "M", lastName: "M", attributes }),
  });
  return answer.status;
}

/** As the person, with the account console's own API. */
async function writeOwnEmail(username: string, password: string, email: string): Promise<void> {
  const { access } = await logIn(username, password);
  const account = `${b.url}/realms/${b.realm}/account/`;
  const headers = { authorization: `Bearer ${access}`, "content-type": "application/json", accept: "application/json" };
  const mine = z.looseObject({}).parse(await (await fetch(account, { headers })).json());
  const answer = await fetch(account, { method: "POST", headers, body: JSON.stringify({ ...mine, email }) });
  expect(answer.status).toBe(204);
}

async function logIn(username: string, password: string): Promise<{ access: string; refresh: string }> {
  const answer = await fetch(`${b.url}/realms/${b.realm}/protocol/openid-connect/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "password",
      client_id: "admin-cli",
      scope: "openid offline_access",
      username,
      password,
    }),
  });
  const body = z.object({ access_token: z.string(), refresh_token: z.string() }).safeParse(await answer.json());
  if (!body.success) throw new Error(`no login: ${answer.status}`);
  return { access: body.data.access_token, refresh: body.data.refresh_token };
}

describe("a realm that allows duplicate emails", () => {
  test("says so, and nobody is made or moved beside a user who has the address", async () => {
    const own = await ownBench({ loginByMail: true });
    await own.admin.realms.update({ realm: own.realm }, { loginWithEmailAllowed: false, duplicateEmailsAllowed: true });
    const tenant = own.fresh();
    const found = await tenant.check({ defaultGroups: ["sme-users"], allowedGroups: [], allowedRealmRoles: [] }, never);
    expect(found).toContainEqual(expect.objectContaining({ reason: "DuplicateEmailsAllowed", blocking: false }));
    const wanted = person();
    await own.admin.users.create({ username: "somebody", email: wanted.email, enabled: true });
    expect(await refusal(tenant.ensureUser(wanted, undefined, NEVER, never))).toMatchObject({ code: "UserClaimed" });
    const other = person();
    const { userID } = await tenant.ensureUser(other, undefined, NEVER, never);
    const moved = { ...other, email: wanted.email };
    expect(await refusal(tenant.ensureUser(moved, userID, NEVER, never))).toMatchObject({ code: "UserClaimed" });
    const colleague = person({ email: other.email });
    expect(await refusal(tenant.ensureUser(colleague, undefined, NEVER, never))).toMatchObject({ code: "EmailInUse" });
    expect(await own.admin.users.find({})).toHaveLength(2);
  });
});

describe("an address that a person wrote into their own account", () => {
  async function made(change: Partial<DesiredUser> = {}) {
    const wanted = person({ firstName: "Mal", lastName: "Lory", ...change });
    const ensured = await realm.ensureUser(wanted, undefined, NEVER, never);
    const id = ensured.userID;
    await b.admin.users.resetPassword({ id, credential: { type: "password", value: "pw", temporary: false } });
    return { id, wanted: { ...wanted, managedBefore: ensured.managed } };
  }

  test("says of nobody whose account it is, nor does one of somebody who is locked out", async () => {
    const { id, wanted } = await made();
    const newUser = person();
    await writeOwnEmail(wanted.email, "pw", newUser.email);
    expect(await read(id)).toMatchObject({ email: newUser.email, emailVerified: false });
    expect(await realm.uuidByEmail(newUser.email, TENANT, never)).toBeUndefined();
    await b.admin.users.update({ id }, { ...(await read(id)), emailVerified: true });
    expect(await realm.uuidByEmail(newUser.email, TENANT, never)).toBe(wanted.uuid);
    await b.admin.users.update({ id }, { ...(await read(id)), enabled: false });
    expect(await realm.uuidByEmail(newUser.email, TENANT, never)).toBeUndefined();
  });

  test("is a drift, also when only the proof is gone, and is put back", async () => {
    const { id, wanted } = await made();
    expect(await realm.drifted([wanted], never)).toEqual([]);
    await writeOwnEmail(wanted.email, "pw", `next-${wanted.email}`);
    expect(await realm.drifted([wanted], never)).toEqual([wanted.uuid]);
    await writeOwnEmail(wanted.email, "pw", wanted.email);
    expect(await read(id)).toMatchObject({ email: wanted.email, emailVerified: false });
    expect(await realm.drifted([wanted], never)).toEqual([wanted.uuid]);
    await realm.ensureUser(wanted, id, NEVER, never);
    expect(await read(id)).toMatchObject({ email: wanted.email, emailVerified: true });
    expect(await realm.drifted([wanted], never)).toEqual([]);
  });

  test("keeps nobody waiting: the account gets its own back, or none where that is somebody else's by now", async () => {
    const { id, wanted } = await made();
    const newUser = person();
    await writeOwnEmail(wanted.email, "pw", newUser.email);
    const holder = { tenantID: TENANT, uuid: wanted.uuid, userID: id };
    expect(await refusal(realm.ensureUser(newUser, undefined, NEVER, never))).toMatchObject({ holder });
    expect(await realm.restoreEmail(holder, { email: wanted.email, vouched: true }, never)).toBe(true);
    expect(await read(id)).toMatchObject({ email: wanted.email, emailVerified: true });
    expect(await realm.restoreEmail(holder, { email: wanted.email, vouched: true }, never)).toBe(false);
    expect(await realm.ensureUser(newUser, undefined, NEVER, never)).toMatchObject({ created: true });

    await writeOwnEmail(wanted.email, "pw", person().email);
    expect(await realm.restoreEmail(holder, { email: wanted.email, vouched: false }, never)).toBe(true);
    expect(await read(id)).toMatchObject({ email: wanted.email, emailVerified: false });

    // Meanwhile the own address goes to an account that the same person registers.
    const second = person();
    const moved = { ...wanted, email: `moved-${wanted.email}` };
    await realm.ensureUser(moved, id, NEVER, never);
    await writeOwnEmail(wanted.email, "pw", second.email);
    await unmanagedUser({ username: `again-${wanted.uuid}`, email: moved.email });
    expect(await realm.restoreEmail(holder, { email: moved.email, vouched: true }, never)).toBe(true);
    expect((await read(id)).email).toBeUndefined();
    expect(await realm.ensureUser(second, undefined, NEVER, never)).toMatchObject({ created: true });

    const third = person();
    await b.admin.users.update({ id }, { ...(await read(id)), email: third.email, emailVerified: false });
    expect(await refusal(realm.ensureUser(moved, id, NEVER, never))).toMatchObject({ code: "UserClaimed" });
    expect(await realm.ensureUser(third, undefined, NEVER, never)).toMatchObject({ created: true });
  });

  test("is taken off an account that no row knows, unless it is verified, and off no other one", async () => {
    const { id, wanted } = await made();
    const newUser = person();
    await writeOwnEmail(wanted.email, "pw", newUser.email);
    const holder = { tenantID: TENANT, uuid: wanted.uuid, userID: id };
    expect(await realm.takeAddress({ ...holder, userID: randomUUID() }, newUser.email, never)).toBe(false);
    expect(await realm.takeAddress(holder, wanted.email, never)).toBe(false);
    await b.admin.users.update({ id }, { ...(await read(id)), emailVerified: true });
    expect(await realm.takeAddress(holder, newUser.email, never)).toBe(false);
    await b.admin.users.update({ id }, { ...(await read(id)), emailVerified: false });
    expect(await realm.takeAddress(holder, newUser.email, never)).toBe(true);
    expect((await read(id)).email).toBeUndefined();
    expect(await realm.ensureUser(newUser, undefined, NEVER, never)).toMatchObject({ created: true });
  });

  /** A group, a realm role and a client role that nobody committed. Returns the group's name. */
  async function giveByHand(id: string): Promise<string> {
    const name = `by-hand-${randomUUID().slice(0, 8)}`;
    const { id: groupId } = await b.admin.groups.create({ name });
    await b.admin.users.addToGroup({ id, groupId });
    const { roleName } = await b.admin.roles.create({ name });
    const { id: roleId = "" } = (await b.admin.roles.findOneByName({ name: roleName })) ?? {};
    await b.admin.users.addRealmRoleMappings({ id, roles: [{ id: roleId, name }] });
    const { id: clientUniqueId } = await b.admin.clients.create({ clientId: name });
    await b.admin.clients.createRole({ id: clientUniqueId, name });
    const { id: ofClient = "" } = (await b.admin.clients.findRole({ id: clientUniqueId, roleName: name })) ?? {};
    await b.admin.users.addClientRoleMappings({ id, clientUniqueId, roles: [{ id: ofClient, name }] });
    return name;
  }

  test("an account that passes to another person opens for that one alone", async () => {
    const { id, wanted } = await made();
    await b.admin.users.update(
      { id },
      { ...(await read(id)), requiredActions: [], attributes: { ...(await read(id)).attributes, theirs: ["1"] } },
    );
    const { refresh } = await logIn(wanted.email, "pw");
    expect(await b.admin.users.getCredentials({ id })).toHaveLength(1);
    const given = await giveByHand(id);
    const next = person({ uuid: wanted.uuid, email: `next-${wanted.email}`, requiredActions: ["UPDATE_PASSWORD"] });
    const told: string[] = [];
    const how = { ...NEVER, wrote: (action: string) => void told.push(action) };
    await realm.ensureUser({ ...next, reset: true }, id, how, never);
    expect(told).toEqual(["reset", "updated"]);
    expect(await b.admin.users.getCredentials({ id })).toEqual([]);
    expect(await b.admin.users.listSessions({ id })).toEqual([]);
    const names = (roles: readonly { name?: string }[] = []) => roles.map(({ name }) => name);
    const { realmMappings, clientMappings = {} } = await b.admin.users.listRoleMappings({ id });
    expect(names(realmMappings)).toEqual([`default-roles-${b.realm}`]);
    expect(clientMappings).toEqual({});
    expect(names(await b.admin.users.listGroups({ id }))).not.toContain(given);
    const user = await read(id);
    expect(user).toMatchObject({ email: next.email, emailVerified: true, enabled: true });
    expect(user.requiredActions).toEqual(["UPDATE_PASSWORD"]);
    expect([user.firstName ?? "", user.lastName ?? ""]).toEqual(["", ""]);
    await expect(logIn(wanted.email, "pw")).rejects.toThrow("no login");
    const renewal = await fetch(`${b.url}/realms/${b.realm}/protocol/openid-connect/token`, {
      method: "POST",
      body: new URLSearchParams({ grant_type: "refresh_token", client_id: "admin-cli", refresh_token: refresh }),
    });
    expect(renewal.status).toBe(400);
  });

  test("an account found by its marks alone, under the address its uuid was made of, is reset before it moves on", async () => {
    const email = `first-${randomUUID().slice(0, 8)}@example.org`;
    const { id, wanted } = await made({ uuid: candidateUUID(TENANT, email), email });
    const next = { ...wanted, email: `next-${email}` };
    expect(await b.fresh().ensureUser(next, undefined, NEVER, never)).toMatchObject({ userID: id, succeeded: true });
    expect(await b.admin.users.getCredentials({ id })).toEqual([]);
  });
});

const request: RealmCheck = {
  defaultGroups: ["sme-users"],
  allowedGroups: ["/eng/core"],
  allowedRealmRoles: ["reader"],
};
const blocks = ({ blocking }: { blocking: boolean }): boolean => blocking;

describe("the realm check", () => {
  test("finds nothing but the missing way to log in, which is only a warning", async () => {
    const problems = await realm.check(request, never);
    expect(problems).toEqual([
      { reason: "NoLoginPath", message: expect.any(String), blocking: false },
      { reason: "ProfileIncomplete", message: expect.stringContaining("firstName and lastName"), blocking: false },
    ]);
    expect(problems[0]?.message).toContain("view-identity-providers");
  });

  test("a realm says the same of itself under every address, and another one says something else", async () => {
    const own = await ownBench();
    const said = await own.fresh().identity(never);
    expect(await own.fresh({ url: own.url }).identity(never)).toBe(said);
    expect(await realm.identity(never)).not.toBe(said);
  });

  test("is content with mail and password reset", async () => {
    const own = await ownBench({ loginByMail: true });
    const { unmanagedAttributePolicy, attributes = [], ...rest } = await own.admin.users.getProfile();
    const optional = attributes.map(({ required: _required, ...attribute }) => attribute);
    await own.admin.users.updateProfile({ ...rest, unmanagedAttributePolicy, attributes: optional });
    expect(
      await own.fresh().check({ defaultGroups: ["sme-users"], allowedGroups: [], allowedRealmRoles: [] }, never),
    ).toEqual([]);
  });

  test("names missing and privileged groups and roles", async () => {
    const problems = await realm.check(
      {
        defaultGroups: ["sme-users", "gone"],
        allowedGroups: ["/admins/night", "/bosses", "/eng/nope"],
        allowedRealmRoles: ["boss", "nope"],
      },
      never,
    );
    expect(problems.filter(blocks).map(({ reason }) => reason)).toEqual([
      "MissingGroup",
      "PrivilegedGrant",
      "PrivilegedGrant",
      "MissingGroup",
      "PrivilegedGrant",
      "MissingRole",
    ]);
    expect(problems[0]?.message).toContain(`kcadm.sh create groups -r ${b.realm} -s name=gone`);
  });

  test("names each missing role of the service account, and sees it as soon as it is granted", async () => {
    const own = await ownBench();
    const wanted = { defaultGroups: ["sme-users"], allowedGroups: [], allowedRealmRoles: [] };
    const account = { user: own.serviceAccountID };
    for (const role of SERVICE_ACCOUNT_ROLES) {
      // view-users brings query-users and query-groups along: without one of those it goes too.
      const taken = role.startsWith("query-") ? [role, "view-users"] : [role];
      await revokeRealmManagement(own.admin, account, taken);
      const tenant = own.fresh();
      const problems = await tenant.check(wanted, never);
      expect(problems.every(({ reason }) => reason === "MissingRole")).toBe(true);
      expect(problems.some(({ message }) => message.includes(`--rolename ${role}`))).toBe(true);
      await grantRealmManagement(own.admin, account, taken);
      expect((await tenant.check(wanted, never)).filter(blocks)).toEqual([]);
    }
  });

  test("says that the realm or the credential is wrong, and throws only what passes by itself", async () => {
    expect(await b.fresh({ realm: "nowhere" }).check(request, never)).toMatchObject([{ reason: "RealmNotFound" }]);
    expect(await b.fresh({ clientSecret: "wrong" }).check(request, never)).toMatchObject([
      { reason: "CredentialsRefused" },
    ]);
    const away = await refusal(b.fresh({ url: "http://127.0.0.1:1" }).check(request, never));
    expect(away.class).toBe("transient");
  });
});

/** Logs in as the person would, and tells what Keycloak says. */
async function trySignIn(own: Bench, username: string, password: string): Promise<string> {
  const body = new URLSearchParams({ grant_type: "password", client_id: "people", username, password });
  const answer = await fetch(`${own.url}/realms/${own.realm}/protocol/openid-connect/token`, { method: "POST", body });
  const { error_description: why = "in" } = z
    .object({ error_description: z.string().optional() })
    .parse(await answer.json());
  return why;
}

async function lockingBench(protection: object): Promise<Bench> {
  const own = await ownBench();
  await own.admin.realms.update(
    { realm: own.realm },
    { bruteForceProtected: true, failureFactor: 2, quickLoginCheckMilliSeconds: 1, ...protection },
  );
  await own.admin.clients.create({ clientId: "people", publicClient: true, directAccessGrantsEnabled: true });
  return own;
}

async function failLogins(own: Bench, id: string, username: string): Promise<void> {
  const lockedOut = async () => {
    await trySignIn(own, username, "wrong");
    return z.object({ disabled: z.boolean() }).parse(await own.admin.attackDetection.findOne({ id })).disabled;
  };
  await expect.poll(lockedOut).toBe(true);
}

describe("a lockout by Keycloak", () => {
  test("for good is left and told, also by the drift check, until the spec has said enabled: false in between", async () => {
    const own = await lockingBench({ permanentLockout: true, maxTemporaryLockouts: 0 });
    const tenant = own.fresh();
    const wanted = person({ firstName: "Ada", lastName: "L" });
    const made = await tenant.ensureUser(wanted, undefined, NEVER, never);
    expect(made.lockedOut).toBe(false);
    await failLogins(own, made.userID, wanted.email);

    expect(await tenant.drifted([wanted], never)).toEqual([wanted.uuid]);
    const changed = { ...wanted, managedBefore: made.managed, firstName: "Augusta" };
    const left = await tenant.ensureUser(changed, made.userID, NEVER, never);
    expect(left.lockedOut).toBe(true);
    const locked = await own.admin.users.findOne({ id: made.userID });
    expect(locked).toMatchObject({ enabled: false, firstName: "Augusta" });
    expect(locked?.attributes?.["disabledReason"]).toEqual(["permanentLockout"]);
    // Told once, it is at rest.
    expect(await tenant.drifted([{ ...changed, saidLockedOut: true }], never)).toEqual([]);

    const disabled = await tenant.ensureUser({ ...changed, enabled: false }, made.userID, NEVER, never);
    expect(disabled).toMatchObject({ lockedOut: false, changed: true });
    const enabled = await tenant.ensureUser(changed, made.userID, NEVER, never);
    expect(enabled.lockedOut).toBe(false);
    const back = await own.admin.users.findOne({ id: made.userID });
    expect(back?.enabled).toBe(true);
    expect(back?.attributes?.["disabledReason"]).toBeUndefined();
    expect(await tenant.drifted([changed], never)).toEqual([]);
  });

  test("that somebody lifted in Keycloak is told of no longer", async () => {
    const own = await lockingBench({ permanentLockout: true, maxTemporaryLockouts: 0 });
    const tenant = own.fresh();
    const wanted = person();
    const { userID } = await tenant.ensureUser(wanted, undefined, NEVER, never);
    await failLogins(own, userID, wanted.email);
    await own.admin.users.update({ id: userID }, { enabled: true });
    expect(await tenant.drifted([{ ...wanted, saidLockedOut: true }], never)).toEqual([wanted.uuid]);
    expect(await tenant.ensureUser(wanted, userID, NEVER, never)).toMatchObject({ lockedOut: false, changed: false });
  });

  test("for a time outlasts whatever is corrected meanwhile", async () => {
    const own = await lockingBench({ permanentLockout: false, waitIncrementSeconds: 600 });
    const tenant = own.fresh();
    const wanted = person();
    const { userID } = await tenant.ensureUser(wanted, undefined, NEVER, never);
    await failLogins(own, userID, wanted.email);
    expect((await tenant.ensureUser({ ...wanted, firstName: "Ada" }, userID, NEVER, never)).changed).toBe(true);
    expect(await own.admin.attackDetection.findOne({ id: userID })).toMatchObject({ disabled: true });
    const user = await own.admin.users.findOne({ id: userID });
    const { enabled: _enabled, ...rest } = { ...user, email: `else-${wanted.email}`, emailVerified: false };
    await own.admin.users.update({ id: userID }, rest);
    expect(await own.admin.attackDetection.findOne({ id: userID })).toMatchObject({ disabled: true });
    const holder = { tenantID: TENANT, uuid: wanted.uuid, userID };
    expect(await tenant.restoreEmail(holder, { email: wanted.email, vouched: true }, never)).toBe(true);
    expect(await own.admin.attackDetection.findOne({ id: userID })).toMatchObject({ disabled: true });
  });
});

describe("groups and roles go by their ids", () => {
  test("a top group called ops/eu is never taken for the group eu below ops, nor the other way round", async () => {
    const own = await ownBench({ groups: ["/sme-users", "/ops/eu"] });
    const { id: named } = await own.admin.groups.create({ name: "ops/eu" });
    const nested = own.groups.get("/ops/eu") ?? "";
    const groupIDs = async (id: string) => (await own.admin.users.listGroups({ id })).map((group) => group.id ?? "");
    const tenant = own.fresh();

    const wanted = person({ groups: ["/ops/eu"] });
    const made = await tenant.ensureUser(wanted, undefined, NEVER, never);
    expect(await groupIDs(made.userID)).toContain(nested);
    await own.admin.users.delFromGroup({ id: made.userID, groupId: nested });
    await own.admin.users.addToGroup({ id: made.userID, groupId: named });
    expect(await tenant.drifted([wanted], never)).toEqual([wanted.uuid]);
    await tenant.ensureUser(wanted, made.userID, NEVER, never);
    expect(new Set(await groupIDs(made.userID))).toEqual(new Set([own.groups.get("/sme-users"), nested, named]));
    expect(await tenant.drifted([wanted], never)).toEqual([]);

    const other = person({ groups: ["ops~/eu"] });
    const second = await tenant.ensureUser(other, undefined, NEVER, never);
    expect(await groupIDs(second.userID)).toContain(named);
    expect(await groupIDs(second.userID)).not.toContain(nested);
    expect(second.managed.groups).toEqual(["/ops~/eu", "/sme-users"]);
    const without = { ...other, groups: undefined, managedBefore: second.managed };
    await tenant.ensureUser(without, second.userID, NEVER, never);
    expect(await groupIDs(second.userID)).toEqual([own.groups.get("/sme-users")]);
  });

  test("whoever is in a group that is only written like an allowed one is not adopted", async () => {
    const own = await ownBench({ groups: ["/sme-users", "/ops/eu"] });
    const { id: named } = await own.admin.groups.create({ name: "ops/eu" });
    const wanted = person();
    const { id } = await own.admin.users.create({
      username: wanted.email,
      email: wanted.email,
      emailVerified: true,
      enabled: true,
    });
    await own.admin.users.addToGroup({ id, groupId: named });
    const adoption: Adoption = { policy: "Unclaimed", allowedGroups: ["/ops/eu"] };
    expect((await refusal(own.fresh().ensureUser(wanted, undefined, adoption, never))).message).toContain("/ops/eu");
  });

  test("a missing group's cure makes that group, whatever is in its name", async () => {
    const own = await ownBench({ groups: ["/sme-users", "/ops"] });
    await own.admin.groups.create({ name: "lab/x" });
    const cures = async (path: string) => {
      const found = await own.fresh().check({ defaultGroups: [path], allowedGroups: [], allowedRealmRoles: [] }, never);
      return found.filter(blocks).map(({ message }) => message)[0] ?? "";
    };
    expect(await cures("/a~/b c")).toContain(`kcadm.sh create groups -r ${own.realm} -s 'name=a/b c'`);
    const ops = own.groups.get("/ops") ?? "";
    expect(await cures("/ops/eu/west")).toContain(
      `ID=$(kcadm.sh create groups/${ops}/children -r ${own.realm} -s name=eu -i); kcadm.sh create groups/$ID/children -r ${own.realm} -s name=west`,
    );
    expect(await cures("/lab/x")).toContain("written /lab~/x");
  });

  test("one that was made again under its name is found at once", async () => {
    const own = await ownBench({ groups: ["/sme-users", "/eng/core"], realmRoles: ["reader"] });
    const tenant = own.fresh();
    const wanted = person({ groups: ["/eng/core"], realmRoles: ["reader"] });
    const { userID, managed } = await tenant.ensureUser(wanted, undefined, NEVER, never);
    await own.admin.groups.del({ id: own.groups.get("/eng/core") ?? "" });
    const { id } = await own.admin.groups.createChildGroup(
      { id: (await parentOf(own, "eng")) ?? "" },
      { name: "core" },
    );
    await own.admin.roles.delByName({ name: "reader" });
    await own.admin.roles.create({ name: "reader" });
    expect(await tenant.drifted([wanted], never)).toEqual([wanted.uuid]);
    await tenant.ensureUser({ ...wanted, managedBefore: managed }, userID, NEVER, never);
    expect((await own.admin.users.listGroups({ id: userID })).map((group) => group.id)).toContain(id);
    const roles = await own.admin.users.listRealmRoleMappings({ id: userID });
    expect(roles.map(({ name }) => name)).toContain("reader");
  });

  test("a setting of the realm that was changed refuses nobody from memory", async () => {
    const own = await ownBench({ editUsernameAllowed: true });
    const tenant = own.fresh();
    const wanted = person();
    const { userID } = await tenant.ensureUser(wanted, undefined, NEVER, never);
    const moved = (to: string) => tenant.ensureUser({ ...wanted, email: to }, userID, NEVER, never);
    expect((await moved(`m1-${wanted.email}`)).usernameKept).toBe(false);
    await own.admin.realms.update({ realm: own.realm }, { editUsernameAllowed: false });
    expect((await moved(`m2-${wanted.email}`)).usernameKept).toBe(true);
  });
});

async function parentOf(own: Bench, name: string): Promise<string | undefined> {
  return (await own.admin.groups.find({ search: name, exact: true })).find((group) => group.name === name)?.id;
}

describe("what Keycloak makes of a value", () => {
  const VALUES = [
    "",
    " ",
    "\t",
    "\n",
    "\u3000",
    "\u00a0",
    " a",
    "a ",
    "a  b",
    "b",
    "a",
    "A",
    "é",
    "e\u0301",
    "😀",
    "\u200b",
  ];

  test("is no difference: a second ensure writes nothing, whatever was asked for", { timeout: 240_000 }, async () => {
    const own = await ownBench();
    const tenant = own.fresh();
    const values = fc.array(fc.constantFrom(...VALUES), { maxLength: 4 });
    const name = fc.constantFrom(undefined, "\u3000", "Ada", "Ada  Maria", "e\u0301", "\u00a0Ada");
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom("team", "Team", "x.y"), values, { maxKeys: 3 }),
        fc.record({ firstName: name, lastName: name, displayName: name }),
        fc.constantFrom(
          (text: string) => text,
          (text: string) => text.toLowerCase(),
        ),
        async (attributes, names, spelt) => {
          const wanted = person({ attributes, ...names });
          const made = await tenant.ensureUser(wanted, undefined, NEVER, never);
          own.proxy.calls.length = 0;
          const again = { ...wanted, email: spelt(wanted.email), managedBefore: made.managed };
          expect((await tenant.ensureUser(again, made.userID, NEVER, never)).changed).toBe(false);
          expect(own.proxy.writes()).toEqual([]);
          expect(await tenant.drifted([again], never)).toEqual([]);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("it does not keep is told by name, and not written for ever", async () => {
    const own = await ownBench();
    const tenant = own.fresh();
    const plain = person();
    const { userID } = await tenant.ensureUser(plain, undefined, NEVER, never);
    own.proxy.calls.length = 0;
    // Without internationalization Keycloak takes a locale, answers 204 and stores none.
    const refused = await refusal(
      tenant.ensureUser({ ...plain, attributes: { locale: ["fr"] } }, userID, NEVER, never),
    );
    expect(refused).toMatchObject({ class: "terminal", code: "RequestRefused" });
    expect(refused.message).toContain("locale");
    expect(refused.message).not.toContain("enabled");
  });

  test("what is taken out of the spec goes, field by field, and what others gave stays", async () => {
    const own = await ownBench({ groups: ["/sme-users", "/eng", "/theirs"], realmRoles: ["reader"] });
    const tenant = own.fresh();
    const full = person({
      firstName: "Ada",
      lastName: "L",
      displayName: "Ada L.",
      groups: ["/eng"],
      realmRoles: ["reader"],
      attributes: { team: ["x"] },
    });
    const { userID, managed } = await tenant.ensureUser(full, undefined, NEVER, never);
    const before = await own.admin.users.findOne({ id: userID });
    await own.admin.users.update({ id: userID }, { ...before, attributes: { ...before?.attributes, theirs: ["1"] } });
    await own.admin.users.addToGroup({ id: userID, groupId: own.groups.get("/theirs") ?? "" });
    const bare = { ...person({ uuid: full.uuid }), managedBefore: managed };
    await tenant.ensureUser(bare, userID, NEVER, never);
    const user = await own.admin.users.findOne({ id: userID });
    expect([user?.firstName, user?.lastName, user?.attributes?.["displayName"], user?.attributes?.["team"]]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(user?.attributes?.["theirs"]).toEqual(["1"]);
    const left = (await own.admin.users.listGroups({ id: userID })).map(({ path }) => path ?? "").toSorted();
    expect(left).toEqual(["/sme-users", "/theirs"]);
    const roles = await own.admin.users.listRealmRoleMappings({ id: userID });
    expect(roles.map(({ name }) => name)).not.toContain("reader");
  });
});

describe("what is said is true of this realm", () => {
  test("where the email is the user name, it moves, and nobody is told that it stayed", async () => {
    const own = await ownBench();
    await own.admin.realms.update({ realm: own.realm }, { registrationEmailAsUsername: true });
    const tenant = own.fresh();
    const wanted = person();
    const { userID } = await tenant.ensureUser(wanted, undefined, NEVER, never);
    const email = `moved-${wanted.email}`;
    expect(await tenant.ensureUser({ ...wanted, email }, userID, NEVER, never)).toMatchObject({
      changed: true,
      usernameKept: false,
    });
    expect(await own.admin.users.findOne({ id: userID })).toMatchObject({ username: email, email });
    expect(await tenant.drifted([{ ...wanted, email }], never)).toEqual([]);
  });

  const wanted: RealmCheck = { defaultGroups: ["sme-users"], allowedGroups: [], allowedRealmRoles: [] };

  async function changeClient(own: Bench, change: object): Promise<void> {
    const [client] = await own.admin.clients.find({ clientId: own.clientID });
    await own.admin.clients.update({ id: client?.id ?? "" }, { ...client, ...change });
  }

  test("a service account with lightweight tokens has its roles", async () => {
    const own = await ownBench();
    await changeClient(own, { attributes: { "client.use.lightweight.access.token.enabled": "true" } });
    const tenant = own.fresh();
    expect((await tenant.check(wanted, never)).filter(blocks)).toEqual([]);
    const whom = person();
    expect((await tenant.ensureUser(whom, undefined, NEVER, never)).created).toBe(true);
  });

  test("one whose client has no full scope is told of that, and what it is told is the cure", async () => {
    const own = await ownBench();
    await changeClient(own, { fullScopeAllowed: false });
    const tenant = own.fresh();
    const problems = (await tenant.check(wanted, never)).filter(blocks);
    expect(problems.map(({ reason }) => reason)).toContain("MissingRole");
    for (const { message } of problems) expect(message).toContain("Full scope allowed");
    await changeClient(own, { fullScopeAllowed: true });
    expect((await tenant.check(wanted, never)).filter(blocks)).toEqual([]);
  });

  test("the role's cure names the account as Keycloak spells it", async () => {
    const own = await ownBench({ clientID: "Acme-RBAC", serviceAccountRoles: [] });
    const [first] = (await own.fresh().check(wanted, never)).filter(blocks);
    const account = await own.admin.users.findOne({ id: own.serviceAccountID });
    expect(first?.message).toContain(`--uusername ${account?.username} `);
  });

  test("marks that people may write are cured where they are declared: the policy does not count there", async () => {
    const own = await ownBench({ profile: "declared-forgeable" });
    const said = async () => (await own.fresh().check(wanted, never)).filter(blocks).map(({ message }) => message);
    expect(await said()).toEqual([
      expect.stringContaining("User profile let only admin edit sme_tenant_id and sme_user_uuid"),
    ]);
    const profile = await own.admin.users.getProfile();
    await own.admin.users.updateProfile({
      ...profile,
      attributes: profile.attributes?.map((attribute) =>
        attribute.name?.startsWith("sme_") === true
          ? { ...attribute, permissions: { ...attribute.permissions, edit: ["admin"] } }
          : attribute,
      ),
    });
    expect(await said()).toEqual([]);
  });
});

describe("tokens", () => {
  test("of two seconds' life, and a realm that revokes them all, stop nobody for good", async () => {
    const own = await ownBench();
    const settings = (change: object) => own.admin.realms.update({ realm: own.realm }, change);
    await settings({ accessTokenLifespan: 2 });
    const tenant = own.fresh();
    const people = Array.from({ length: 20 }, () => person());
    const outcomes = await Promise.all(
      people.map((each) => tenant.ensureUser(each, undefined, NEVER, never).then(() => "made", refusedAs)),
    );
    expect(outcomes).not.toContain("terminal");
    await settings({ notBefore: Math.floor(Date.now() / 1000) + 1 });
    await new Promise((done) => setTimeout(done, 2_000));
    expect((await tenant.ensureUser(person(), undefined, NEVER, never)).created).toBe(true);
    await settings({ notBefore: Math.floor(Date.now() / 1000) + 600 });
    const early = await refusal(own.fresh().ensureUser(person(), undefined, NEVER, never));
    expect(early.class).toBe("transient");
    expect(early.message).toContain("notBefore");
    expect(early.message).not.toContain("secret");
  });
});

function refusedAs(error: unknown): string {
  return isSagaError(error) ? error.class : "thrown";
}

describe("an address that Keycloak takes for no user name", () => {
  const ATEXT = "!#$%&'*+-/=?^_`{|}~.";

  test.each(Array.from(ATEXT))("with %s is one person, found again, with nothing to correct", async (sign) => {
    const wanted = person({ email: `o${sign}neil-${randomUUID().slice(0, 8)}@acme.example` });
    const made = await b.fresh().ensureUser(wanted, undefined, NEVER, never);
    expect(made.created).toBe(true);
    const user = await b.admin.users.findOne({ id: made.userID });
    expect(user).toMatchObject({
      email: wanted.email,
      username: /[+\-_.]/.test(sign) ? wanted.email : wanted.uuid,
    });
    // The id is lost: the marks find the same one.
    expect(await b.fresh().ensureUser(wanted, undefined, NEVER, never)).toMatchObject({
      userID: made.userID,
      created: false,
      changed: false,
      usernameKept: false,
    });
  });

  test("is moved to and away from like any other", async () => {
    const own = await ownBench({ editUsernameAllowed: true });
    const plain = person({});
    const { userID } = await own.fresh().ensureUser(plain, undefined, NEVER, never);
    const special = { ...plain, email: `d'arcy-${randomUUID().slice(0, 8)}@acme.example` };
    await own.fresh().ensureUser(special, userID, NEVER, never);
    expect(await own.admin.users.findOne({ id: userID })).toMatchObject({ email: special.email, username: plain.uuid });
    await own.fresh().ensureUser(plain, userID, NEVER, never);
    expect(await own.admin.users.findOne({ id: userID })).toMatchObject({ email: plain.email, username: plain.email });
  });
});
