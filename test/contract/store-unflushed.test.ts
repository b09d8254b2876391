/** What admission writes without waiting for the disk, on a Postgres that does wait, and crashes. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { candidateUUID } from "../../src/api/names.ts";
import { type AdmissionCandidate, recordCandidates } from "../../src/store/admissions.ts";
import { bind } from "../../src/store/bindings.ts";
import { migrate } from "../../src/store/migrate.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { type PostgresServer, startPostgres } from "../support/postgresServer.ts";

let server: PostgresServer;
let pool: Pool;

beforeAll(async () => {
  server = await startPostgres({ durable: true, maxConnections: 20 });
  await migrate({ url: server.url });
  pool = makePool({ url: server.url, max: 1, applicationName: "test", onIdleError: () => {} });
});
afterAll(async () => {
  await pool.end();
  await server.stop();
});

function candidate(name: string, isNew = true): AdmissionCandidate {
  const email = `${name}@example.com`;
  const [uuid, objectUID] = [candidateUUID("acme", email), randomUUID()];
  return { uuid, tenantID: "acme", email, objectUID, namespace: "tenant-a", name, isNew, maxUsers: undefined };
}

/** Whether something that was written is not on the disk yet. */
async function isBehind(): Promise<boolean> {
  const { rows } = await pool.query<{ behind: boolean }>(
    "select pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() as behind",
  );
  return rows[0]?.behind === true;
}

test.each([
  ["one new object", (n: number) => [candidate(`one-${n}`)]],
  ["several new ones", (n: number) => [candidate(`a-${n}`), candidate(`b-${n}`)]],
  ["a changed one", (n: number) => [candidate(`changed-${n}`, false)]],
])("nobody waits for the disk for the record of %s", async (_what, candidates) => {
  // Postgres itself flushes now and then: not each time.
  let behind = 0;
  for (let n = 0; n < 30; n += 1) {
    await recordCandidates(pool, candidates(n));
    if (await isBehind()) behind += 1;
  }
  expect(behind).toBeGreaterThan(0);
});

test("what others write on the same connection is on the disk when they are answered", async () => {
  for (let n = 0; n < 30; n += 1) {
    await recordCandidates(pool, [candidate(`then-${n}`)]);
    await pool.query("update user_provision_state set touches = touches + 1 where object_name = $1", [`then-${n}`]);
    const { rows } = await pool.query<{ setting: string }>("show synchronous_commit");
    expect(rows).toEqual([{ synchronous_commit: "on" }]);
  }
});

test("whoever a crash makes Postgres forget is bound when the watch sees them, once", async () => {
  const crowd = Array.from({ length: 40 }, (_, n) => candidate(`crowd-${n}`));
  for (const one of crowd) await recordCandidates(pool, [one]);
  await server.crash();
  await server.resume();
  for (const { objectUID: uid, namespace, name, tenantID, email } of crowd) {
    const object = { uid, namespace, name, tenantID, email, pin: undefined, maxUsers: undefined, clusterID: "c1" };
    const binding = await bind(pool, { ...object, createdAt: new Date() }, () => undefined);
    expect(binding).toMatchObject({ kind: "bound", returned: false, row: { objectUID: uid, state: "pending" } });
  }
  const { rows } = await pool.query<{ n: number }>(
    "select count(*)::int as n from user_provision_state where object_name like 'crowd-%'",
  );
  expect(rows).toEqual([{ n: crowd.length }]);
});
