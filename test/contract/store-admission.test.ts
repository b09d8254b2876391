import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { makeRecord, RECORD_POOL, type RecordOutcome } from "../../src/admission/record.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { type AdmissionCandidate, type CandidateRecord, recordCandidates } from "../../src/store/admissions.ts";
import { deleteUnseen } from "../../src/store/retention.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { tenantUsage } from "../../src/store/tenants.ts";
import { makeTenantDirectory } from "../../src/store/tenantDirectory.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { knownTenant } from "../support/admission.ts";
import { useStore } from "../support/store.ts";

let database: TestDatabase;
let pool: Pool;
useStore((...opened) => ([pool, database] = opened), {
  max: 8,
  emptied: "user_provision_state, tenants, tenant_namespaces",
});

function candidate(given: Partial<AdmissionCandidate> = {}): AdmissionCandidate {
  return {
    uuid: randomUUID(),
    tenantID: "acme",
    email: "ada@example.com",
    objectUID: randomUUID(),
    namespace: "tenant-a",
    name: "ada",
    isNew: given.maxUsers !== undefined,
    maxUsers: undefined,
    ...given,
  };
}

/** A row as the reconciler leaves it: confirmed, bound to the object. */
async function confirmed(of: AdmissionCandidate, columns: Record<string, unknown> = {}): Promise<void> {
  const row: Record<string, unknown> = {
    sme_user_uuid: of.uuid,
    sme_tenant_id: of.tenantID,
    email: of.email,
    object_uid: of.objectUID,
    object_namespace: of.namespace,
    object_name: of.name,
    state: "done",
    confirmed_at: new Date(),
    updated_at: new Date(0),
    ...columns,
  };
  const names = Object.keys(row);
  await pool.query(
    `insert into user_provision_state (${names.join(", ")}) values (${names.map((_, i) => `$${i + 1}`).join(", ")})`,
    Object.values(row),
  );
}

async function rows(): Promise<Record<string, unknown>[]> {
  return (await pool.query<Record<string, unknown>>("select * from user_provision_state order by created_at")).rows;
}

/** A tenant as the reconciler mirrors it. */
async function mirror(id: string, namespaces: string[]): Promise<void> {
  const { spec } = knownTenant(id, { namespaces });
  await pool.query(
    `insert into tenants (tenant_id, object_uid, name, object_created_at, accepted, revision)
     values ($1, $2, $1, now(), $3, '1')`,
    [id, randomUUID(), spec],
  );
  for (const namespace of namespaces) {
    await pool.query("insert into tenant_namespaces values ($1, $2)", [namespace, id]);
  }
}

const inserted = (record: RecordOutcome): boolean | undefined =>
  typeof record === "object" ? record.inserted : undefined;

async function recordCandidate(on: Pool, of: AdmissionCandidate): Promise<CandidateRecord> {
  const [record] = await recordCandidates(on, [of]);
  if (record === undefined) throw new Error("the statement gave no row");
  return record;
}

const NOTHING = { inserted: false, touched: false, heldBy: undefined, full: false };

