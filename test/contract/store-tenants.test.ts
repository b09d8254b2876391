import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { beforeEach, describe, expect, test } from "vitest";
import type { Pool } from "../../src/store/pool.ts";
import { claimRealm } from "../../src/store/realmClaims.ts";
import {
  grantNamespaces,
  loadTenants,
  mirrorTenant,
  removeTenant,
  type TenantRecord,
  tenantUsage,
  touchTenantRows,
} from "../../src/store/tenants.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { tenantSpecOf } from "../support/tenantSpec.ts";
import { useStore } from "../support/store.ts";

let database: TestDatabase;
let pool: Pool;
useStore((...opened) => ([pool, database] = opened), {
  max: 8,
  emptied: "user_provision_state, waiting, tenants, tenant_namespaces",
});

function record(id: string, given: Partial<TenantRecord> = {}): TenantRecord {
  return {
    tenantID: id,
    objectUID: randomUUID(),
    name: id,
    createdAt: "2026-01-01T00:00:00Z",
    accepted: tenantSpecOf(id, { limits: { maxUsers: 3 }, allow: { groups: ["/b", "/a"] } }),
    revision: "r1",
    ready: false,
    problems: [{ reason: "MissingGroup", message: "Group /x does not exist." }],
    ...given,
  };
}

async function row(columns: Record<string, unknown>): Promise<string> {
  const uuid = randomUUID();
  const all: Record<string, unknown> = {
    sme_user_uuid: uuid,
    sme_tenant_id: "acme",
    email: `${uuid}@example.com`,
    state: "done",
    object_uid: randomUUID(),
    object_namespace: "acme",
    confirmed_at: new Date(),
    ...columns,
  };
  const names = Object.keys(all);
  await pool.query(
    `insert into user_provision_state (${names.join(", ")}) values (${names.map((_, i) => `$${i + 1}`).join(", ")})`,
    Object.values(all),
  );
  return uuid;
}

/** How often the webhooks were told while `work` ran. */
async function told(work: () => Promise<unknown>): Promise<number> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  let count = 0;
  client.on("notification", () => void (count += 1));
  await client.query("listen tenants_changed");
  await work();
  // What was sent before arrives before the answer to what is asked after.
  await client.query("select 1");
  await client.end();
  return count;
}

describe("the mirror", () => {
  test("gives back what was written", async () => {
    const acme = record("acme");
    expect(await mirrorTenant(pool, acme)).toBe(true);
    expect(await loadTenants(pool)).toEqual([{ ...acme, namespaces: [], isRealmShared: false }]);
  });

  test("is not written, and tells nobody, when it says already what it should", async () => {
    const acme = record("acme");
    await mirrorTenant(pool, acme);
    await grantNamespaces(pool, "acme", ["one", "two"]);
    const again = async () => {
      expect(await mirrorTenant(pool, { ...acme, accepted: structuredClone(acme.accepted) })).toBe(false);
      expect(await grantNamespaces(pool, "acme", ["two", "one"])).toBe(false);
    };
    expect(await told(again)).toBe(0);
    expect(await told(() => mirrorTenant(pool, { ...acme, ready: true }))).toBe(1);
  });

  test("follows a Tenant that came in another's place, and is removed only with its own", async () => {
    const [old, fresh] = [record("acme"), record("acme", { revision: "r2" })];
    await mirrorTenant(pool, old);
    await mirrorTenant(pool, fresh);
    expect(await removeTenant(pool, "acme", old.objectUID)).toBe(false);
    expect((await loadTenants(pool))[0]?.objectUID).toBe(fresh.objectUID);
    expect(await removeTenant(pool, "acme", fresh.objectUID)).toBe(true);
    expect(await loadTenants(pool)).toEqual([]);
  });

  test("completes what an older version wrote, and leaves out what fits no more", async () => {
    await mirrorTenant(pool, record("acme"));
    await mirrorTenant(pool, record("globex"));
    await pool.query("update tenants set accepted = accepted - 'allow' where tenant_id = 'acme'");
    await pool.query("update tenants set accepted = '{}' where tenant_id = 'globex'");
    const tenants = await loadTenants(pool);
    expect(tenants.map((each) => each.tenantID)).toEqual(["acme"]);
    expect(tenants[0]?.accepted.allow.groups).toEqual([]);
    expect(await mirrorTenant(pool, record("globex"))).toBe(true);
  });

  test("may be written by many at once", async () => {
    const acme = record("acme");
    await Promise.all(Array.from({ length: 24 }, () => mirrorTenant(pool, acme)));
    await Promise.all(Array.from({ length: 8 }, () => grantNamespaces(pool, "acme", ["one", "two"])));
    expect(await loadTenants(pool)).toEqual([{ ...acme, namespaces: ["one", "two"], isRealmShared: false }]);
  });
});

