/** A store is lost, whole: the same people come back with the same ids and keys, and nobody goes by accident. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import type { TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import { objectPath } from "../../src/kube/objects.ts";
import { kubectl } from "../../stack/kube.ts";
import { projectRoot } from "../../stack/paths.ts";
import { loseCluster, loseDatabase, loseObject, loseStreams } from "../support/loss.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { Person, TestTenant } from "../support/tenant.ts";

let platform: Platform;
/** One of each dialect of gateway. */
let tenants: readonly TestTenant[];
let plain: TestTenant;
/** By tenant and name: as they were at the beginning, and shall be for ever. */
let everybody: ReadonlyMap<TestTenant, ReadonlyMap<string, Person>>;

const PINNED = randomUUID();

/** Everybody of a tenant, as Git has them: what a bare uuid of tenant and email does not find again is there too. */
const PEOPLE = (tenant: TestTenant): Record<string, Partial<TenantUserSpecInput>> => ({
  ada: {},
  pinned: { userUUID: PINNED },
  rotated: { key: { generation: 2 } },
  locked: { enabled: false },
  // Has another address by now, and somebody new has the one of before.
  moved: { email: tenant.email("moved-away") },
  "new-user": { email: tenant.email("moved") },
});

beforeAll(async () => {
  platform = await openPlatform();
  plain = await platform.tenant("plain", { ownDomain: true });
  const { realm } = plain.realm;
  const other = await platform.tenant("other", {
    ownDomain: true,
    realm: { realm },
    values: { KEYCLOAK_REALM: realm, NEWAPI_DIALECT: "new-api" },
  });
  tenants = [plain, other];
  everybody = new Map(await Promise.all(tenants.map(async (tenant) => [tenant, await settle(tenant)] as const)));
});
afterAll(() => platform?.close());

async function settle(tenant: TestTenant): Promise<ReadonlyMap<string, Person>> {
  const people = PEOPLE(tenant);
  // The other tenant's pin is another uuid: one is one person's everywhere.
  if (tenant !== plain) people["pinned"] = { userUUID: randomUUID() };
  const { "new-user": newUser, ...first } = people;
  const before = { ...first, moved: {}, rotated: {} };
  const files = (of: typeof people): Record<string, string> =>
    Object.fromEntries(Object.entries(of).map(([name, spec]) => [`users/${name}.yaml`, tenant.manifest(name, spec)]));
  await tenant.applied(await tenant.commit(files(before)));
  await tenant.applied(await tenant.commit(files(first)));
  await tenant.applied(await tenant.commit(files({ "new-user": newUser ?? {} })));
  const whole = Object.keys(people).map(async (name) => [name, await tenant.person(name)] as const);
  return new Map(await Promise.all(whole));
}

/** Their rows are there and at rest, and everybody is who they were, once each, with the key of before. */
async function sameAsEver(): Promise<void> {
  for (const [tenant, people] of everybody) {
    for (const [name, before] of people) {
      await soon(async () => {
        assert.equal((await tenant.row(before.uuid))?.state, "done", `the row of ${name} of ${tenant.id}`);
      });
      expect(await tenant.person(name)).toEqual(before);
      expect(await platform.opens(before.apiKey)).toBe(name === "locked" ? 403 : 200);
      const told = (await platform.events(before.uuid)).map(({ type, id }) =>
        type === "sme.user.created" ? id : type,
      );
      expect(told).not.toContain("sme.user.deleted");
      expect(told).not.toContain("sme.user.failed");
    }
    // Marks can be lost; an address cannot be had twice.
    const users = await tenant.realm.admin.users.find({ q: `sme_tenant_id:${tenant.id}`, max: 100 });
    expect(users).toHaveLength(people.size);
  }
  const { rows } = await platform.db.query(
    "select 1 from outbox where sent_at is null union all select 1 from waiting",
  );
  expect(rows).toEqual([]);
}

/** All that stands at the upstreams, of both tenants. */
async function outside(): Promise<object> {
  const users = await plain.realm.admin.users.find({ max: 100, briefRepresentation: false });
  return {
    users: users.toSorted((a, b) => (a.id ?? "").localeCompare(b.id ?? "")),
    accounts: await platform.gateway.users(),
    others: await platform.gateway.newApiUsers(),
  };
}

const states = async (people: Iterable<Person>): Promise<readonly string[]> => {
  const { rows } = await platform.db.query<{ state: string }>(
    "select distinct state from user_provision_state where sme_user_uuid = any($1::uuid[])",
    [Array.from(people, ({ uuid }) => uuid)],
  );
  return rows.map(({ state }) => state);
};

const orphaned = (people: Iterable<Person>): Promise<void> =>
  soon(async () => assert.deepEqual(await states(people), ["orphaned"]));

const ada = (): Person => {
  const found = everybody.get(plain)?.get("ada");
  assert(found !== undefined);
  return found;
};
const ADA = (): string => objectPath("TenantUser", { namespace: plain.namespace, name: "ada" });