describe("recordCandidate", () => {
  test("makes an unconfirmed, pending row that is nothing to claim yet", async () => {
    const seen = candidate();
    expect(await recordCandidate(pool, seen)).toEqual({ ...NOTHING, inserted: true });
    expect(await rows()).toMatchObject([
      {
        sme_user_uuid: seen.uuid,
        sme_tenant_id: "acme",
        email: "ada@example.com",
        state: "pending",
        object_uid: seen.objectUID,
        object_namespace: "tenant-a",
        object_name: "ada",
        confirmed_at: null,
        voided_at: null,
        due_at: null,
        touches: 0,
      },
    ]);
  });

  test("of the same object twice, at the same time or later, makes one row", async () => {
    const seen = candidate();
    const results = await Promise.all(Array.from({ length: 8 }, () => recordCandidate(pool, seen)));
    expect(results.filter(({ inserted }) => inserted)).toHaveLength(1);
    expect(await recordCandidate(pool, seen)).toEqual(NOTHING);
    expect(await rows()).toHaveLength(1);
  });

  test("makes the object's confirmed row due at once, and changes nothing else of it", async () => {
    const seen = candidate();
    await confirmed(seen, { due_at: new Date(Date.now() + 60_000), touches: 4 });
    const [before] = await rows();
    expect(await recordCandidate(pool, seen)).toEqual({ ...NOTHING, touched: true });
    const [after] = await rows();
    expect(after).toEqual({ ...before, due_at: after?.["due_at"], touches: 5 });
    expect(Number(after?.["due_at"])).toBeLessThanOrEqual(Date.now() + 1000);
  });

  const requestUID = "7b1f2c3d-0000-4000-8000-0000000000aa";
  const cause = { requestUID, traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };

  test.each([
    ["alone", [{ isNew: true }]],
    ["of a tenant with a quota", [{ isNew: true, maxUsers: 5 }]],
    ["together", [{ isNew: true }, { isNew: true, email: "eve@example.com" }]],
    ["for an object that is older than its row", [{ isNew: false }]],
  ])("keeps the request that a new row came with: %s", async (_how, given) => {
    const candidates = given.map((each) => candidate({ ...each, cause }));
    await recordCandidates(pool, candidates);
    expect(await rows()).toMatchObject(candidates.map(() => ({ cause })));
  });

  test("keeps the newest request that asks for something of a row", async () => {
    const seen = candidate();
    await confirmed(seen);
    await recordCandidate(pool, seen);
    expect(await rows()).toMatchObject([{ cause: null, touches: 1 }]);
    const newer = { requestUID: "7b1f2c3d-0000-4000-8000-0000000000bb" };
    await recordCandidates(pool, [
      { ...seen, cause },
      { ...seen, cause: newer },
    ]);
    expect(await rows()).toMatchObject([{ cause: newer }]);
    await recordCandidate(pool, seen);
    expect(await rows()).toMatchObject([{ cause: newer }]);
  });

  test("works for a webhook of the version before, which names no request", async () => {
    const { rows: answers } = await pool.query(
      "select * from record_candidate($1, $2, 'acme', 'ada@example.com', 'tenant-a', 'ada')",
      [randomUUID(), randomUUID()],
    );
    expect(answers).toMatchObject([{ inserted: true }]);
    const many =
      "select * from record_candidates(true, $1, $2, '{acme}', '{eve@example.com}', '{tenant-a}', '{eve}', '{5}')";
    expect((await pool.query(many, [[randomUUID()], [randomUUID()]])).rows).toMatchObject([{ inserted: true }]);
  });

  test("does not postpone a row that is due already", async () => {
    const seen = candidate();
    const past = new Date(Date.now() - 60_000);
    await confirmed(seen, { due_at: past });
    await recordCandidate(pool, seen);
    expect(await rows()).toMatchObject([{ due_at: past, touches: 1 }]);
  });

  test("finds the object's row by its uid, whatever its uuid: an edited email makes no second person", async () => {
    const seen = candidate();
    await confirmed(seen);
    const edited = { ...seen, uuid: randomUUID(), email: "ada.l@example.com" };
    expect(await recordCandidate(pool, edited)).toEqual({ ...NOTHING, touched: true });
    expect(await rows()).toMatchObject([{ sme_user_uuid: seen.uuid, email: "ada@example.com" }]);
  });

  test.each([
    ["waits in backoff", { backoff_until: new Date(Date.now() + 60_000), due_at: new Date(Date.now() + 60_000) }],
    ["is deleted", { state: "deleted" }],
    ["is orphaned", { state: "orphaned" }],
    ["is void", { voided_at: new Date() }],
    ["is unconfirmed", { confirmed_at: null }],
  ])("leaves a row alone that %s", async (_what, columns) => {
    const seen = candidate();
    await confirmed(seen, columns);
    const before = await rows();
    expect(await recordCandidate(pool, seen)).toEqual(NOTHING);
    expect(await rows()).toEqual(before);
  });

  test("makes a row due again once its backoff is over", async () => {
    const seen = candidate();
    await confirmed(seen, { backoff_until: new Date(Date.now() - 1000) });
    expect((await recordCandidate(pool, seen)).touched).toBe(true);
  });

  test("leaves somebody else's row alone: a POST of a name that exists comes with a fresh uid", async () => {
    const seen = candidate();
    await confirmed(seen);
    const before = await rows();
    const second = { ...seen, objectUID: randomUUID() };
    expect(await recordCandidate(pool, second)).toEqual({ ...NOTHING, heldBy: { namespace: "tenant-a", name: "ada" } });
    expect(await rows()).toEqual(before);
  });

  test("makes no row where no uuid is to be had, and still touches the object's own", async () => {
    const seen = candidate({ uuid: undefined });
    expect(await recordCandidate(pool, seen)).toEqual(NOTHING);
    await confirmed({ ...seen, uuid: randomUUID() });
    expect(await recordCandidate(pool, seen)).toEqual({ ...NOTHING, touched: true });
  });

  test("names the living object of this tenant that has the email, and nobody of another tenant", async () => {
    const old = candidate({ name: "ada-old" });
    await confirmed(old);
    expect((await recordCandidate(pool, candidate())).heldBy).toEqual({ namespace: "tenant-a", name: "ada-old" });
    expect((await recordCandidate(pool, candidate({ tenantID: "globex" }))).heldBy).toBeUndefined();
    await pool.query("update user_provision_state set state = 'deleting' where object_uid = $1", [old.objectUID]);
    expect((await recordCandidate(pool, candidate())).heldBy).toBeUndefined();
  });

  test("counts living objects against the limit: not the deleted, not the cleanups, not itself", async () => {
    await confirmed(candidate({ email: "a@example.com" }));
    await confirmed(candidate({ email: "b@example.com" }), { state: "failed" });
    await confirmed(candidate({ email: "c@example.com" }), { state: "deleting" });
    await confirmed(candidate({ email: "d@example.com", tenantID: "globex" }));
    expect((await recordCandidate(pool, candidate({ maxUsers: 2 }))).full).toBe(true);
    expect((await recordCandidate(pool, candidate({ maxUsers: 3 }))).full).toBe(false);
    expect((await recordCandidate(pool, candidate({ maxUsers: 0 }))).full).toBe(true);
  });
});

