/** The database's roles, each connected to a real Postgres: what the webhook and the reconciler may do there, and what not. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { databaseSource, parseConfig } from "../../src/lib/config.ts";
import { silentLog } from "../../src/lib/log.ts";
import { type AdmissionCandidate, recordCandidates } from "../../src/store/admissions.ts";
import { appendAudit } from "../../src/store/audit.ts";
import { bind } from "../../src/store/bindings.ts";
import { claimDue, livingWorkers } from "../../src/store/claims.ts";
import { migrate } from "../../src/store/migrate.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { deleteAudit, deleteEnded, deleteUnseen } from "../../src/store/retention.ts";
import { orphanForeignRows, voidUnconfirmed } from "../../src/store/observations.ts";
import { readStats } from "../../src/store/stats.ts";
import { makeTenantDirectory } from "../../src/store/tenantDirectory.ts";
import { openWorkerSession } from "../../src/store/workerSession.ts";
import { knownTenant } from "../support/admission.ts";
import { bindRequest } from "../support/builders.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";

const suffix = randomBytes(4).toString("hex");
const ROLES = { webhook: `webhook_${suffix}`, reconciler: `reconciler-${suffix}` };
let database: TestDatabase;
let owner: Pool;
let webhook: Pool;
let reconciler: Pool;

const urlOf = (role: string): string => {
  const url = new URL(database.url);
  url.username = role;
  url.password = suffix;
  return url.href;
};

beforeAll(async () => {
  database = await freshDatabase();
  owner = makePool({ url: database.url, max: 2, applicationName: "owner" });
  for (const role of Object.values(ROLES)) await owner.query(`create role "${role}" login password '${suffix}'`);
  // What somebody gave too much of is taken away again.
  await owner.query(`grant all on all tables in schema public to "${ROLES.webhook}"`);
  await migrate({ url: database.url, roles: ROLES });
  await migrate({ url: database.url, roles: ROLES });
  webhook = makePool({ url: urlOf(ROLES.webhook), max: 2, applicationName: "webhook" });
  reconciler = makePool({ url: urlOf(ROLES.reconciler), max: 4, applicationName: "reconciler" });
});
afterAll(async () => {
  await Promise.all([webhook.end(), reconciler.end()]);
  for (const role of Object.values(ROLES)) {
    await owner.query(`drop owned by "${role}"`);
    await owner.query(`drop role "${role}"`);
  }
  await owner.end();
  await database.drop();
});

const candidate = (given: Partial<AdmissionCandidate> = {}): AdmissionCandidate => ({
  uuid: randomUUID(),
  tenantID: "acme",
  email: `${randomUUID()}@example.com`,
  objectUID: randomUUID(),
  namespace: "tenant-a",
  name: "ada",
  isNew: true,
  maxUsers: undefined,
  ...given,
});

/** Every right that a role has, by table. */
async function rightsOf(role: string): Promise<Record<string, string[]>> {
  const { rows } = await owner.query<{ name: string; held: string[] }>(
    `select t.relname as name, array(
       select p from unnest(array['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER']) as p
       where has_table_privilege($1, t.oid, p)
          or (p in ('SELECT','INSERT','UPDATE','REFERENCES') and has_any_column_privilege($1, t.oid, p))) as held
     from pg_class t where t.relnamespace = 'public'::regnamespace and t.relkind = 'r'`,
    [role],
  );
  return Object.fromEntries(rows.filter(({ held }) => held.length > 0).map(({ name, held }) => [name, held]));
}

