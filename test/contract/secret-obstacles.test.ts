/** Whoever waits for a name that a Secret of others holds resumes when it is gone: the watch on a real Postgres. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { candidateUUID } from "../../src/api/names.ts";
import { type ObstacleWatches, watchObstacles } from "../../src/triggers/obstacles.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { makeJobs } from "../../src/lib/jobs.ts";
import { silentLog } from "../../src/lib/log.ts";
import { waitedSecrets, wakeForSecret, wakeLongObstructed } from "../../src/store/obstacles.ts";
import { type Pool } from "../../src/store/pool.ts";
import { type FakeCluster, makeFakeCluster } from "../support/fakeCluster.ts";
import { useStore } from "../support/store.ts";

let pool: Pool;
let cluster: FakeCluster;
const running: ObstacleWatches[] = [];

useStore((opened) => (pool = opened), { max: 10 });
afterEach(async () => {
  for (const each of running.splice(0)) await each.stop();
  await pool.query("truncate user_provision_state");
});

interface Waiting {
  readonly code?: string;
  readonly name?: string;
  readonly tenant?: string;
  readonly places?: readonly { namespace: string; name: string }[];
  readonly deleting?: boolean;
  readonly minutes?: number;
}

/** Somebody who was stopped by a Secret; `minutes`: how long ago. */
async function stopped(given: Waiting = {}): Promise<string> {
  const {
    code = "SecretForeign",
    name = "theirs",
    tenant = "acme",
    places = [],
    deleting = false,
    minutes = 0,
  } = given;
  const email = `${randomUUID()}@example.com`;
  const uuid = candidateUUID(tenant, email);
  const blocked = code === "SecretForeign" ? "1|t||" : null;
  await pool.query(
    `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, state, confirmed_at, object_uid, blocked_on,
       backoff_until, last_error, secret_namespace, secret_name, secret_places, deleting, updated_at)
     values ($1, $2, $3, $4, now(), $5, $6, now() + interval '2 minutes', $7, 'tenant-a', $8, $9, $10,
       now() - make_interval(mins => $11))`,
    [
      uuid,
      tenant,
      email,
      deleting ? "deleting" : "failed",
      randomUUID(),
      blocked,
      { step: "secret", class: "terminal", code, message: "In the way.", at: new Date().toISOString() },
      name,
      JSON.stringify(places),
      deleting ? { since: new Date().toISOString(), undone: [], released: false, objectUID: randomUUID() } : null,
      minutes,
    ],
  );
  return uuid;
}

async function resumed(uuid: string): Promise<boolean> {
  const { rows } = await pool.query<{ resumed: boolean }>(
    `select due_at <= now() and blocked_on is null as resumed from user_provision_state where sme_user_uuid = $1`,
    [uuid],
  );
  return rows[0]?.resumed === true;
}

function replica(own = 1, living: readonly number[] = [1]) {
  const opened: string[] = [];
  let looks = 0;
  const [clock, log] = [systemClock, silentLog];
  const watches = watchObstacles({
    openWatch: (target, onEvent) => {
      opened.push(`${target.path}?${target.fieldSelector ?? ""}`);
      return cluster.openWatch(target, onEvent);
    },
    pool,
    jobs: makeJobs({ concurrency: 4, clock, random: () => 0, log }),
    queueOf: (namespace) => namespace,
    notify: () => void (looks += 1),
    clock,
    log,
    everyMs: 20,
  });
  watches.shareWith(living, own);
  void watches.start();
  running.push(watches);
  return { opened, looks: () => looks };
}

async function soon(holds: () => Promise<boolean> | boolean): Promise<void> {
  const until = Date.now() + 5_000;
  while (!(await holds())) {
    if (Date.now() > until) throw new Error("it did not come to hold");
    await sleep(10);
  }
}