describe("a new object that comes alone", () => {
  const old = candidate({ name: "ada-old" });
  test.each([
    ["with nobody there", {}, undefined],
    ["whose uuid has a row", { uuid: old.uuid }, {}],
    ["whose email somebody holds", {}, {}],
    ["whose email somebody has given up", {}, { state: "retained" }],
    ["whose email stands in a void row", {}, { voided_at: new Date() }],
    ["whose email stands in a row of nobody", {}, { confirmed_at: null }],
    ["for whom no uuid is to be had", { uuid: undefined }, {}],
    ["of another tenant", { tenantID: "globex" }, {}],
    ["that was recorded before", { objectUID: old.objectUID, uuid: old.uuid }, { confirmed_at: null }],
  ])("%s is recorded like one among several", async (_what, given, standing) => {
    const seen = candidate({ isNew: true, ...given });
    const told: CandidateRecord[] = [];
    const left: unknown[] = [];
    for (const others of [[], [candidate({ isNew: true, email: "else@example.com", tenantID: "initech" })]]) {
      await pool.query("truncate user_provision_state");
      if (standing !== undefined)
        await confirmed(old, { created_at: new Date(0), confirmed_at: new Date(0), ...standing });
      const [first] = await recordCandidates(pool, [seen, ...others]);
      if (first !== undefined) told.push(first);
      const mine = (await rows()).filter((row) => row["sme_tenant_id"] !== "initech");
      left.push(mine.map(({ created_at: _created, updated_at: _updated, ...row }) => row));
    }
    expect(told).toHaveLength(2);
    expect(told[0]).toEqual(told[1]);
    expect(left[0]).toEqual(left[1]);
  });

  test("reads no table from end to end, however large it was when the statement was planned", async () => {
    const alone = makePool({ url: database.url, max: 1, applicationName: "test" });
    const scans = async () => {
      await alone.query("select pg_stat_force_next_flush()");
      await alone.query("select pg_stat_clear_snapshot()");
      const { rows: found } = await alone.query<{ n: number }>(
        "select seq_scan::int as n from pg_stat_user_tables where relname = 'user_provision_state'",
      );
      return found[0]?.n;
    };
    await pool.query("truncate user_provision_state");
    const before = await scans();
    for (let n = 0; n < 10; n += 1) await recordCandidate(alone, candidate({ isNew: true, email: `${n}@example.com` }));
    for (let n = 0; n < 10; n += 1) await recordCandidate(alone, candidate({ email: `${n}@example.org` }));
    expect(await scans()).toBe(before);
    const { rows: plans } = await alone.query<{ name: string }>(
      "select name from pg_prepared_statements order by name",
    );
    expect(plans.map(({ name }) => name)).toEqual(["record-many", "record-one"]);
    await alone.end();
  });
});