describe("the webhook's role", () => {
  test("does all that admission does: records one, several, changed ones, and follows the Tenants", async () => {
    await owner.query(
      `insert into tenants (tenant_id, object_uid, name, object_created_at, accepted, revision)
       values ('acme', $1, 'acme', now(), $2, '1')`,
      [randomUUID(), knownTenant("acme").spec],
    );
    await owner.query("insert into tenant_namespaces values ('tenant-a', 'acme')");
    const directory = makeTenantDirectory({ url: urlOf(ROLES.webhook), log: silentLog, random: () => 0 });
    await directory.start();
    await expect.poll(() => directory.lookup("tenant-a")?.tenantID).toBe("acme");
    await owner.query("update tenant_namespaces set namespace = 'tenant-z'");
    await expect.poll(() => directory.lookup("tenant-z")?.tenantID, { timeout: 5_000 }).toBe("acme");
    await directory.stop();

    expect(await recordCandidates(webhook, [candidate()])).toMatchObject([{ inserted: true }]);
    const several = [candidate({ maxUsers: 1 }), candidate({ isNew: false })];
    expect(await recordCandidates(webhook, several)).toMatchObject([{ inserted: true }, { inserted: true }]);
    const held = candidate({ isNew: false });
    await owner.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name, confirmed_at)
       values ($1, 'acme', $2, $3, 'tenant-a', 'ada', now())`,
      [held.uuid, held.email, held.objectUID],
    );
    expect(await recordCandidates(webhook, [held])).toMatchObject([{ touched: true }]);
  });

  test("has no right to a table but to read which namespace is whose", async () => {
    expect(await rightsOf(ROLES.webhook)).toEqual({ tenants: ["SELECT"], tenant_namespaces: ["SELECT"] });
  });

  test.each([
    ["reads no people", "select 1 from user_provision_state"],
    ["nor one column of them", "select email from user_provision_state"],
    ["nor who waits", "select * from waiting"],
    ["nor the audit", "select * from audit"],
    ["nor events", "select * from outbox"],
    ["nor what is wrong with a Tenant", "select problems from tenants"],
    [
      "adds nobody past the functions",
      "insert into user_provision_state (sme_user_uuid, sme_tenant_id, email) values (gen_random_uuid(), 'x', 'y')",
    ],
    ["changes no row", "update user_provision_state set email = 'eve@example.com'"],
    ["nor the one column that a function touches", "update user_provision_state set due_at = now()"],
    ["deletes none", "delete from user_provision_state"],
    ["empties none", "truncate user_provision_state"],
    ["takes no namespace", "insert into tenant_namespaces values ('x', 'acme')"],
    [
      "binds nobody",
      "select * from bind_new_user(gen_random_uuid(), false, 'acme', 'e@example.com', 'c', gen_random_uuid(), 'n', 'n', now(), null)",
    ],
    ["forgets no audit", "select forget_audit(now(), 1)"],
    ["makes no table", "create table public.mine (n int)"],
    [
      "replaces no function",
      "create or replace function most_unseen() returns bigint language sql as 'select 7::bigint'",
    ],
  ])("%s", async (_what, statement) => {
    await expect(webhook.query(statement)).rejects.toMatchObject({ code: "42501" });
  });

  test("cannot put a table of its own before the functions' one", async () => {
    const client = await webhook.connect();
    try {
      await client.query("create temp table user_provision_state (like tenant_namespaces)");
      await client.query("set search_path = pg_temp, public");
      const { rows } = await client.query<{ inserted: boolean }>(
        "select * from public.record_candidate($1, $2, 'acme', 'shadow@example.com', 'tenant-a', 'shadow')",
        [randomUUID(), randomUUID()],
      );
      expect(rows).toMatchObject([{ inserted: true }]);
    } finally {
      client.release(true);
    }
    expect((await owner.query("select from user_provision_state where object_name = 'shadow'")).rowCount).toBe(1);
  });

  test("leaves a row that is confirmed as it is, but for when it is looked at", async () => {
    const seen = candidate({ isNew: false });
    await owner.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name, confirmed_at)
       values ($1, 'acme', $2, $3, 'tenant-a', 'ada', now())`,
      [seen.uuid, seen.email, seen.objectUID],
    );
    const row = async () =>
      (
        await owner.query<Record<string, unknown>>("select * from user_provision_state where sme_user_uuid = $1", [
          seen.uuid,
        ])
      ).rows[0];
    const before = await row();
    await recordCandidates(webhook, [
      { ...seen, tenantID: "globex", email: "eve@example.com", namespace: "n", name: "eve" },
    ]);
    const after = await row();
    expect({ ...after, due_at: null, touches: 0 }).toEqual({ ...before, due_at: null, touches: 0 });
  });
});

