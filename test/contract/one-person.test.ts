/** From the sight of a new object to Ready and the event, on a real Postgres: what one person costs in round trips. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { LiveTenantUser } from "../../src/api/tenantUser.ts";
import type { UserEvent } from "../../src/api/userEvent.ts";
import { FINALIZER } from "../../src/api/meta.ts";
import { makeRetries } from "../../src/heartbeat/retries.ts";
import { watchUsers } from "../../src/heartbeat/users.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { TenantAccess } from "../../src/reconciler/access.ts";
import { makeBreakers } from "../../src/reconciler/breakers.ts";
import { makeCrowd } from "../../src/reconciler/crowd.ts";
import { makeEngine } from "../../src/reconciler/engine.ts";
import { makeIntake } from "../../src/reconciler/intake.ts";
import { makeOutboxPump } from "../../src/reconciler/outboxPump.ts";
import { makeTenantBreakers } from "../../src/reconciler/tenantBreakers.ts";
import { keycloakStep } from "../../src/steps/keycloak.ts";
import { newapiStep } from "../../src/steps/newapi.ts";
import { secretStep } from "../../src/steps/secret.ts";
import { record } from "../../src/store/claims.ts";
import { makePool } from "../../src/store/pool.ts";
import { openWorkerSession } from "../../src/store/workerSession.ts";
import { tenant } from "../support/builders.ts";
import { makeFakeCluster } from "../support/fakeCluster.ts";
import { makeFakeGateway, makeFakeRealm } from "../support/fakeNeighbours.ts";
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

/** The parts that a person passes through, with all neighbours but Postgres in memory. */
async function startReconciler() {
  const [pool, session] = [makePool({ url: journal.url, max: 8, applicationName: "test" }), new AbortController()];
  const cluster = makeFakeCluster();
  cluster.createNamespace("tenant-a");
  const id = await cluster.clusterID(session.signal);
  const clusterID = () => Promise.resolve(id);
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
  const tenants = {
    get: () => access,
    byNamespace: () => access,
    all: () => [access],
    loaded: () => true,
  };
  const [clock, random, log] = [systemClock, () => 0, silentLog];
  const breakers = makeBreakers({ clock, random, probe: () => Promise.resolve(true), recovered: () => {} });
  const tenantBreakers = makeTenantBreakers({ clock, suspect: () => {}, recovered: () => {} });
  const published: UserEvent[] = [];
  const publish = async (event: UserEvent): Promise<void> => void published.push(event);
  const outbox = makeOutboxPump({ pool, publish, clock, log });
  const engine = makeEngine({
    pool,
    cluster,
    clusterID,
    tenants,
    steps: [keycloakStep, newapiStep, secretStep],
    breakers,
    tenantBreakers,
    workers: 16,
    ready: () => true,
    recovered: () => {},
    held: () => [],
    openSession: () => openWorkerSession(database.url, "test worker"),
    record: async (claim, recording) => {
      const next = await record(pool, claim, recording);
      if (recording.events.length > 0) outbox.look();
      return next;
    },
    keepAudit: () => {},
    moveEmail: never,
    firstWaiter: never,
    forgetWaiter: never,
    handOver: never,
    takeOver: never,
    counted: () => {},
    released: () => {},
    doubt: () => {},
    crowd: makeCrowd(),
    observe: () => {},
    clock,
    random,
    log,
  });
  const look = (): void => engine.look();
  const intake = makeIntake({ pool, cluster, clusterID, tenants, look, clock, log });
  const retries = makeRetries({ concurrency: 8, random, log });
  engine.start();
  void outbox.start();
  const { openWatch } = cluster;
  const watch = watchUsers({ openWatch, pool, cluster, clusterID, tenants, intake, retries, look, log });
  opened.push(
    () => pool.end(),
    () => outbox.stop(),
    () => engine.stop(),
    () => retries.stop(),
    () => watch.stop(),
    () => breakers.stop(),
    () => tenantBreakers.stop(),
  );
  return {
    /** Resolves when all of them are Ready, told of, and nobody looks for more. */
    async commit(names: readonly string[]): Promise<void> {
      for (const name of names) {
        const finalizers = [FINALIZER];
        cluster.applyUser("tenant-a", name, { email: `${name}@example.com` }, { finalizers });
      }
      const isThere = (name: string): boolean =>
        isReady(cluster.user("tenant-a", name)) && published.some(({ data }) => data.email === `${name}@example.com`);
      await expect.poll(() => names.every(isThere)).toBe(true);
      // The last look, and the pump's pause.
      await sleep(600);
    },
  };
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
  [/^select \* from bind_newcomer/, "bind"],
  [/^with recursive tenant/, "claim"],
  [/^with recorded/, "record"],
  [/^with living/, "sleep"],
  [/^(begin|commit|select seq, payload from outbox|update outbox)/, "send"],
];

test("one new person is 13 round trips: bound, claimed, recorded five times, told of, and looked for once more", async () => {
  const reconciler = await startReconciler();
  await reconciler.commit(["first"]);
  const spent: (readonly string[])[] = [];
  for (const name of ["ada", "ida", "eve"]) {
    const [before, already] = [journal.syncs(), journal.texts.length];
    await reconciler.commit([name]);
    const texts = journal.texts.slice(already);
    expect(texts).toHaveLength(journal.syncs() - before);
    spent.push(purposes(texts));
  }
  // On a busy machine somebody takes so long that they are looked after meanwhile.
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

test("of those who come together each costs fewer than nine", async () => {
  const reconciler = await startReconciler();
  await reconciler.commit(["first"]);
  const before = journal.syncs();
  const crowd = Array.from({ length: 40 }, (_, n) => `p${n}`);
  await reconciler.commit(crowd);
  expect((journal.syncs() - before) / crowd.length).toBeLessThan(9);
});
