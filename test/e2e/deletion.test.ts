/** A person who goes, whatever else is gone, down, wrong or on its way: nothing stays behind, and nobody is held for ever. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { FINALIZER } from "../../src/api/meta.ts";
import { candidateUUID } from "../../src/api/names.ts";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import { type Door, makeDoor } from "../crash/faults.ts";
import { aged } from "../support/aged.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { Person, TenantWishes, TestTenant } from "../support/tenant.ts";

let platform: Platform;
/** Without a time of grace. */
let tenant: TestTenant;
/** In the same realm, for a realm costs Keycloak more than anything else here. */
let beside: (label: string, wishes?: TenantWishes) => Promise<TestTenant>;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("leaving", { ownDomain: true, patch: { allow: { retain: true } } });
  const { realm } = tenant.realm;
  beside = (label, wishes = {}) =>
    platform.tenant(label, {
      ownDomain: true,
      ...wishes,
      realm: { realm },
      values: { KEYCLOAK_REALM: realm, ...wishes.values },
    });
});
afterAll(() => platform?.close());

/** Applies them all, and gives each as a whole person. */
async function people<const Name extends string>(of: TestTenant, ...names: Name[]): Promise<Record<Name, Person>> {
  for (const name of names) await of.apply(name);
  const found = await Promise.all(names.map(async (name) => [name, await of.person(name)] as const));
  return Object.fromEntries(found) as Record<Name, Person>;
}

async function nothingLeft(of: TestTenant, { uuid, secretName, apiKey, keycloakID }: Person): Promise<void> {
  await soon(async () => assert.equal((await of.row(uuid))?.state, "deleted"));
  expect(await of.secret(secretName)).toBeUndefined();
  expect((await of.accounts(uuid)).filter(({ disabled }) => !disabled)).toEqual([]);
  expect(await platform.opens(apiKey)).not.toBe(200);
  expect(await of.realm.admin.users.findOne({ id: keycloakID })).toBeFalsy();
  const told = await soon(async () => {
    const events = (await platform.events(uuid)).filter(({ type }) => type === "sme.user.deleted");
    assert(events.length > 0, "nobody was told yet");
    return events;
  });
  expect(new Set(told.map(({ id }) => id)).size).toBe(1);
}

/** What is undone of somebody who goes; waits until it is just this. */
const undone = (of: TestTenant, { uuid }: Person, steps: readonly string[]): Promise<void> =>
  soon(async () => {
    const { rows } = await platform.db.query<{ undone: unknown }>(
      "select deleting->'undone' as undone from user_provision_state where sme_user_uuid = $1",
      [uuid],
    );
    assert.deepEqual(rows[0]?.undone, steps, `of ${of.id}`);
  });

const stateOf = async (of: TestTenant, { uuid }: Person): Promise<string | undefined> => (await of.row(uuid))?.state;

/** As Flux does at each of its turns, whether or not the old object has gone: until there is another one. */
async function again(name: string, spec?: Record<string, unknown>): Promise<void> {
  const before = (await tenant.user(name))?.metadata.uid;
  await soon(async () => {
    await tenant.apply(name, spec);
    const user = await tenant.user(name);
    assert(user !== undefined && user.metadata.uid !== before && user.metadata.deletionTimestamp === undefined);
  });
}

