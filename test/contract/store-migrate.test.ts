import { afterEach, describe, expect, test } from "vitest";
import pg from "pg";
import { migrate, type Migration, MigrationError, readMigrations } from "../../src/store/migrate.ts";
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

describe("migrate", () => {
  test("brings an empty database to the current schema, and finds nothing to do the second time", async () => {
    const url = await emptyDatabase();
    const all = (await readMigrations()).map((migration) => migration.name);
    expect(await migrate({ url })).toEqual(all);
    expect(await migrate({ url })).toEqual([]);
    expect(await query(url, "select state from user_provision_state")).toEqual([]);
  });

  test("lets eight replicas start at once: one migrates, the others wait and find it done", async () => {
    const url = await emptyDatabase();
    const all = (await readMigrations()).map((migration) => migration.name);
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