describe("an object that went without anybody having deleted it", () => {
  it("while nobody watched, its finalizer taken off by hand: an orphan, of which nothing is undone", async () => {
    const before = await outside();
    await platform.product.kill("reconciler");
    await platform.kube.patch(ADA(), { metadata: { finalizers: null } }, "impatient");
    await platform.api.send("DELETE", ADA());
    expect(await plain.user("ada")).toBeUndefined();
    await platform.product.start("reconciler");
    await orphaned([ada()]);
    expect(await outside()).toEqual(before);
    await plain.interval();
    await sameAsEver();
  });

  it("from a list that misses it: the same", async () => {
    const before = await outside();
    await loseObject(platform.env, `/registry/catalyst.openova.io/tenantusers/${plain.namespace}/ada`);
    await orphaned([ada()]);
    expect(await plain.user("ada")).toBeUndefined();
    expect(await outside()).toEqual(before);
    await plain.interval();
    await sameAsEver();
  });

  it("with its definition and everybody else: all orphans, and back with definition and objects", async () => {
    const before = await outside();
    await kubectl(platform.env, ["delete", "crd", "tenantusers.catalyst.openova.io", "--timeout=60s"]);
    await orphaned([...everybody.values()].flatMap((people) => [...people.values()]));
    expect(await outside()).toEqual(before);
    const definition = join(projectRoot, "manifests", "crd", "catalyst.openova.io_tenantusers.yaml");
    await kubectl(platform.env, ["apply", "--server-side", "--field-manager=platform", "-f", definition]);
    await Promise.all(tenants.map((tenant) => tenant.interval()));
    await sameAsEver();
  });
});

describe("what is lost and comes back empty", () => {
  it("NATS: streams and consumers are made again, and events flow", async () => {
    await loseStreams(platform.env);
    await plain.apply("later");
    const { uuid } = await plain.person("later");
    await soon(async () => {
      const told = (await platform.events(uuid)).map(({ type }) => type);
      assert.deepEqual(told, ["sme.user.created"]);
    });
    const monitor = `${platform.env.NATS_MONITOR_URL}/jsz?streams=true&consumers=true`;
    const consumers = await (await fetch(monitor)).text();
    expect(consumers).toMatch(/"consumer_detail"/);
    await plain.remove("later");
    await plain.gone("later");
    await sameAsEver();
  });

  it("Postgres: every row comes back from the objects and the marks", async () => {
    const before = await outside();
    await platform.reinstall(() => loseDatabase(platform.env));
    await sameAsEver();
    expect(await outside()).toEqual(before);
  });

  it("the cluster: its rows are orphans, nobody is touched, and all are themselves once Git is applied again", async () => {
    const before = await outside();
    await platform.reinstall(() => loseCluster(platform.env));
    await orphaned([...everybody.values()].flatMap((people) => [...people.values()]));
    expect(await outside()).toEqual(before);
    for (const tenant of tenants) await tenant.onboardAgain();
    await sameAsEver();
  });
});

describe("the definition of Tenants that goes", () => {
  const TENANTS = "tenants.catalyst.openova.io";
  const away = async (name: string): Promise<boolean> =>
    (await kubectl(platform.env, ["get", "crd", name, "--ignore-not-found", "-o", "name"])).trim() === "";

  it("waits for its Tenants, which people still need; by force, nobody is undone, and all continue when it is back", async () => {
    await kubectl(platform.env, ["delete", "crd", TENANTS, "--wait=false"]);
    for (const tenant of tenants) {
      await soon(async () => {
        const ready = (await tenant.tenant()).status?.conditions?.find(({ type }) => type === "Ready");
        assert(ready?.message.includes("being deleted"), `${tenant.id} says: ${ready?.message ?? "nothing"}`);
      });
    }
    // Whoever is there stays; whoever comes now would come to a tenant that goes.
    await plain.apply("meanwhile");
    await plain.says("meanwhile", "Ready", "False", "TenantNotReady");
    await plain.remove("meanwhile");
    await plain.gone("meanwhile");
    const before = await outside();
    expect(await away(TENANTS)).toBe(false);

    // Everybody's: those that other tests have left hold it as well.
    for (const name of (await kubectl(platform.env, ["get", TENANTS, "-o", "name"])).split("\n").filter(Boolean)) {
      const path = objectPath("Tenant", { name: name.replace(/^.*\//, "") });
      await platform.kube.patch(path, { metadata: { finalizers: null } }, "impatient");
    }
    await soon(async () => assert(await away(TENANTS)));
    await plain.apply("stranger");
    await plain.says("stranger", "Ready", "False", "NoTenant");
    expect((await plain.row(ada().uuid))?.state).toBe("done");
    await plain.remove("stranger");

    await kubectl(platform.env, [
      "apply",
      "--server-side",
      "--field-manager=platform",
      "-f",
      join(projectRoot, "manifests", "crd", "catalyst.openova.io_tenants.yaml"),
    ]);
    for (const tenant of tenants) await tenant.onboardAgain();
    await sameAsEver();
    expect(await outside()).toEqual(before);
  });
});