// Side by side: each has people, and mostly a tenant, of its own.
describe.concurrent("a person is deleted", () => {
  it("whose Keycloak user, account or Secret is gone already", async () => {
    const { userless, accountless, secretless } = await people(tenant, "userless", "accountless", "secretless");
    await tenant.realm.admin.users.del({ id: userless.keycloakID });
    await platform.gateway.removeUser(accountless.accountID);
    await platform.api.send("DELETE", `/api/v1/namespaces/${tenant.namespace}/secrets/${secretless.secretName}`);
    for (const [name, person] of Object.entries({ userless, accountless, secretless })) {
      await tenant.remove(name);
      await tenant.gone(name);
      await nothingLeft(tenant, person);
      expect(await stateOf(tenant, person)).toBe("deleted");
    }
  });

  it("before being Ready: a slow gateway's late account is found and disabled", async () => {
    const uuid = candidateUUID(tenant.id, tenant.email("hasty"));
    const slow = await platform.gateway.fault({
      match: { method: "POST", path: "/users$", externalID: uuid },
      action: { latencyMs: 2_000 },
    });
    await tenant.apply("hasty");
    await soon(async () => assert.equal((await tenant.row(uuid))?.state, "kc_created"));
    await tenant.remove("hasty");
    await tenant.gone("hasty");
    await platform.gateway.heal(slow);
    expect(await tenant.row(uuid)).toMatchObject({ state: "deleted" });
    expect(await tenant.keycloakUsers(uuid)).toEqual([]);
    expect(await tenant.accounts(uuid)).toMatchObject([{ disabled: true }]);
    expect(await tenant.secret(`newapi-key-${uuid}`)).toBeUndefined();
  });

  it("who is Stalled, or waits for somebody else's address, and never had anything", async () => {
    const { holder } = await people(tenant, "holder");
    await tenant.apply("stalled", { groups: ["/not-ours"] });
    await tenant.apply("waiting", { email: tenant.email("holder") });
    await tenant.says("stalled", "Stalled", "True", "NotAllowed");
    await tenant.says("waiting", "Ready", "False", "EmailInUse");
    await Promise.all(["stalled", "waiting"].map((name) => tenant.remove(name)));
    await Promise.all(["stalled", "waiting"].map((name) => tenant.gone(name)));
    expect(await tenant.person("holder")).toEqual(holder);
    const { rows } = await platform.db.query("select 1 from waiting where tenant = $1", [tenant.id]);
    expect(rows).toEqual([]);
  });

  it("and committed again at once: the same uuid, another key, and the old one is dead", async () => {
    const { boomerang: before } = await people(tenant, "boomerang");
    await tenant.remove("boomerang");
    await again("boomerang");
    const after = await tenant.person("boomerang");
    expect(after.uuid).toBe(before.uuid);
    expect(after.accountID).toBe(before.accountID);
    expect(after.keycloakID).not.toBe(before.keycloakID);
    expect([await platform.opens(before.apiKey), await platform.opens(after.apiKey)]).toEqual([401, 200]);
  });

  it("twice under the same name, each time for another email: each has gone but the last", async () => {
    const { same: first } = await people(tenant, "same");
    await tenant.remove("same");
    await again("same", { email: tenant.email("second") });
    await tenant.remove("same");
    await again("same", { email: tenant.email("third") });
    const last = await tenant.person("same");
    expect(last.uuid).toBe(candidateUUID(tenant.id, tenant.email("third")));
    await nothingLeft(tenant, first);
    const second = candidateUUID(tenant.id, tenant.email("second"));
    await soon(async () => assert.deepEqual(await tenant.keycloakUsers(second), []));
    expect((await tenant.accounts(second)).filter(({ disabled }) => !disabled)).toEqual([]);
    expect(await tenant.secret(`newapi-key-${second}`)).toBeUndefined();
  });

  it("who is to be retained: all three stay, and a commit takes them up again as they are", async () => {
    await tenant.apply("kept", { deletionPolicy: "Retain" });
    const before = await tenant.person("kept");
    await tenant.remove("kept");
    await tenant.gone("kept");
    expect(await stateOf(tenant, before)).toBe("retained");
    expect(await tenant.keycloakUsers(before.uuid)).toMatchObject([{ id: before.keycloakID, enabled: true }]);
    expect(await platform.opens(before.apiKey)).toBe(200);
    expect((await tenant.secret(before.secretName))?.data["api-key"]).toBe(before.apiKey);

    await tenant.apply("kept");
    expect(await tenant.person("kept")).toEqual(before);
    await tenant.remove("kept");
    await tenant.gone("kept");
    await nothingLeft(tenant, before);
  });

  it("and loses the finalizer to an impatient hand: what is not undone yet is, all the same", async () => {
    const { torn } = await people(tenant, "torn");
    // Not a failure of the gateway's as a whole, at which others would wait.
    const stubborn = await platform.gateway.fault({
      match: { path: `/users/${torn.accountID}/disable$` },
      action: { status: 409, body: { error: { message: "not now" } } },
    });
    await tenant.remove("torn");
    await undone(tenant, torn, ["secret"]);
    const path = objectPath("TenantUser", { namespace: tenant.namespace, name: "torn" });
    await platform.kube.patch(path, { metadata: { finalizers: null } }, "impatient");
    await tenant.gone("torn");
    expect(await stateOf(tenant, torn)).toBe("deleting");
    await platform.gateway.heal(stubborn);
    await nothingLeft(tenant, torn);
  });

  it("never without our finalizer: whoever takes it off a living object finds it there again", async () => {
    await people(tenant, "held");
    const path = objectPath("TenantUser", { namespace: tenant.namespace, name: "held" });
    await platform.kube.patch(path, { metadata: { finalizers: null } }, "careless");
    await soon(async () => assert.deepEqual((await tenant.user("held"))?.metadata.finalizers, [FINALIZER]));
  });

  it("with a time of grace: locked out at once, purged later, the same person when committed again within it", async () => {
    const graceful = await beside("graceful", { values: { DELETION_GRACE: "1d" } });
    const { ada, bob } = await people(graceful, "ada", "bob");
    for (const [name, person] of Object.entries({ ada, bob })) {
      await graceful.remove(name);
      await graceful.gone(name);
      await soon(async () => assert.equal((await graceful.keycloakUsers(person.uuid))[0]?.enabled, false));
      expect(await platform.opens(person.apiKey)).toBe(403);
      expect(await graceful.secret(person.secretName)).toBeUndefined();
      expect(await stateOf(graceful, person)).toBe("deleting");
    }

    await aged(platform, bob, "purgeAt", 24 * 60);
    await graceful.apply("ada");
    // The same key too: it opened nothing meanwhile.
    expect(await graceful.person("ada")).toEqual(ada);
    expect(await graceful.keycloakUsers(ada.uuid)).toMatchObject([{ enabled: true }]);
    expect(await platform.opens(ada.apiKey)).toBe(200);
    expect((await platform.events(ada.uuid)).map(({ type }) => type)).not.toContain("sme.user.deleted");
    await nothingLeft(graceful, bob);
    // So that the tenant can leave.
    await graceful.change({ deletionGrace: "0s" });
  });

  it("with the namespace: it goes, and all that was made for its people", async () => {
    const doomed = await beside("doomed");
    await doomed.applied(await doomed.commit({ "users/ada.yaml": doomed.manifest("ada") }));
    const ada = await doomed.person("ada");
    const path = `/api/v1/namespaces/${doomed.namespace}`;
    expect((await platform.api.send("DELETE", path)).status).toBe(200);
    await soon(async () => assert.equal(await platform.kube.get(path), undefined));
    await nothingLeft(doomed, ada);
  });
});