test("a namespace has one tenant: the one it was granted to last", async () => {
  await mirrorTenant(pool, record("acme"));
  await mirrorTenant(pool, record("globex"));
  await grantNamespaces(pool, "acme", ["one", "shared"]);
  await grantNamespaces(pool, "globex", ["shared"]);
  await grantNamespaces(pool, "acme", ["two", "two"]);
  const tenants = await loadTenants(pool);
  expect(tenants.map(({ tenantID, namespaces }) => [tenantID, namespaces])).toEqual([
    ["acme", ["two"]],
    ["globex", ["shared"]],
  ]);
});

describe("the use of a tenant", () => {
  test("counts rows by state, the living ones and those who wait", async () => {
    await row({ state: "done" });
    await row({ state: "done", object_namespace: "two" });
    await row({ state: "pending", confirmed_at: null });
    await row({ state: "pending", confirmed_at: null, voided_at: new Date() });
    await row({ state: "deleting", deleting: JSON.stringify({ released: false }) });
    await row({ state: "deleting", deleting: JSON.stringify({ released: true }), object_namespace: "cleanup" });
    await row({ state: "retained", object_namespace: null });
    await row({ state: "orphaned" });
    await row({ state: "deleted", object_namespace: "gone" });
    await row({ state: "deleted", sme_tenant_id: "empty" });
    for (const tenant of ["acme", "globex", null]) {
      await pool.query(
        `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
         values ($1, 'acme', $2, $3, 'a@example.com', now(), 'QuotaFull')`,
        [randomUUID(), randomUUID(), tenant],
      );
    }
    const usage = await tenantUsage(pool);
    expect([...usage.keys()].toSorted()).toEqual(["acme", "globex"]);
    expect(usage.get("acme")).toEqual({
      rows: 6,
      total: 4,
      byState: { done: 2, deleting: 2, retained: 1, orphaned: 1, waiting: 1 },
      namespaces: ["acme", "cleanup", "two"],
    });
    expect(usage.get("globex")).toEqual({ rows: 0, total: 1, byState: { waiting: 1 }, namespaces: [] });
    expect(await tenantUsage(pool, "acme")).toEqual(new Map([["acme", usage.get("acme")]]));
  });
});

