/** A database of its own for the tests of one file. */
import { afterAll, afterEach, beforeAll } from "vitest";
import { makePool, type Pool } from "../../src/store/pool.ts";
import type { PendingUser } from "../../src/store/waiting.ts";
import { freshDatabase, type TestDatabase } from "./postgres.ts";

/** Makes it before the first test and drops it after the last; `emptied`: tables that are emptied after each test. */
export function useStore(
  opened: (pool: Pool, database: TestDatabase) => void,
  { max = 4, emptied }: { readonly max?: number; readonly emptied?: string } = {},
): void {
  let database: TestDatabase;
  let pool: Pool;
  beforeAll(async () => {
    database = await freshDatabase();
    pool = makePool({ url: database.url, max, applicationName: "test" });
    opened(pool, database);
  });
  afterAll(async () => {
    await pool.end();
    await database.drop();
  });
  if (emptied !== undefined)
    afterEach(async () => {
      await pool.query(`truncate ${emptied}`);
    });
}

/** Everybody of this tenant who waits, oldest first; of all tenants when it is undefined. */
export async function listWaiting(pool: Pool, tenantID: string | undefined): Promise<PendingUser[]> {
  const { rows } = await pool.query<PendingUser>({
    text: `select object_uid as uid, namespace, name, created_at as "createdAt" from waiting
           where $1::text is null or tenant = $1 or tenant is null order by created_at, object_uid`,
    values: [tenantID ?? null],
  });
  return rows;
}
