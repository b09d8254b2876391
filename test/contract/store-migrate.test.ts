import { afterEach, describe, expect, test } from "vitest";
import pg from "pg";
import { claimDue, record } from "../../src/store/claims.ts";
import { migrate, type Migration, MigrationError, readMigrations } from "../../src/store/migrate.ts";
import { makePool } from "../../src/store/pool.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";

const dropped: TestDatabase[] = [];
afterEach(async () => {
  for (const database of dropped.splice(0)) await database.drop();
});

async function emptyDatabase(): Promise<string> {
  const database = await freshDatabase({ migrated: false });
  dropped.push(database);
  return database.url;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

const made = (number: number, sql: string, checksum = `sum-${number}`): Migration => ({
  number,
  name: `${String(number).padStart(4, "0")}_made.sql`,
  sql,
  checksum,
});

/** Every row of every table, as JSON. */
async function everything(url: string): Promise<Record<string, unknown>> {
  const tables = ["user_provision_state", "waiting", "tenants", "tenant_namespaces", "outbox", "audit", "drift_checks"];
  const found: Record<string, unknown> = {};
  for (const table of tables) {
    found[table] = (await query(url, `select to_jsonb(t) as row from ${table} t order by to_jsonb(t)::text`)).map(
      (each) => (each as { row: unknown }).row,
    );
  }
  return found;
}

/** As schema 0001 had it: a row of every state, one of every kind of the other tables. */
const ROWS_OF_0001 = `
  insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, state, reached, object_uid, object_namespace,
    object_name, cluster_id, confirmed_at, kc_user_id, newapi_user_id, secret_namespace, secret_name, secret_uid, handled,
    run, deleting, last_error, key_generation, history)
  select gen_random_uuid(), 'acme', state || '@example.com', state, case when state = 'done' then 'done' else 'kc_created' end,
    gen_random_uuid(), 'tenant-a', replace(state, '_', '-'), 'c1', now(), 'kc-' || state, 'na-' || state, 'tenant-a',
    'newapi-key-' || state, gen_random_uuid(),
    case when state = 'done' then '{"generation": 1, "tenantRevision": "r1", "key": "works", "notes": []}'::jsonb end,
    case when state = 'kc_created' then
      '{"reason": "create", "generation": 1, "step": "newapi", "attempt": 2, "done": false}'::jsonb end,
    case when state = 'deleting' then jsonb_build_object('since', '2026-05-01T12:00:00.000Z', 'objectUID', gen_random_uuid(),
      'undone', '["secret"]'::jsonb, 'released', true) end,
    case when state = 'failed' then '{"step": "keycloak", "class": "terminal", "code": "UserClaimed", "message": "x"}'::jsonb end,
    3, '[{"at": "2026-05-01T12:00:00Z", "state": "pending", "reason": "Progressing"}]'
  from unnest(array['pending', 'kc_created', 'newapi_created', 'secret_applied', 'done', 'failed', 'deleting', 'deleted',
    'retained', 'orphaned']) as state;
  insert into waiting values (gen_random_uuid(), 'tenant-a', 'w', 'acme', 'done@example.com', now(), 'EmailInUse');
  insert into tenants (tenant_id, object_uid, name, object_created_at, accepted, revision)
    values ('acme', gen_random_uuid(), 'acme', now(), '{"tenantID": "acme"}', 'r1');
  insert into tenant_namespaces values ('tenant-a', 'acme');
  insert into drift_checks values ('acme', now());
  insert into outbox (id, payload) values (gen_random_uuid(), '{"type": "sme.user.created"}');
  insert into audit (sme_user_uuid, sme_tenant_id, step, action, target, detail)
    values (gen_random_uuid(), 'acme', 'keycloak', 'created', 'kc-1', '{"groups": ["/a"]}');`;

describe("migrate, from every earlier version", async () => {
  const all = readMigrations();
  const earlier = all.slice(0, -1).map((_, index) => index + 1);

  async function databaseOf(version: number): Promise<string> {
    const url = await emptyDatabase();
    await migrate({ url, migrations: all.slice(0, 1) });
    await query(url, ROWS_OF_0001);
    await migrate({ url, migrations: all.slice(0, version) });
    return url;
  }

  test.each(earlier)("schema %i comes to the newest, and nothing of its data is lost or changed", async (version) => {
    const url = await databaseOf(version);
    const before = await everything(url);
    expect(before["user_provision_state"]).toHaveLength(10);
    expect(await migrate({ url })).toEqual(all.slice(version).map(({ name }) => name));
    expect(await everything(url)).toMatchObject(before);
  });

  test("the newest comes to one that adds and fills a column, and nothing of its data is lost or changed", async () => {
    const url = await databaseOf(all.length);
    const before = await everything(url);
    const coming = made(
      all.length + 1,
      "alter table user_provision_state add column later text; update user_provision_state set later = 'x'",
    );
    expect(await migrate({ url, migrations: [...all, coming] })).toEqual([coming.name]);
    expect(await everything(url)).toMatchObject(before);
    expect(await query(url, "select distinct later from user_provision_state")).toEqual([{ later: "x" }]);
  });

  test.each(earlier)("the rows of schema %i are read, claimed and recorded by this program", async (version) => {
    const url = await databaseOf(version);
    await migrate({ url });
    await query(url, "update user_provision_state set due_at = now()");
    const pool = makePool({ url, max: 2, applicationName: "test" });
    try {
      const claims = await claimDue(pool, 1, 20);
      expect(claims.map(({ row }) => row.state).toSorted()).toHaveLength(10);
      for (const claim of claims) {
        expect(claim.row).toMatchObject({ keyGeneration: 3, secretPlaces: [], tenantID: "acme" });
        const entry = { uuid: claim.row.uuid, tenantID: "acme", step: "secret", action: "updated", target: "s" };
        const recording = { patch: {}, lease: { dueAt: null }, audit: [entry], events: [] };
        expect(await record(pool, claim, recording)).toBeDefined();
      }
    } finally {
      await pool.end();
    }
  });

  test.each(earlier)("two at once bring schema %i to the newest, once", async (version) => {
    const url = await databaseOf(version);
    const results = await Promise.all([migrate({ url }), migrate({ url })]);
    expect(results.map((applied) => applied.length).toSorted((a, b) => a - b)).toEqual([0, all.length - version]);
  });
});

describe("migrate", () => {
  test("brings an empty database to the current schema, and finds nothing to do the second time", async () => {
    const url = await emptyDatabase();
    const all = readMigrations().map((migration) => migration.name);
    expect(await migrate({ url })).toEqual(all);
    expect(await migrate({ url })).toEqual([]);
    expect(await query(url, "select state from user_provision_state")).toEqual([]);
  });

  test("lets eight replicas start at once: one migrates, the others wait and find it done", async () => {
    const url = await emptyDatabase();
    const all = readMigrations().map((migration) => migration.name);
    const results = await Promise.all(Array.from({ length: 8 }, () => migrate({ url })));
    expect(results.filter((applied) => applied.length > 0)).toEqual([all]);
    expect(await query(url, "select count(*)::int as n from schema_migrations")).toEqual([{ n: all.length }]);
  });

  test("applies only what is missing", async () => {
    const url = await emptyDatabase();
    const first = made(1, "create table one (n int)");
    await migrate({ url, migrations: [first] });
    expect(await migrate({ url, migrations: [first, made(2, "create table two (n int)")] })).toEqual(["0002_made.sql"]);
  });

  test("refuses a schema that is newer than the program, in one sentence", async () => {
    const url = await emptyDatabase();
    await migrate({ url, migrations: [made(1, "select 1"), made(2, "select 1")] });
    await expect(migrate({ url, migrations: [made(1, "select 1")] })).rejects.toThrow(
      new MigrationError(
        "The database has schema 2 (0002_made.sql), this program knows schemas up to 1: run the newer program, or restore the database from before its upgrade.",
      ),
    );
  });

  test("refuses a migration whose text was changed after it was applied", async () => {
    const url = await emptyDatabase();
    await migrate({ url, migrations: [made(1, "select 1")] });
    await expect(migrate({ url, migrations: [made(1, "select 2", "other")] })).rejects.toThrow(
      "Migration 0001_made.sql is not the text that was applied to this database as 0001_made.sql: restore the file, and put the change into a new one.",
    );
  });

  test("keeps nothing of a migration that fails half-way, and what came before it", async () => {
    const url = await emptyDatabase();
    const migrations = [made(1, "create table one (n int)"), made(2, "create table two (n int); select nonsense")];
    await expect(migrate({ url, migrations })).rejects.toThrow(
      'Migration 0002_made.sql failed, nothing of it was kept: column "nonsense" does not exist.',
    );
    expect(await query(url, "select to_regclass('one') is null as one, to_regclass('two') is null as two")).toEqual([
      { one: false, two: true },
    ]);
  });

  test("stops waiting for another replica when the process is told to stop", async () => {
    const url = await emptyDatabase();
    const stuck = migrate({ url, migrations: [made(1, "select pg_sleep(3)")] });
    await expect.poll(() => query(url, "select 1 from pg_locks where locktype = 'advisory'")).toHaveLength(1);
    const stop = new AbortController();
    const waiting = migrate({ url }, stop.signal);
    setTimeout(() => stop.abort(new Error("shutting down")), 100);
    await expect(waiting).rejects.toThrow("shutting down");
    await stuck;
  });
});