describe.concurrent("an upstream", () => {
  let keycloak: Door;
  let gateway: Door;
  let owing: TestTenant;
  const doorTo = (url: string) => makeDoor({ host: "127.0.0.1", port: Number(new URL(url).port) });
  beforeAll(async () => {
    [keycloak, gateway] = await Promise.all([doorTo(platform.env.KEYCLOAK_URL), doorTo(platform.env.NEWAPI_URL)]);
    owing = await beside("owing", {
      values: {
        KEYCLOAK_URL: `http://127.0.0.1:${keycloak.port}`,
        NEWAPI_URL: `http://127.0.0.1:${gateway.port}`,
      },
    });
  });
  afterAll(async () => {
    await Promise.all([keycloak, gateway].map((door) => door?.open().catch(() => undefined)));
  });

  /** Ten minutes later it is released, and an Event says what is pending. */
  async function released(name: string, person: Person, pending: string): Promise<void> {
    await owing.says(name, "Ready", "False", "Deleting");
    const uid = (await owing.user(name))?.metadata.uid;
    await aged(platform, person, "since", 10);
    await owing.gone(name);
    expect(await stateOf(owing, person)).toBe("deleting");
    await soon(async () => {
      const path = `/apis/events.k8s.io/v1/namespaces/${owing.namespace}/events`;
      const said = JSON.stringify((await platform.api.send("GET", path)).body);
      assert(
        said.includes(uid ?? "") &&
          said.includes(
            `The reconciler released the object after 10 minutes and completes its cleanup later: ${pending}.`,
          ),
      );
    });
  }

  it("that is down holds nobody for longer than ten minutes; the rest is a cleanup, done when it is back", async () => {
    const { ada, bob, cleo } = await people(owing, "ada", "bob", "cleo");

    await keycloak.shut();
    await owing.remove("ada");
    await undone(owing, ada, ["secret", "newapi"]);
    // Keycloak being away, the key is dead all the same.
    expect(await platform.opens(ada.apiKey)).toBe(403);
    expect(await owing.secret(ada.secretName)).toBeUndefined();
    await released("ada", ada, "keycloak");
    expect(await owing.keycloakUsers(ada.uuid)).toHaveLength(1);
    await keycloak.open();
    await nothingLeft(owing, ada);

    await gateway.shut();
    await Promise.all([owing.remove("bob"), owing.remove("cleo")]);
    await Promise.all([undone(owing, bob, ["secret"]), undone(owing, cleo, ["secret"])]);
    await released("bob", bob, "newapi, keycloak");
    await released("cleo", cleo, "newapi, keycloak");
    // Who comes back has pending nothing any more.
    await owing.apply("cleo");
    // Bound before the gateway is back: otherwise the cleanup may be complete first, and she gets another Keycloak user.
    await soon(async () => assert.notEqual(await stateOf(owing, cleo), "deleting"));
    await gateway.open();
    expect({ ...(await owing.person("cleo")), apiKey: "" }).toEqual({ ...cleo, apiKey: "" });
    await nothingLeft(owing, bob);
    expect((await platform.events(cleo.uuid)).map(({ type }) => type)).not.toContain("sme.user.deleted");
  });

  it("that refuses our credential keeps waiting until there is a right one", async () => {
    const refused = await beside("refused");
    const { ada, bob } = await people(refused, "ada", "bob");
    const credential = (which: "keycloak" | "newapi", stringData: Record<string, string>) =>
      platform.kube.patch(
        `/api/v1/namespaces/unified-rbac-system/secrets/${refused.id}-${which}`,
        { stringData },
        "platform",
      );

    await credential("newapi", { token: "another" });
    await refused.tenantSays("NewAPIReady", "False", "CredentialsRefused");
    await refused.remove("ada");
    await undone(refused, ada, ["secret"]);
    await refused.says("ada", "Ready", "False", "Deleting");
    await credential("newapi", { token: platform.env.NEWAPI_ADMIN_TOKEN });
    await refused.gone("ada");
    await nothingLeft(refused, ada);

    await credential("keycloak", { "client-secret": "another" });
    await refused.tenantSays("KeycloakReady", "False", "CredentialsRefused");
    await refused.remove("bob");
    await undone(refused, bob, ["secret", "newapi"]);
    expect(await platform.opens(bob.apiKey)).toBe(403);
    await aged(platform, bob, "since", 10);
    await refused.gone("bob");
    expect(await stateOf(refused, bob)).toBe("deleting");
    await credential("keycloak", { "client-secret": refused.realm.clientSecret });
    await nothingLeft(refused, bob);
  });
});

