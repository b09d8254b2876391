/** The migration as it is composed: one call brings an empty database to the schema; a broken one is told apart. */
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/lib/config.ts";
import { makeLog, silentLog } from "../../../src/lib/log.ts";
import { runMigrate } from "../../../src/roles/migrate.ts";
import { makePool } from "../../../src/store/pool.ts";
import { loadTenants } from "../../../src/store/tenants.ts";
import { freshDatabase } from "../../support/postgres.ts";

test("an empty database is brought to the schema, its roles get their rights, and a second run finds nothing to do", async () => {
  const database = await freshDatabase({ migrated: false });
  const pool = makePool({ url: database.url, max: 1, applicationName: "test" });
  try {
    const role = `reconciler_${Date.now()}`;
    await pool.query(`create role ${role}`);
    const config = parseConfig("migrate", { DATABASE_URL: database.url, RECONCILER_DATABASE_ROLE: role });
    expect(await runMigrate(config, silentLog)).toBe(0);
    expect(await loadTenants(pool)).toEqual([]);
    const { rows } = await pool.query("select has_table_privilege($1, 'tenants', 'insert') as granted", [role]);
    expect(rows).toEqual([{ granted: true }]);
    expect(await runMigrate(config, silentLog)).toBe(0);
    await pool.query(`drop owned by ${role}; drop role ${role}`);
  } finally {
    await pool.end();
    await database.drop();
  }
});

test("a database of another program is refused at once, and not tried again", async () => {
  const database = await freshDatabase();
  const pool = makePool({ url: database.url, max: 1, applicationName: "test" });
  try {
    await pool.query("update schema_migrations set checksum = 'another'");
    const lines: string[] = [];
    const log = {
      ...makeLog({ level: "silent", role: "migrate" }),
      error: (message: string) => void lines.push(message),
    };
    expect(await runMigrate(parseConfig("migrate", { DATABASE_URL: database.url }), log)).toBe(1);
    expect(lines).toEqual(["failed to migrate"]);
  } finally {
    await pool.end();
    await database.drop();
  }
});