describe("a Secret in the way", () => {
  test("is watched by its name alone; when it goes, and not before, its person resumes at once", async () => {
    cluster = makeFakeCluster();
    cluster.applySecret("tenant-a", "theirs", { x: "1" });
    cluster.applySecret("tenant-a", "another", { x: "1" });
    const ada = await stopped();
    const { opened, looks } = replica();
    await soon(() => opened.length > 0);
    cluster.applySecret("tenant-a", "theirs", { x: "2" });
    cluster.removeSecret("tenant-a", "another");
    await sleep(100);
    expect([await resumed(ada), looks()]).toEqual([false, 0]);
    cluster.removeSecret("tenant-a", "theirs");
    await soon(() => resumed(ada));
    await soon(() => looks() > 0);
    expect(opened).toEqual(["/api/v1/namespaces/tenant-a/secrets?metadata.name=theirs"]);
  });

  test("that was Terminating likewise: gone is when its last finalizer is", async () => {
    cluster = makeFakeCluster();
    cluster.applySecret("tenant-a", "theirs", { x: "1" });
    cluster.editSecret("tenant-a", "theirs", { metadata: { finalizers: ["theirs/hold"] } });
    cluster.removeSecret("tenant-a", "theirs");
    const ada = await stopped({ code: "SecretTerminating" });
    const { opened } = replica();
    await soon(() => opened.length > 0);
    await sleep(100);
    expect(await resumed(ada)).toBe(false);
    cluster.editSecret("tenant-a", "theirs", { metadata: { finalizers: [] } });
    await soon(() => resumed(ada));
  });

  test("that went while nobody watched is found by the list that a watch begins with", async () => {
    cluster = makeFakeCluster();
    const ada = await stopped();
    const { looks } = replica();
    await soon(() => resumed(ada));
    await soon(() => looks() > 0);
    expect(looks()).toBe(1);
  });

  test("where the Secret was to move is in the way too", async () => {
    cluster = makeFakeCluster();
    const ada = await stopped({ name: "old", places: [{ namespace: "tenant-a", name: "new" }] });
    expect(await wakeForSecret(pool, { namespace: "tenant-a", name: "new" })).toBe(true);
    expect(await resumed(ada)).toBe(true);
  });

  test("is watched by one of the replicas, and no longer when nobody waits", async () => {
    cluster = makeFakeCluster();
    cluster.applySecret("tenant-a", "theirs", { x: "1" });
    const ada = await stopped();
    const [one, two] = [replica(1, [1, 2]), replica(2, [1, 2])];
    await soon(() => one.opened.length + two.opened.length > 0);
    await sleep(100);
    expect(one.opened.length + two.opened.length).toBe(1);
    await pool.query("update user_provision_state set last_error = null where sme_user_uuid = $1", [ada]);
    await sleep(100);
    cluster.removeSecret("tenant-a", "theirs");
    await sleep(100);
    expect(one.looks() + two.looks()).toBe(0);
  });
});

describe("many who wait", () => {
  test("a tenant has so many names watched, whatever the others have", async () => {
    for (let n = 0; n < 30; n += 1) await stopped({ name: `s-${n}` });
    await stopped({ name: "other", tenant: "beta" });
    const names = (await waitedSecrets(pool, 20)).map(({ name }) => name);
    expect(names).toHaveLength(21);
    expect(names).toContain("other");
  });

  test("one whose Secret was to move to many names has so many of them watched", async () => {
    const places = Array.from({ length: 200 }, (_place, n) => ({ namespace: "tenant-a", name: `moved-${n}` }));
    await stopped({ places });
    await stopped({ name: "other", tenant: "beta" });
    const names = (await waitedSecrets(pool, 20)).map(({ name }) => name);
    expect(names).toHaveLength(21);
    expect(names).toContain("other");
  });

  test("those of whom nobody tells look again after five minutes, a few of each tenant", async () => {
    const fresh = await stopped({ minutes: 1 });
    const old: string[] = [];
    for (let n = 0; n < 5; n += 1) old.push(await stopped({ minutes: 6 + n }));
    const beta = await stopped({ tenant: "beta", minutes: 6 });
    expect(await wakeLongObstructed(pool, 300_000, 2)).toBe(true);
    const woken = await Promise.all([fresh, ...old, beta].map(resumed));
    expect(woken).toEqual([false, false, false, false, true, true, true]);
  });

  test("whoever is being deleted, or is stopped by something else, is left alone", async () => {
    const going = await stopped({ deleting: true });
    const other = await stopped({ code: "NotAllowed" });
    expect(await waitedSecrets(pool, 20)).toEqual([]);
    expect(await wakeForSecret(pool, { namespace: "tenant-a", name: "theirs" })).toBe(false);
    expect([await resumed(going), await resumed(other)]).toEqual([false, false]);
  });
});
