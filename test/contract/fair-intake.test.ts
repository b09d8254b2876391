/** However many of one tenant wait, the others' people come and go as on a quiet day: on a real Postgres, in operations. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { REASON } from "../../src/api/reasons.ts";
import { watchUsers } from "../../src/triggers/users.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { makeJobs } from "../../src/lib/jobs.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { TenantAccess } from "../../src/reconciler/access.ts";
import { makeIntake } from "../../src/reconciler/intake.ts";
import { queueOfTenant, makePendingUsers } from "../../src/reconciler/pending.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import { candidateUUID } from "../../src/api/names.ts";
import { tenant } from "../support/builders.ts";
import { makeFakeCluster } from "../support/fakeCluster.ts";
import { NO_PINS } from "../support/pins.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";

const CROWD = 3_000;

let database: TestDatabase;
let pool: Pool;
const opened: (() => unknown)[] = [];
beforeEach(async () => {
  database = await freshDatabase();
  pool = makePool({ url: database.url, max: 14, applicationName: "test" });
});
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
  await pool.end();
  await database.drop();
});

function access(tenantID: string, maxUsers: number | undefined): TenantAccess {
  const limits = maxUsers === undefined ? {} : { limits: { maxUsers } };
  return {
    tenantID,
    name: tenantID,
    spec: tenant({ tenantID, namespaces: [tenantID], ...limits }),
    revision: "r1",
    ready: true,
    notReadyMessage: "",
    realmIsExclusive: true,
    realm: undefined,
    gateway: undefined,
  };
}

/** The parts that an object passes through until it has a row; tenant "crowd" has two places. */
async function makeIntakeSide() {
  const cluster = makeFakeCluster();
  for (const name of ["crowd", "acme"]) cluster.createNamespace(name);
  const limits = new Map<string, number | undefined>([
    ["crowd", 2],
    ["acme", undefined],
  ]);
  const of = (name: string) => (limits.has(name) ? access(name, limits.get(name)) : undefined);
  const tenants = {
    get: of,
    byNamespace: of,
    all: () => [...limits.keys()].flatMap((name) => of(name) ?? []),
    loaded: () => true,
  };
  const [clock, random, log] = [systemClock, () => 0, silentLog];
  const clusterID = () => cluster.clusterID(AbortSignal.timeout(1000));
  const notify = (): void => {};
  const jobs = makeJobs({ concurrency: 8, clock, random, log });
  const intake = makeIntake({ pool, cluster, clusterID, tenants, pins: NO_PINS, notify, clock, log });
  const pending = makePendingUsers({ pool, intake, jobs, tenants });
  opened.push(() => jobs.stop());
  /** Everything that is under way, and what follows from it. */
  const quiet = async (): Promise<void> => {
    for (let [same, before] = [0, -1]; same < 5; same += 1) {
      for (const queue of ["list", queueOfTenant("crowd"), queueOfTenant("acme")]) await jobs.settled(queue);
      await sleep(20);
      const now = cluster.calls("getTenantUser");
      if (now !== before) [same, before] = [-1, now];
    }
  };
  return {
    cluster,
    pending,
    consider: (namespace: string, name: string) => intake.consider(namespace, name, AbortSignal.timeout(10_000)),
    limits,
    quiet,
    async watch(): Promise<void> {
      const { openWatch } = cluster;
      const watch = watchUsers({
        openWatch,
        pool,
        cluster,
        clusterID,
        tenants,
        intake,
        pending,
        jobs,
        notify,
        skipped: () => {},
        log,
      });
      opened.push(() => watch.stop());
      await quiet();
    },
  };
}

type Side = Awaited<ReturnType<typeof makeIntakeSide>>;

/** So many objects of the crowd that wait for `why`, as they stand after a while; the first is the oldest. */
async function makeWait({ cluster }: Side, count: number, why: "QuotaFull" | "EmailInUse"): Promise<string[]> {
  const names = Array.from({ length: count }, (_, n) => `w${String(n).padStart(5, "0")}`);
  const rows = names.map((name, n) => {
    const email = why === "QuotaFull" ? `${name}@example.com` : "one@example.com";
    const creationTimestamp = new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString().replace(".000Z", "Z");
    const { uid, generation } = cluster.applyUser("crowd", name, { email }, { creationTimestamp }).metadata;
    return { uid, name, email, creationTimestamp, generation };
  });
  await pool.query(
    `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why, told)
     select uid, 'crowd', name, 'crowd', email, created_at, $6, told
     from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[]) as w (uid, name, email, created_at, told)`,
    [
      rows.map(({ uid }) => uid),
      rows.map(({ name }) => name),
      rows.map(({ email }) => email),
      rows.map(({ creationTimestamp }) => creationTimestamp),
      rows.map(({ generation }) => generation),
      why,
    ],
  );
  return names;
}

const isBound = async (tenantID: string, email: string): Promise<boolean> =>
  (await loadSaga(pool, candidateUUID(tenantID, email)))?.confirmed === true;

