/** From the first observation of a new object to Ready and the event, on a real Postgres: what one person costs in round trips. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { LiveTenantUser } from "../../src/api/tenantUser.ts";
import type { UserEvent } from "../../src/api/userEvent.ts";
import { FINALIZER } from "../../src/api/meta.ts";
import { watchUsers } from "../../src/triggers/users.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { makeJobs } from "../../src/lib/jobs.ts";
import { silentLog } from "../../src/lib/log.ts";
import { noTracer } from "../../src/lib/tracing.ts";
import { makeNotifier } from "../../src/lib/notifier.ts";
import type { TenantAccess } from "../../src/reconciler/access.ts";
import { makeBreakers } from "../../src/reconciler/breakers.ts";
import { makeOriginLimits } from "../../src/reconciler/originLimits.ts";
import { makeFailureCounts } from "../../src/lib/backoff.ts";
import { makeEngine } from "../../src/reconciler/engine.ts";
import { makeIntake } from "../../src/reconciler/intake.ts";
import { makeOutboxPump } from "../../src/reconciler/outboxPump.ts";
import { makePendingUsers } from "../../src/reconciler/pending.ts";
import { makeTenantBreakers } from "../../src/reconciler/tenantBreakers.ts";
import { keycloakStep } from "../../src/steps/keycloak.ts";
import { newapiStep } from "../../src/steps/newapi.ts";
import { secretStep } from "../../src/steps/secret.ts";
import { record } from "../../src/store/claims.ts";
import { makePool } from "../../src/store/pool.ts";
import { openWorkerSession } from "../../src/store/workerSession.ts";
import { tenant } from "../support/builders.ts";
import { makeFakeCluster } from "../support/fakeCluster.ts";
import { makeFakeGateway, makeFakeRealm } from "../support/fakeUpstreams.ts";
import { NO_PINS } from "../support/pins.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";
import { type StatementJournal, statementJournal } from "../support/statementJournal.ts";

let database: TestDatabase;
let journal: StatementJournal;
const opened: (() => unknown)[] = [];
beforeEach(async () => {
  database = await freshDatabase();
  journal = await statementJournal(database.url);
});
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
  await journal[Symbol.asyncDispose]();
  await database.drop();
});

/** All dependencies and upstreams but Postgres, in memory. */
function makeFixture() {
  const cluster = makeFakeCluster();
  cluster.createNamespace("tenant-a");
  const access: TenantAccess = {
    tenantID: "acme",
    name: "acme",
    spec: tenant(),
    revision: "r1",
    ready: true,
    notReadyMessage: "",
    realmIsExclusive: true,
    realm: makeFakeRealm(),
    gateway: makeFakeGateway(),
  };
  const published: string[] = [];
  const isThere = (name: string): boolean =>
    isReady(cluster.user("tenant-a", name)) && published.includes(`${name}@example.com`);
  return {
    cluster,
    access,
    publish: async ({ data }: UserEvent): Promise<void> => void published.push(data.email),
    /** Resolves when all of them are Ready, told of, and nobody polls for more. */
    async commit(names: readonly string[]): Promise<void> {
      for (const name of names) {
        const finalizers = [FINALIZER];
        cluster.applyUser("tenant-a", name, { email: `${name}@example.com` }, { finalizers });
      }
      await expect.poll(() => names.every(isThere)).toBe(true);
      // The last poll, and the pump's pause.
      await sleep(600);
    },
  };
}

