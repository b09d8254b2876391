/** A pin whose owner only Keycloak knows: however that one answers, nobody in the intake waits for it. On a real Postgres. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { candidateUUID } from "../../src/api/names.ts";
import { watchUsers } from "../../src/triggers/users.ts";
import type { Realm } from "../../src/keycloak/realm.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { TransientError } from "../../src/lib/errors.ts";
import { makeJobs } from "../../src/lib/jobs.ts";
import { silentLog } from "../../src/lib/log.ts";
import { originAt, type TenantAccess } from "../../src/reconciler/access.ts";
import { makeBreakers } from "../../src/reconciler/breakers.ts";
import { makeIntake } from "../../src/reconciler/intake.ts";
import { makeOriginLimits } from "../../src/reconciler/originLimits.ts";
import { makePendingUsers } from "../../src/reconciler/pending.ts";
import { makePinLookups } from "../../src/reconciler/pinLookups.ts";
import { makePinQuestions } from "../../src/reconciler/pinQuestions.ts";
import { makeTenantBreakers } from "../../src/reconciler/tenantBreakers.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { loadSaga } from "../../src/store/sagas.ts";
import { tenant } from "../support/builders.ts";
import { makeFakeCluster } from "../support/fakeCluster.ts";
import { makeFakeRealm } from "../support/fakeUpstreams.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";

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

const down = new TransientError({ code: "UpstreamUnavailable", upstream: "keycloak", message: "no answer" });
/** One that is about somebody: it has the shape of a derived one, and is not the object's own. */
const foreign = (n: number): string => candidateUUID("slow", `before-${n}@example.com`);

/** Two tenants, each with a Keycloak of its own; `findUser` is what slow's does. */
function makeIntakeSide(findUser: Realm["findUser"]) {
  const cluster = makeFakeCluster();
  for (const name of ["slow", "acme"]) cluster.createNamespace(name);
  const access = (id: string, realm: Realm): TenantAccess => ({
    tenantID: id,
    name: id,
    spec: tenant({
      tenantID: id,
      namespaces: [id],
      keycloak: { url: `https://${id}.example.com`, realm: id, credentialsSecretName: id },
    }),
    revision: "r1",
    ready: true,
    notReadyMessage: "",
    realmIsExclusive: true,
    realm,
    gateway: undefined,
  });
  const known = new Map([
    ["slow", access("slow", { ...makeFakeRealm(), findUser })],
    ["acme", access("acme", makeFakeRealm())],
  ]);
  const get = (name: string) => known.get(name);
  const tenants = { get, byNamespace: get, all: () => [...known.values()], loaded: () => true };
  const [clock, random, log] = [systemClock, () => 0, silentLog];
  const clusterID = () => cluster.clusterID(AbortSignal.timeout(1000));
  const notify = (): void => {};
  const jobs = makeJobs({ concurrency: 8, clock, random, log });
  const lookups = makeJobs({ concurrency: 64, clock, random, log });
  const breakers = makeBreakers({ clock, random, probe: () => Promise.resolve(false), recovered: () => {} });
  const tenantBreakers = makeTenantBreakers({ clock, requestRecheck: () => {}, recovered: () => {} });
  const questions = makePinQuestions(clock);
  const intake = makeIntake({ pool, cluster, clusterID, tenants, pins: questions, notify, clock, log });
  const pending = makePendingUsers({ pool, intake, jobs, tenants });
  const lookUps = makePinLookups({
    questions,
    tenants,
    jobs: lookups,
    breakers,
    tenantBreakers,
    originLimits: makeOriginLimits({ clock }),
    pending,
    clock,
    deadlineMs: 300,
  });
  void lookUps.start();
  const { openWatch } = cluster;
  const skipped = (): void => {};
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
    skipped,
    log,
  });
  opened.push(
    () => jobs.stop(),
    () => lookups.stop(),
    () => lookUps.stop(),
    () => breakers.stop(),
    () => tenantBreakers.stop(),
    () => watch.stop(),
  );
  const origin = originAt(tenants.all()[0]!.spec, "keycloak");
  return {
    cluster,
    known,
    isOpen: () => breakers.open().includes(origin),
    ready: (name: string) => cluster.user("slow", name)?.status?.conditions?.find(({ type }) => type === "Ready"),
  };
}