async function holderOf(email: string): Promise<string | undefined> {
  const { rows } = await pool.query<{ name: string }>(
    `select object_name as name from user_provision_state
     where sme_tenant_id = 'crowd' and email = $1 and confirmed_at is not null and state <> 'deleting'`,
    [email],
  );
  return rows[0]?.name;
}

/** What it takes until a new user of acme is bound and a deletion there is noted, in reads of objects by everybody. */
async function readsOfOthersDay({ cluster }: Side): Promise<number> {
  const before = cluster.calls("getTenantUser");
  cluster.applyUser("acme", "new", { email: "new@example.com" });
  cluster.deleteUser("acme", "leaver");
  await expect.poll(() => isBound("acme", "new@example.com"), { timeout: 60_000, interval: 1 }).toBe(true);
  const state = async () => (await loadSaga(pool, candidateUUID("acme", "leaver@example.com")))?.state;
  await expect.poll(state, { timeout: 60_000, interval: 1 }).toBe("deleting");
  return cluster.calls("getTenantUser") - before;
}

/** The crowd's two living people go at once, and twenty of those who wait. */
function stir({ cluster }: Side, names: readonly string[]): void {
  cluster.deleteUser("crowd", "one");
  cluster.deleteUser("crowd", "two");
  for (const name of names.slice(-20)) cluster.deleteUser("crowd", name);
}

/** Three living people, and so many who wait; all of it known before the watch begins. */
async function begin(side: Side, count: number, why: "QuotaFull" | "EmailInUse" = "QuotaFull"): Promise<string[]> {
  for (const [namespace, name] of [
    ["crowd", "one"],
    ["crowd", "two"],
    ["acme", "leaver"],
  ] as const) {
    side.cluster.applyUser(namespace, name, { email: `${name}@example.com` });
    expect(await side.consider(namespace, name)).toBe("bound");
  }
  const names = await makeWait(side, count, why);
  await side.watch();
  return names;
}

describe.each(["QuotaFull", "EmailInUse"] as const)(`${CROWD} objects of one tenant that wait (%s)`, (why) => {
  test("make nobody else wait: another tenant's new user and leaver take as long as on a quiet day", async () => {
    const quietDay = await makeIntakeSide();
    await begin(quietDay, 0);
    stir(quietDay, []);
    const alone = await readsOfOthersDay(quietDay);
    for (const close of opened.splice(0).toReversed()) await close();
    await pool.query("truncate user_provision_state, waiting");

    const side = await makeIntakeSide();
    const names = await begin(side, CROWD, why);
    stir(side, names);
    // Some of the crowd's own deletions run beside them, and none of its other people are read.
    expect(await readsOfOthersDay(side)).toBeLessThan(alone + 60);
  }, 120_000);

  test("are called only as far as there is room, the oldest first", async () => {
    const side = await makeIntakeSide();
    const names = await begin(side, CROWD, why);
    const before = side.cluster.calls("getTenantUser");
    stir(side, names);
    await side.quiet();
    // 22 deletions are read, and those who are called.
    expect(side.cluster.calls("getTenantUser") - before).toBeLessThan(60);
    const { rows } = await pool.query<{ name: string }>(
      `select object_name as name from user_provision_state
       where sme_tenant_id = 'crowd' and state <> 'deleting' order by object_created_at`,
    );
    // Two places, or one address.
    const called = why === "QuotaFull" ? ["w00000", "w00001"] : ["w00000"];
    expect(rows.map(({ name }) => name)).toEqual(called);
  }, 120_000);

  test("cost a bounded page at rest, and at a list nothing", async () => {
    const side = await makeIntakeSide();
    const before = side.cluster.calls("getTenantUser");
    await begin(side, CROWD, why);
    expect(side.cluster.calls("getTenantUser") - before).toBeLessThan(10);
    for (let n = 0; n < 3; n += 1) {
      await side.pending.sweep();
      await side.quiet();
    }
    expect(side.cluster.calls("getTenantUser") - before).toBeLessThan(30);
  }, 120_000);
});

test("a call that was lost is found by the sweeps, whoever else waits", async () => {
  const side = await makeIntakeSide();
  const names = await begin(side, 120, "EmailInUse");
  // Another process has recorded it and died before it called anybody.
  await pool.query("update user_provision_state set state = 'orphaned' where email = 'one@example.com'");
  await side.pending.sweep();
  await side.quiet();
  expect(await holderOf("one@example.com")).toBe(names[0]);
});

test("behind one who is gone the next is called, and of a raised limit as many as there is room for", async () => {
  const side = await makeIntakeSide();
  const names = await begin(side, 200, "QuotaFull");
  for (const name of names.slice(0, 15)) side.cluster.loseUser("crowd", name);
  side.limits.set("crowd", 5);
  side.pending.tenantChanged("crowd", ["crowd"]);
  await side.quiet();
  const { rows } = await pool.query<{ name: string }>(
    `select object_name as name from user_provision_state where sme_tenant_id = 'crowd' order by object_created_at, name`,
  );
  expect(rows.map(({ name }) => name).filter((name) => name.startsWith("w"))).toEqual(["w00015", "w00016", "w00017"]);
  expect((await pool.query(`select from waiting where why = $1`, [REASON.QuotaFull])).rowCount).toBe(182);
});