describe("rows look again", () => {
  const handled = (tenantRevision: string) => JSON.stringify({ generation: 1, tenantRevision });

  async function due(): Promise<string[]> {
    const { rows } = await pool.query<{ sme_user_uuid: string }>(
      "select sme_user_uuid from user_provision_state where due_at <= now() + interval '1 s' and touches = 1 and backoff_until is null",
    );
    return rows.map((each) => each.sme_user_uuid).toSorted();
  }

  test("those last handled under another revision, out of their pause", async () => {
    const stale = await row({ handled: handled("r1"), backoff_until: new Date(Date.now() + 60_000) });
    const never = await row({ state: "pending" });
    await row({ handled: handled("r2") });
    await row({ handled: handled("r1"), sme_tenant_id: "globex" });
    await row({ handled: handled("r1"), confirmed_at: null });
    await row({ handled: handled("r1"), voided_at: new Date() });
    for (const state of ["deleted", "retained", "orphaned"]) await row({ handled: handled("r1"), state });
    expect(await touchTenantRows(pool, "acme", "r2")).toBe(2);
    expect(await due()).toEqual([stale, never].toSorted());
  });

  test("or all of the tenant that live", async () => {
    const rows = [await row({ handled: handled("r1") }), await row({ handled: handled("r2") })];
    await row({ state: "deleted" });
    expect(await touchTenantRows(pool, "acme")).toBe(2);
    expect(await due()).toEqual(rows.toSorted());
  });

  test("with all of them those whom a refused credential had stopped, and nobody who is stalled for himself", async () => {
    const stopped = (code: string) => ({ state: "failed", blocked_on: "1|r1||", last_error: JSON.stringify({ code }) });
    const refused = await row(stopped("CredentialsRefused"));
    const homeless = await row(stopped("RealmNotFound"));
    await row(stopped("UserClaimed"));
    const free = async () => {
      const { rows } = await pool.query<{ sme_user_uuid: string }>(
        "select sme_user_uuid from user_provision_state where blocked_on is null",
      );
      return rows.map((each) => each.sme_user_uuid).toSorted();
    };
    await touchTenantRows(pool, "acme", "r2");
    expect(await free()).toEqual([]);
    await touchTenantRows(pool, "acme");
    expect(await free()).toEqual([refused, homeless].toSorted());
  });
});

describe("the claim of a realm", () => {
  const claim = (id: string, realmID: string, ...emailDomains: string[]) =>
    claimRealm(pool, id, { realmID, emailDomains });
  const held = (isShared = false) => ({ kind: "held", isShared });
  const refused = (holder: string) => ({ kind: "refused", holder });

  beforeEach(async () => {
    for (const id of ["acme", "globex", "initech"]) await mirrorTenant(pool, record(id));
  });

  test("is the first one's, again and again, until it goes", async () => {
    expect(await claim("acme", "r")).toEqual(held());
    expect(await claim("globex", "r")).toEqual(refused("acme"));
    expect(await claim("globex", "r", "globex.example")).toEqual(refused("acme"));
    expect(await claim("globex", "other")).toEqual(held());
    expect(await claim("acme", "r")).toEqual(held());
    await pool.query("delete from tenants where tenant_id = 'acme'");
    expect(await claim("globex", "r")).toEqual(held());
  });

  test("is shared where the domains are disjoint, in any letters; a wider one is refused and leaves the old as it was", async () => {
    expect(await claim("acme", "r", "A.example")).toEqual(held());
    expect(await claim("globex", "r", "b.example")).toEqual(held(true));
    expect(await claim("initech", "r", "c.example", "a.example")).toEqual(refused("acme"));
    expect(await claim("acme", "r", "a.example", "b.example")).toEqual(refused("globex"));
    expect(await claim("acme", "r")).toEqual(refused("globex"));
    expect(await claim("acme", "r", "a.example", "d.example")).toEqual(held());
    expect(await claim("globex", "r", "b.example")).toEqual(held(true));
    const shared = (await loadTenants(pool)).filter(({ isRealmShared }) => isRealmShared);
    expect(shared.map(({ tenantID }) => tenantID)).toEqual(["globex"]);
  });

  test("whoever says to be another realm later takes it from nobody", async () => {
    expect(await claim("globex", "mine")).toEqual(held());
    expect(await claim("acme", "r")).toEqual(held());
    expect(await claim("globex", "r")).toEqual(refused("acme"));
    expect(await claim("acme", "r")).toEqual(held());
  });

  test("is one Tenant's of many that ask at once", async () => {
    const ids = Array.from({ length: 12 }, (_, index) => `t${index}`);
    for (const id of ids) await mirrorTenant(pool, record(id));
    const claims = await Promise.all(ids.map((id) => claim(id, "crowded")));
    expect(claims.filter(({ kind }) => kind === "held")).toHaveLength(1);
  });

  test("fails for a Tenant without a record", async () => {
    await expect(claim("nobody", "r")).rejects.toThrow("has no record yet");
  });
});