const isBound = async (uuid: string): Promise<boolean> => (await loadSaga(pool, uuid))?.confirmed === true;
const soon = { timeout: 2_000, interval: 20 };

/** Until its signal is cut, and no answer then either. */
const never: Realm["findUser"] = (_uuid, _tenantID, signal) =>
  new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(down));
  });

test("behind a Keycloak that never answers only the pins wait: not the tenant's other people, not another tenant's", async () => {
  const asked: string[] = [];
  const { cluster, isOpen, ready } = makeIntakeSide((uuid, ...rest) => {
    asked.push(uuid);
    return never(uuid, ...rest);
  });
  for (let n = 0; n < 12; n += 1) {
    cluster.applyUser("slow", `pinned-${n}`, { email: `p${n}@example.com`, userUUID: foreign(n) });
  }
  cluster.applyUser("slow", "plain", { email: "plain@example.com" });
  cluster.applyUser("acme", "ada", { email: "ada@example.com" });
  // Long before the first call is given up.
  const at = Date.now();
  for (const uuid of [candidateUUID("slow", "plain@example.com"), candidateUUID("acme", "ada@example.com")]) {
    await expect.poll(() => isBound(uuid), soon).toBe(true);
  }
  expect(Date.now() - at).toBeLessThan(2_000);

  // People are told, as of everything that passes by itself.
  await expect
    .poll(() => ready("pinned-0"), { timeout: 10_000 })
    .toMatchObject({ status: "False", reason: "UpstreamUnavailable" });
  await expect
    .poll(() => ready("pinned-11"), { timeout: 10_000 })
    .toMatchObject({ status: "False", reason: "UpstreamUnavailable" });
  // One at a time, and a silence counts: at the fifth nobody is asked any more.
  await expect.poll(isOpen, { timeout: 20_000 }).toBe(true);
  expect(asked.length).toBeLessThanOrEqual(6);
});

test("what Keycloak carries under our marks is the tenant's own as soon as it says so, and what it does not is refused", async () => {
  let isSilent = true;
  const { cluster, ready } = makeIntakeSide((uuid) => {
    if (isSilent) return Promise.reject(down);
    return Promise.resolve(uuid === foreign(1) ? "kc-1" : undefined);
  });
  cluster.applyUser("slow", "mine", { email: "mine@example.com", userUUID: foreign(1) });
  cluster.applyUser("slow", "theirs", { email: "theirs@example.com", userUUID: foreign(2) });
  await expect.poll(() => ready("theirs")?.reason, soon).toBe("UpstreamUnavailable");
  isSilent = false;
  await expect.poll(() => isBound(foreign(1)), { timeout: 10_000 }).toBe(true);
  await expect.poll(() => ready("theirs")?.reason, { timeout: 10_000 }).toBe("UUIDNotYours");
  expect(await isBound(foreign(2))).toBe(false);
});

test("a pin that Keycloak chokes on holds back no other pin of its tenant", async () => {
  const { cluster } = makeIntakeSide((uuid) => {
    if (uuid === foreign(1)) return Promise.reject(new Error("unreadable"));
    return Promise.resolve("kc-2");
  });
  cluster.applyUser("slow", "odd", { email: "odd@example.com", userUUID: foreign(1) });
  cluster.applyUser("slow", "mine", { email: "mine@example.com", userUUID: foreign(2) });
  await expect.poll(() => isBound(foreign(2)), { timeout: 10_000 }).toBe(true);
});

test("of a Tenant that is not ready nobody is asked: the pin waits with the rest", async () => {
  const { cluster, known, ready } = makeIntakeSide(() => Promise.reject(new Error("asked")));
  const before = known.get("slow")!;
  known.set("slow", { ...before, ready: false, notReadyMessage: "Its realm is gone.", realm: undefined });
  cluster.applyUser("slow", "mine", { email: "mine@example.com", userUUID: foreign(1) });
  await expect.poll(() => ready("mine")?.reason, soon).toBe("TenantNotReady");
});