describe("what nobody has seen", () => {
  const unseen = (n: number, given: Partial<AdmissionCandidate> = {}) =>
    candidate({ email: `u${n}@example.com`, name: `u${n}`, isNew: true, ...given });
  const countIn = async (namespace: string) =>
    (await pool.query("select from user_provision_state where object_namespace = $1", [namespace])).rowCount;

  test("fills no table: a namespace has 1,000 such rows at most, one at a time, in batches, and void ones too", async () => {
    await pool.query(
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name, voided_at)
       select gen_random_uuid(), 'acme', n || '@x.example', gen_random_uuid(), 'tenant-a', n, case when n < 500 then now() end
       from generate_series(1, 990) as n`,
    );
    await recordCandidates(
      pool,
      Array.from({ length: 8 }, (_, n) => unseen(n)),
    );
    expect(await countIn("tenant-a")).toBe(998);
    const batch = await recordCandidates(
      pool,
      Array.from({ length: 8 }, (_, n) => unseen(100 + n)),
    );
    expect(batch.filter((record) => record.inserted)).toHaveLength(2);
    expect((await recordCandidate(pool, unseen(200))).inserted).toBe(false);
    expect((await recordCandidate(pool, unseen(201, { isNew: false }))).inserted).toBe(false);
    expect(await countIn("tenant-a")).toBe(1_000);
    // Another namespace, and those that have been seen, have their own room.
    expect((await recordCandidate(pool, unseen(202, { namespace: "tenant-b" }))).inserted).toBe(true);
    await pool.query("update user_provision_state set confirmed_at = now() where object_name = '600'");
    expect((await recordCandidate(pool, unseen(203))).inserted).toBe(true);
  });

  test("holds back nothing of its Tenant, and is none of its users", async () => {
    await recordCandidates(pool, [unseen(1), unseen(2)]);
    expect(await tenantUsage(pool)).toEqual(new Map());
    expect(await tenantUsage(pool, "acme")).toEqual(new Map());
  });

  test("is deleted ten minutes after it was given up, as many of each tenant, and nothing else is", async () => {
    const old = "now() - interval '11 minutes'";
    const row = (tenant: string, n: number, columns = "") =>
      `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_namespace, object_name, object_uid, voided_at ${columns === "" ? "" : `, ${columns.split("=")[0]}`})
       select gen_random_uuid(), '${tenant}', n || '@x.example', 'tenant-a', n, gen_random_uuid(), ${old} ${columns === "" ? "" : `, ${columns.split("=")[1]}`}
       from generate_series(1, ${n}) as n`;
    await pool.query(row("acme", 30));
    await pool.query(row("globex", 3));
    await pool.query(row("kept", 1, "confirmed_at=now()"));
    await pool.query(row("kept", 1, "kc_user_id='kc'"));
    await pool.query(row("kept", 1, "newapi_user_id='na'"));
    await pool.query(row("kept", 1, "secret_uid=gen_random_uuid()"));
    await recordCandidate(pool, unseen(1, { tenantID: "kept" }));
    await pool.query(row("fresh", 1));
    await pool.query("update user_provision_state set voided_at = now() where sme_tenant_id = 'fresh'");
    const left = async () =>
      Object.fromEntries(
        (
          await pool.query<{ id: string; n: number }>(
            "select sme_tenant_id as id, count(*)::int as n from user_provision_state group by 1",
          )
        ).rows.map(({ id, n }) => [id, n]),
      );
    expect(await deleteUnseen(pool, { perTenant: 10, most: 100 })).toBe(13);
    expect(await left()).toEqual({ acme: 20, kept: 5, fresh: 1 });
    expect(await deleteUnseen(pool, { perTenant: 100, most: 5 })).toBe(5);
    expect(await deleteUnseen(pool, { perTenant: 100, most: 100 })).toBe(15);
    expect(await left()).toEqual({ kept: 5, fresh: 1 });
  });
});

describe("several together", () => {
  test("are answered each for itself, in their order, whatever they are", async () => {
    const living = candidate({ email: "a@example.com" });
    await confirmed(living);
    const fresh = candidate({ email: "b@example.com", isNew: true, maxUsers: 1 });
    const second = candidate({ email: "a@example.com", isNew: true, maxUsers: 5, name: "second" });
    const nowhere = candidate({ uuid: undefined, email: "c@example.com", isNew: true });
    expect(await recordCandidates(pool, [fresh, living, second, nowhere])).toEqual([
      { ...NOTHING, inserted: true, full: true },
      { ...NOTHING, touched: true },
      { ...NOTHING, inserted: true, heldBy: { namespace: "tenant-a", name: "ada" } },
      NOTHING,
    ]);
    expect(await rows()).toHaveLength(3);
  });

  test("with the same uuid make one row", async () => {
    const fresh = candidate({ isNew: true });
    const twin = { ...fresh, objectUID: randomUUID(), name: "twin" };
    const records = await recordCandidates(pool, [fresh, twin]);
    expect(records.filter(({ inserted }) => inserted)).toHaveLength(1);
    expect(await rows()).toHaveLength(1);
  });

  test("in a rush share their statements, and one that Postgres refuses spoils it for nobody", async () => {
    const sizes: number[] = [];
    const record = makeRecord({
      write: (c) => {
        sizes.push(c.length);
        return recordCandidates(pool, c);
      },
      clock: systemClock,
      log: silentLog,
    });
    const people = Array.from({ length: 9 }, (_, n) => candidate({ email: `p${n}@example.com`, isNew: true }));
    const refused = candidate({ objectUID: "no uuid", isNew: true });
    const answers = await Promise.all([...people.slice(0, 4), refused, ...people.slice(4)].map((each) => record(each)));
    expect(answers.map(inserted)).toEqual([true, true, true, true, undefined, true, true, true, true, true]);
    expect(sizes.slice(0, 2)).toEqual([1, 9]);
    expect(await rows()).toHaveLength(9);
  });
});

describe("record on a slow or absent Postgres", () => {
  test("passes over a row that somebody holds, and keeps nobody waiting for it", async () => {
    const seen = candidate();
    await confirmed(seen);
    const admission = makePool({ ...RECORD_POOL, url: database.url });
    const record = makeRecord({ write: (c) => recordCandidates(admission, c), clock: systemClock, log: silentLog });
    await record(candidate({ email: "warm@example.com" }));
    const holder = await pool.connect();
    await holder.query("begin");
    await holder.query("select 1 from user_provision_state where object_uid = $1 for update", [seen.objectUID]);
    const [held, other] = await Promise.all([record(seen), record(candidate({ email: "other@example.com" }))]);
    expect(held).toEqual(NOTHING);
    expect(inserted(other)).toBe(true);
    await holder.query("rollback");
    holder.release();
    await admission.end();
  });

  test("answers at once while nobody listens", async () => {
    const admission = makePool({ ...RECORD_POOL, url: "postgres://nobody:x@127.0.0.1:9/none" });
    const record = makeRecord({ write: (c) => recordCandidates(admission, c), clock: systemClock, log: silentLog });
    expect(await record(candidate())).toBeUndefined();
    const began = performance.now();
    expect(await record(candidate())).toBeUndefined();
    expect(performance.now() - began).toBeLessThan(50);
    await admission.end();
  });
});

describe("the pool", () => {
  test("survives the end of its connections, idle and in use", async () => {
    const heard: string[] = [];
    const own = makePool({
      url: database.url,
      max: 2,
      applicationName: "victim",
      onIdleError: (error) => heard.push(error.message),
    });
    const used = await own.connect();
    await own.query("select 1");
    await pool.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'");
    await expect(used.query("select 1")).rejects.toThrow(/terminat|connection error/);
    used.release(true);
    await expect.poll(() => heard).toEqual(["terminating connection due to administrator command"]);
    expect((await own.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    await own.end();
  });

  test("gives bigints as numbers, and refuses one that is none", async () => {
    expect((await pool.query("select 9007199254740991::bigint as n")).rows).toEqual([{ n: Number.MAX_SAFE_INTEGER }]);
    await expect(pool.query("select 9007199254740993::bigint as n")).rejects.toThrow("bigint out of range");
  });
});

describe("the tenant directory", () => {
  test("knows what is there, hears of changes, and comes back after a lost connection", async () => {
    await mirror("acme", ["tenant-a", "tenant-b"]);
    const directory = makeTenantDirectory({
      url: database.url,
      applicationName: "directory",
      log: silentLog,
      random: () => 0,
    });
    expect(directory.loaded).toBe(false);
    await directory.start();
    await expect.poll(() => directory.loaded).toBe(true);
    expect(directory.lookup("tenant-b")).toMatchObject({ tenantID: "acme", name: "acme", spec: { tenantID: "acme" } });
    expect(directory.lookup("tenant-c")).toBeUndefined();

    await mirror("globex", ["tenant-c"]);
    await expect.poll(() => directory.lookup("tenant-c")?.tenantID).toBe("globex");

    await pool.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'directory'");
    await pool.query("delete from tenants where tenant_id = 'globex'");
    expect(directory.lookup("tenant-a")?.tenantID).toBe("acme");
    await expect.poll(() => directory.lookup("tenant-c"), { timeout: 10_000 }).toBeUndefined();
    await directory.stop();
  });

  test("starts and stops without Postgres", async () => {
    const directory = makeTenantDirectory({
      url: "postgres://nobody:x@127.0.0.1:9/none",
      log: silentLog,
      random: () => 0,
    });
    await directory.start();
    expect(directory.loaded).toBe(false);
    await directory.stop();
  });
});