describe("the reconciler's role", () => {
  test("works with the rows, and sees that it lives", async () => {
    const session = await openWorkerSession(urlOf(ROLES.reconciler), "role test");
    await bind(reconciler, bindRequest({ name: "role" }), () => undefined);
    expect((await claimDue(reconciler, session.owner, 10)).length).toBeGreaterThan(0);
    expect(await livingWorkers(reconciler)).toContain(session.owner);
    await session.close();
    expect(await orphanForeignRows(reconciler, "another-cluster")).toBeGreaterThan(0);
    await voidUnconfirmed(reconciler);
    await deleteUnseen(reconciler, { perTenant: 1, most: 1 });
    await deleteEnded(reconciler, { afterDays: 1, most: 1 });
    await readStats(reconciler);
  });

  test.each([
    ["changes no audit", "update audit set action = 'x'"],
    ["deletes none", "delete from audit"],
    ["empties none", "truncate audit"],
    ["pretends no migration", "insert into schema_migrations values (99, 'x', 'x')"],
    ["drops nothing", "drop table outbox"],
    ["makes nothing", "create table public.mine (n int)"],
    ["ends no trigger", "alter table audit disable trigger audit_append_only"],
  ])("%s", async (_what, statement) => {
    await expect(reconciler.query(statement)).rejects.toMatchObject({ code: "42501" });
  });

  test("deletes audit entries that are old enough, the oldest first, and never one younger than 30 days", async () => {
    const entry = { uuid: randomUUID(), tenantID: "acme", step: "keycloak", action: "created", target: "kc" };
    await owner.query("truncate audit");
    for (const age of [400, 300, 40, 20, 0]) {
      await owner.query(
        `insert into audit (at, sme_user_uuid, sme_tenant_id, step, action)
         values (now() - make_interval(days => $1), gen_random_uuid(), 'acme', 'keycloak', $1::text)`,
        [age],
      );
    }
    const left = async () =>
      (await owner.query<{ action: string }>("select action from audit order by seq")).rows.map(({ action }) => action);
    expect(await deleteAudit(reconciler, { afterDays: 350, most: 10 })).toBe(1);
    expect(await deleteAudit(reconciler, { afterDays: 1, most: 1 })).toBe(1);
    expect(await deleteAudit(reconciler, { afterDays: 1, most: 10 })).toBe(1);
    expect(await left()).toEqual(["20", "0"]);
    await appendAudit(reconciler, [entry]);
    expect(await left()).toEqual(["20", "0", "created"]);
    await expect(owner.query("delete from audit")).rejects.toThrow("audit rows are never changed");
  });
});

test("rows of people who are gone are deleted at their age, and of those who kept an account none is", async () => {
  await owner.query("truncate user_provision_state");
  const add = (name: string, state: string, age: number, columns = "", values = "") =>
    owner.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_name, state, confirmed_at, updated_at ${columns})
       values (gen_random_uuid(), 'acme', $1, $1, $2, now(), now() - make_interval(days => $3) ${values})`,
      [name, state, age],
    );
  await add("old", "deleted", 40);
  await add("young", "deleted", 10);
  await add("retained", "retained", 400);
  await add("orphaned", "orphaned", 400);
  await add("living", "done", 400);
  await add("owing", "deleting", 400);
  await add("due", "deleted", 400, ", due_at", ", now()");
  await add("void", "pending", 400, ", voided_at", ", now()");
  expect(await deleteEnded(reconciler, { afterDays: 30, most: 1 })).toBe(1);
  expect(await deleteEnded(reconciler, { afterDays: 30, most: 10 })).toBe(1);
  const { rows } = await owner.query<{ name: string }>(
    "select object_name as name from user_provision_state order by object_name",
  );
  expect(rows.map(({ name }) => name)).toEqual(["due", "living", "orphaned", "owing", "retained", "young"]);
});

test("a role that the database does not have is said, and nothing is granted", async () => {
  await expect(
    migrate({ url: database.url, roles: { webhook: "nobody_here", reconciler: undefined } }),
  ).rejects.toThrow("The database has no role nobody_here: create it as docs/platform-guide.md says");
});

test("a login that changes in its file is used by the next connection; a file that is spoilt changes nothing", async () => {
  const folder = await mkdtemp(join(tmpdir(), "unified-rbac-database-"));
  const file = join(folder, "url");
  await writeFile(file, `${urlOf(ROLES.webhook)}\n`);
  const config = parseConfig("webhook", { DATABASE_URL_FILE: file });
  const pool = makePool({ url: databaseSource(config), max: 1, applicationName: "rotated" });
  const whoNext = async () => {
    const client = await pool.connect();
    const { rows } = await client.query<{ name: string }>("select current_user as name");
    client.release(true);
    return rows[0]?.name;
  };
  expect(await whoNext()).toBe(ROLES.webhook);
  await writeFile(file, urlOf(ROLES.reconciler));
  expect(await whoNext()).toBe(ROLES.reconciler);
  for (const spoilt of ["", "mysql://nobody"]) {
    await writeFile(file, spoilt);
    expect(await whoNext()).toBe(ROLES.reconciler);
  }
  await rm(folder, { recursive: true });
  expect(await whoNext()).toBe(ROLES.reconciler);
  await pool.end();
});