describe.concurrent("a Tenant", () => {
  it("with users does not vanish under them; it goes with the last one", async () => {
    const closing = await beside("closing");
    const { ada } = await people(closing, "ada");
    const path = objectPath("Tenant", { name: closing.id });
    await platform.api.send("DELETE", path);
    const { message } = await closing.tenantSays("Ready", "False", "TenantInUse");
    expect(message).toContain("1");
    // Who is there stays there.
    expect(await platform.opens(ada.apiKey)).toBe(200);
    await closing.remove("ada");
    await closing.gone("ada");
    await nothingLeft(closing, ada);
    await soon(async () => assert.equal(await platform.kube.get(path), undefined));
  });

  it("that was torn out by force leaves cleanups, which are done when it is there again", async () => {
    const torn = await beside("torn-out");
    const { ada } = await people(torn, "ada");
    const { apiVersion, kind, metadata, spec } = await torn.tenant();
    const path = objectPath("Tenant", { name: metadata.name });
    await platform.api.send("DELETE", path);
    await soon(async () => {
      await platform.kube.patch(path, { metadata: { finalizers: null } }, "impatient");
      assert.equal(await platform.kube.get(path), undefined);
    });
    await soon(async () =>
      assert.match((await torn.apply("ghost", {}, { dryRun: true })).warnings.join(), /^no Tenant/),
    );
    // Nobody knows its realm and its gateway any more; the Secret can be removed, the rest is pending.
    await torn.remove("ada");
    await undone(torn, ada, ["secret"]);
    await aged(platform, ada, "since", 10);
    await torn.gone("ada");
    expect(await stateOf(torn, ada)).toBe("deleting");
    expect(await torn.keycloakUsers(ada.uuid)).toHaveLength(1);
    const fresh = { apiVersion, kind, metadata: { name: metadata.name }, spec };
    expect((await platform.api.send("POST", collectionPath("Tenant"), fresh)).status).toBe(201);
    await nothingLeft(torn, ada);
  });
});