/** The parts that a person passes through. */
function startReconciler({ cluster, access, publish }: ReturnType<typeof makeFixture>): void {
  const pool = makePool({ url: journal.url, max: 8, applicationName: "test" });
  const clusterID = () => cluster.clusterID(AbortSignal.timeout(1000));
  const tenants = {
    get: () => access,
    byNamespace: () => access,
    all: () => [access],
    loaded: () => true,
  };
  const [clock, random, log] = [systemClock, () => 0, silentLog];
  const breakers = makeBreakers({ clock, random, probe: () => Promise.resolve(true), recovered: () => {} });
  const tenantBreakers = makeTenantBreakers({ clock, requestRecheck: () => {}, recovered: () => {} });
  const outbox = makeOutboxPump({ pool, publish, clock, log });
  const due = makeNotifier();
  const engine = makeEngine({
    pool,
    due,
    cluster,
    clusterID,
    tenants,
    steps: [keycloakStep, newapiStep, secretStep],
    breakers,
    tenantBreakers,
    workers: 16,
    ready: () => true,
    recovered: () => {},
    held: () => new Map(),
    openSession: () => openWorkerSession(database.url, "test worker"),
    record: async (claim, recording) => {
      const next = await record(pool, claim, recording);
      if (recording.events.length > 0) outbox.notify();
      return next;
    },
    keepAudit: () => {},
    moveEmail: never,
    firstPendingUser: never,
    forgetPendingUser: never,
    handOver: never,
    takeOver: never,
    sagaOf: never,
    counted: () => {},
    released: () => {},
    invalidateAccessCheck: () => {},
    originLimits: makeOriginLimits({ clock }),
    pauses: makeFailureCounts(random),
    observe: () => {},
    tracer: noTracer,
    reached: () => {},
    reconciled: () => {},
    clock,
    random,
    log,
  });
  const notify = (): void => due.notify();
  const intake = makeIntake({ pool, cluster, clusterID, tenants, pins: NO_PINS, notify, clock, log });
  const jobs = makeJobs({ concurrency: 8, clock, random, log });
  const pending = makePendingUsers({ pool, intake, jobs, tenants });
  void engine.start();
  void outbox.start();
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
  opened.push(
    () => pool.end(),
    () => outbox.stop(),
    () => engine.stop(),
    () => jobs.stop(),
    () => watch.stop(),
    () => breakers.stop(),
    () => tenantBreakers.stop(),
  );
}

async function never(): Promise<never> {
  throw new Error("a new person needs none of this");
}

const isReady = (user: LiveTenantUser | undefined): boolean =>
  user?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;

/** What each statement is there for, in the order of the alphabet. */
function purposes(texts: readonly string[]): string[] {
  const purpose = (text: string): string => PURPOSES.find(([pattern]) => pattern.test(text))?.[1] ?? text;
  return texts.map((text) => purpose(text.trim())).toSorted();
}

const PURPOSES: readonly (readonly [RegExp, string])[] = [
  [/^select \* from bind_new_user/, "bind"],
  [/^with recursive tenant/, "claim"],
  [/^with recorded/, "record"],
  [/^with living/, "sleep"],
  [/^(with lock as|select pg_advisory_unlock|with recursive queue|update outbox)/, "send"],
];

test("one new person is 13 round trips: bound, claimed, recorded five times, told of, and polled for once more", async () => {
  const fixture = makeFixture();
  startReconciler(fixture);
  await fixture.commit(["first"]);
  const spent: (readonly string[])[] = [];
  for (const name of ["ada", "ida", "eve"]) {
    const [before, already] = [journal.syncs(), journal.texts.length];
    await fixture.commit([name]);
    const texts = journal.texts.slice(already);
    expect(texts).toHaveLength(journal.syncs() - before);
    spent.push(purposes(texts));
  }
  // On a busy machine somebody takes so long that they are polled for meanwhile.
  const [least] = spent.toSorted((a, b) => a.length - b.length);
  expect(least).toEqual([
    "bind",
    ...Array.from({ length: 2 }, () => "claim"),
    // The intent, three steps, the end.
    ...Array.from({ length: 5 }, () => "record"),
    ...Array.from({ length: 4 }, () => "send"),
    "sleep",
  ]);
});

test("of those who come together each costs fewer than ten", async () => {
  const fixture = makeFixture();
  startReconciler(fixture);
  await fixture.commit(["first"]);
  const before = journal.syncs();
  const newUsers = Array.from({ length: 40 }, (_, n) => `p${n}`);
  await fixture.commit(newUsers);
  expect((journal.syncs() - before) / newUsers.length).toBeLessThan(10);
});

test("of two replicas one binds whoever comes, and the other leaves it at that", async () => {
  const fixture = makeFixture();
  startReconciler(fixture);
  startReconciler(fixture);
  await fixture.commit(["first"]);
  const already = journal.texts.length;
  await fixture.commit(Array.from({ length: 20 }, (_, n) => `p${n}`));
  expect(purposes(journal.texts.slice(already)).filter((purpose) => purpose === "bind")).toHaveLength(40);
  const pool = makePool({ url: database.url, max: 1, applicationName: "test" });
  opened.push(() => pool.end());
  const { rows } = await pool.query(
    "select count(*)::int as people, max(touches)::int as touches from user_provision_state",
  );
  expect(rows).toEqual([{ people: 21, touches: 0 }]);
});
