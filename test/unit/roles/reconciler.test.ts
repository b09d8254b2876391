/** The reconciler as it is composed, on a real Postgres: whatever happens at one end is heard at the other. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext, vi } from "vitest";
import { candidateUUID } from "../../../src/api/names.ts";
import type { TenantSpecInput } from "../../../src/api/tenant.ts";
import type { LiveTenantUser, TenantUserSpecInput } from "../../../src/api/tenantUser.ts";
import type { UserEvent } from "../../../src/api/userEvent.ts";
import type { RealmProblem } from "../../../src/keycloak/realm.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { parseConfig } from "../../../src/lib/config.ts";
import { TerminalError, TransientError, WaitingError } from "../../../src/lib/errors.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { noTracer } from "../../../src/lib/tracing.ts";
import { makeLiveness } from "../../../src/ops/liveness.ts";
import { makeMetrics } from "../../../src/ops/metrics.ts";
import { composeReconciler } from "../../../src/roles/composition.ts";
import { runReconciler } from "../../../src/roles/reconciler.ts";
import { makePool } from "../../../src/store/pool.ts";
import { openWorkerSession } from "../../../src/store/workerSession.ts";
import { makeFakeCluster } from "../../support/fakeCluster.ts";
import { makeFakeGateway, makeFakeRealm } from "../../support/fakeUpstreams.ts";
import { freshDatabase } from "../../support/postgres.ts";
import { freePort, startRole } from "../../support/role.ts";
import { tenantSpecInput } from "../../support/tenantSpec.ts";

const HOUR_MS = 3_600_000;
/** Much sooner than the engine or a breaker's safety would poll by themselves: somebody has told it. */
const SOON = { timeout: 20_000, interval: 20 };
const ORIGIN = "https://keycloak.example.com";

const reasonOf = (user: LiveTenantUser | undefined): string | undefined =>
  user?.status?.conditions?.find(({ type }) => type === "Ready")?.reason;

/** All that is outside: what it holds, and how it behaves. */
function makeOutside() {
  const cluster = makeFakeCluster();
  const [realm, gateway] = [makeFakeRealm(), makeFakeGateway()];
  const events: UserEvent[] = [];
  const outside = {
    cluster,
    realm,
    gateway,
    events,
    /** Every call that makes a user, or an account, fails with it. */
    fails: {} as { keycloak?: Error; newapi?: Error },
    problems: [] as RealmProblem[],
    answers: true,
    probes: [] as string[],
    kicks: 0,
    heartbeat: (): void => undefined,
    limitRaised: (_tenantIDs: readonly string[]): void => undefined,
    apiServerRecovered: (): void => undefined,
    user: (name: string) => cluster.user("acme", name),
    apply: (name: string, spec: Partial<TenantUserSpecInput> = {}) =>
      cluster.applyUser("acme", name, { email: `${name}@example.com`, ...spec }),
    reason: (name: string) => reasonOf(cluster.user("acme", name)),
    ready: (...names: readonly string[]) => outside.readyWithin(SOON.timeout, ...names),
    async readyWithin(timeout: number, ...names: readonly string[]): Promise<void> {
      await vi.waitFor(
        () => {
          const unready = names.filter((name) => reasonOf(cluster.user("acme", name)) !== "Ready");
          if (unready.length > 0) throw new Error(`not ready: ${unready.join(", ")}`);
        },
        { ...SOON, timeout },
      );
    },
  };
  return outside;
}

/** Each test has a reconciler and a database of its own: tests run side by side, since they wait most of the time. */
async function start(
  { onTestFinished }: Pick<TestContext, "onTestFinished">,
  outside: ReturnType<typeof makeOutside>,
  spec: Partial<TenantSpecInput> = {},
) {
  const database = await freshDatabase();
  const pool = makePool({ url: database.url, max: 12, applicationName: "test" });
  const { cluster, realm, gateway } = outside;
  for (const name of ["operator", "acme"]) cluster.createNamespace(name);
  cluster.applySecret("operator", "acme-keycloak", { "client-id": "rbac", "client-secret": "s3cret" });
  cluster.applySecret("operator", "acme-newapi", { token: "admin" });
  cluster.applyTenant("acme", tenantSpecInput("acme", spec));
  const composed = composeReconciler(
    {
      pool,
      openSession: () => openWorkerSession(database.url, "test worker"),
      cluster,
      clusterID: () => cluster.clusterID(AbortSignal.timeout(5_000)),
      makeWatches: ({ recovered }) => {
        outside.apiServerRecovered = recovered ?? outside.apiServerRecovered;
        return { open: cluster.openWatch, close: () => Promise.resolve(), lastProgress: () => Date.now() };
      },
      bus: {
        connected: () => true,
        publishHeartbeat: () => Promise.resolve(),
        kick: () => void (outside.kicks += 1),
        publishEvent: (event) => Promise.resolve(void outside.events.push(event)),
        consumeHeartbeat: (notify) => void (outside.heartbeat = notify),
        lastProgress: () => Date.now(),
        close: () => Promise.resolve(),
      },
      makeFactories: ({ limitRaised }) => {
        outside.limitRaised = limitRaised;
        return {
          makeRealm: () => ({
            ...realm,
            ensureUser: (...given) => {
              const failure = outside.fails.keycloak;
              return failure === undefined ? realm.ensureUser(...given) : Promise.reject(failure);
            },
            check: () => Promise.resolve(outside.problems),
          }),
          makeGateway: () => ({
            ...gateway,
            ensure: (...given) =>
              outside.fails.newapi === undefined ? gateway.ensure(...given) : Promise.reject(outside.fails.newapi),
          }),
        };
      },
      probe: (_tenants, origin) => {
        outside.probes.push(origin);
        return Promise.resolve(outside.answers);
      },
      tracer: noTracer,
      metrics: makeMetrics("reconciler", { runtime: false }),
      clock: systemClock,
      random: Math.random,
      log: silentLog,
    },
    {
      workers: 8,
      heartbeatMs: HOUR_MS,
      recheckMs: HOUR_MS,
      driftMs: HOUR_MS,
      retention: { auditDays: 0, endedDays: 0 },
      operatorNamespace: "operator",
    },
  );
  onTestFinished(async () => {
    for (const part of composed.parts.toReversed()) await part.stop();
    await pool.end();
    await database.drop();
  });
  for (const part of composed.parts) void part.start();
  return { ...composed, pool };
}

test("a tenant that is refused under a green check waits for the next one, and resumes with it", async ({
  expect,
  onTestFinished,
}) => {
  const outside = makeOutside();
  const { registry } = await start({ onTestFinished }, outside);
  await expect.poll(() => registry.get("acme")?.ready, SOON).toBe(true);
  let given = 0;
  let isOver = false;
  const message = "Keycloak refuses our credential.";
  const refused = new TerminalError({
    code: "CredentialsRefused",
    upstream: "keycloak",
    upstreamStatus: 401,
    message,
  });
  // As many as open the tenant's breaker; then nobody calls there but the check, whose answer closes it. Nobody is let in
  // before that check: a call that is accepted while the last refusal is on its way would forget the others.
  Object.defineProperty(outside.fails, "keycloak", {
    get: () => {
      if (isOver) return undefined;
      given += 1;
      return refused;
    },
  });
  Object.defineProperty(outside, "problems", {
    get: () => {
      if (given >= 5) isOver = true;
      return [];
    },
  });
  const names = ["ada", "bob", "cy", "dan", "eve"];
  for (const name of names) outside.apply(name);
  // Of a refusal that is recorded only after that check nobody hears: it is tried once more, a minute later.
  await outside.readyWithin(80_000, ...names);
  expect(given).toBeGreaterThanOrEqual(5);
}, 100_000);

describe.concurrent("the reconciler", () => {
  test("an object that comes is bound, worked on and told of, and other replicas hear of a new Tenant", async ({
    expect,
    onTestFinished,
  }) => {
    const outside = makeOutside();
    await start({ onTestFinished }, outside);
    outside.apply("ada");
    await outside.ready("ada");
    await expect.poll(() => outside.events.map(({ type }) => type), SOON).toEqual(["sme.user.created"]);
    await expect.poll(() => outside.cluster.tenant("acme")?.status?.users?.total, SOON).toBe(1);
    expect(outside.kicks).toBeGreaterThan(0);
  });

  test("an origin that recovers makes its tenants' people due", async ({ expect, onTestFinished }) => {
    const outside = makeOutside();
    outside.fails.keycloak = new TransientError({
      code: "UpstreamUnavailable",
      upstream: "keycloak",
      message: "no answer",
    });
    outside.answers = false;
    const { registry } = await start({ onTestFinished }, outside);
    await registry.firstLoaded;
    const names = ["ada", "bob", "cy", "dan", "eve", "fay"];
    for (const name of names) outside.apply(name);
    await expect.poll(() => outside.probes.length, SOON).toBeGreaterThan(1);
    expect(new Set(outside.probes)).toEqual(new Set([ORIGIN]));
    outside.fails = {};
    outside.answers = true;
    await outside.ready(...names);
  });

  test("a tenant that is refused is checked, waits, and resumes with the check", async ({ expect, onTestFinished }) => {
    const outside = makeOutside();
    const { registry } = await start({ onTestFinished }, outside);
    await expect.poll(() => registry.get("acme")?.ready, SOON).toBe(true);
    outside.fails.keycloak = new TerminalError({
      code: "CredentialsRefused",
      upstream: "keycloak",
      upstreamStatus: 401,
      message: "Keycloak refuses our credential.",
    });
    outside.problems = [{ reason: "CredentialsRefused", message: "Keycloak refuses our credential.", blocking: true }];
    outside.apply("ada");
    // Asked for at the refusal: the next one by the clock is an hour away.
    await expect.poll(() => registry.get("acme")?.ready, SOON).toBe(false);
    outside.fails = {};
    outside.problems = [];
    await outside.ready("ada");
  });

  test("a Tenant that becomes ready, and one that gets another namespace, touch those who wait", async ({
    expect,
    onTestFinished,
  }) => {
    const outside = makeOutside();
    outside.problems = [{ reason: "MissingGroup", message: "The group is missing.", blocking: true }];
    await start({ onTestFinished }, outside);
    outside.apply("ada");
    outside.cluster.createNamespace("more");
    outside.cluster.applyUser("more", "bob", { email: "bob@example.com" });
    await expect.poll(() => outside.reason("ada"), SOON).toBe("TenantNotReady");
    outside.problems = [];
    await outside.ready("ada");
    expect(reasonOf(outside.cluster.user("more", "bob"))).toBe("NoTenant");
    outside.cluster.applyTenant("acme", tenantSpecInput("acme", { namespaces: ["acme", "more"] }));
    await expect.poll(() => reasonOf(outside.cluster.user("more", "bob")), SOON).toBe("Ready");
  });

  test("an email that is released wakes the one who waits for it", async ({ expect, onTestFinished }) => {
    const outside = makeOutside();
    await start({ onTestFinished }, outside);
    outside.apply("ada");
    await outside.ready("ada");
    outside.apply("bob", { email: "ada@example.com" });
    await expect.poll(() => outside.reason("bob"), SOON).toBe("EmailInUse");
    outside.apply("ada", { email: "lovelace@example.com" });
    await outside.ready("ada", "bob");
    expect(outside.realm.users.get(candidateUUID("acme", "ada@example.com"))?.wanted.email).toBe(
      "lovelace@example.com",
    );
  });

  test("a place that is released is given to the next, and a Tenant that waits for people to go is read again", async ({
    expect,
    onTestFinished,
  }) => {
    const outside = makeOutside();
    await start({ onTestFinished }, outside, { limits: { maxUsers: 1 } });
    outside.apply("ada");
    await outside.ready("ada");
    outside.apply("bob");
    await expect.poll(() => outside.reason("bob"), SOON).toBe("QuotaFull");
    outside.cluster.deleteUser("acme", "ada");
    await outside.ready("bob");
    outside.cluster.deleteTenant("acme");
    await expect.poll(() => outside.cluster.tenant("acme")?.metadata.deletionTimestamp, SOON).toBeDefined();
    outside.cluster.deleteUser("acme", "bob");
    await expect.poll(() => outside.cluster.tenant("acme"), SOON).toBeUndefined();
  });

  test("a Secret that somebody removes, or that stood in the way, is heard of by its watch", async ({
    expect,
    onTestFinished,
  }) => {
    const outside = makeOutside();
    await start({ onTestFinished }, outside);
    outside.cluster.applySecret("acme", "newapi-key-bob", { "api-key": "theirs" });
    for (const name of ["ada", "bob"]) outside.apply(name, { secret: { name: `newapi-key-${name}` } });
    await outside.ready("ada");
    const { uid } = outside.cluster.secret("acme", "newapi-key-ada")?.metadata ?? {};
    outside.cluster.removeSecret("acme", "newapi-key-ada");
    await expect
      .poll(() => outside.cluster.secret("acme", "newapi-key-ada")?.metadata.uid, SOON)
      .toSatisfy((now) => now !== undefined && now !== uid);
    await expect.poll(() => outside.reason("bob"), SOON).toBe("SecretForeign");
    // Its name is watched from the next reading on.
    await new Promise((resolve) => void setTimeout(resolve, 3_500));
    outside.cluster.removeSecret("acme", "newapi-key-bob");
    await outside.ready("bob");
  });

  test("a pin that only Keycloak knows is asked about, and the answer is told", async ({ expect, onTestFinished }) => {
    const outside = makeOutside();
    await start({ onTestFinished }, outside);
    outside.apply("ada", { userUUID: candidateUUID("acme", "before@example.com") });
    await expect.poll(() => outside.reason("ada"), SOON).toBe("UUIDNotYours");
    expect(outside.realm.calls).toContain("findUser");
  });

  test("a gateway that lets more logins through makes those due who wait for that", async ({
    expect,
    onTestFinished,
  }) => {
    const outside = makeOutside();
    await start({ onTestFinished }, outside);
    const retryAfterMs = HOUR_MS;
    outside.fails.newapi = new WaitingError({
      code: "GatewayLimited",
      message: "The gateway lets nobody in.",
      retryAfterMs,
    });
    outside.apply("ada");
    await expect.poll(() => outside.reason("ada"), SOON).toBe("GatewayLimited");
    outside.fails = {};
    outside.limitRaised(["acme"]);
    await outside.ready("ada");
  });

  test("a heartbeat lets the engine poll: what became due elsewhere is worked on", async ({
    expect,
    onTestFinished,
  }) => {
    const outside = makeOutside();
    const { pool } = await start({ onTestFinished }, outside);
    outside.apply("ada");
    await outside.ready("ada");
    const reads = () => outside.cluster.calls("getTenantUser");
    await expect
      .poll(async () => {
        const before = reads();
        await new Promise((resolve) => void setTimeout(resolve, 500));
        return reads() - before;
      })
      .toBe(0);
    const before = reads();
    await pool.query("update user_provision_state set due_at = now()");
    outside.heartbeat();
    await expect.poll(reads, { timeout: 3_000 }).toBeGreaterThan(before);
  });

  test("what fails because the API server is away is tried at once when it answers", async ({
    expect,
    onTestFinished,
  }) => {
    const outside = makeOutside();
    const { registry } = await start({ onTestFinished }, outside);
    await registry.firstLoaded;
    const down = new TransientError({ code: "UpstreamUnavailable", upstream: "kubernetes", message: "no answer" });
    outside.cluster.break("getTenantUser", down);
    outside.apply("ada");
    // Its pauses have grown by now.
    await expect.poll(() => outside.cluster.calls("getTenantUser"), SOON).toBeGreaterThan(3);
    outside.cluster.break("getTenantUser", undefined);
    outside.apiServerRecovered();
    await expect.poll(() => outside.user("ada")?.status?.userUUID, { timeout: 3_000 }).toBeDefined();
  });

  test("every part that loops is in the liveness, by itself", async ({ expect, onTestFinished }) => {
    const { parts } = await start({ onTestFinished }, makeOutside());
    const report = makeLiveness(systemClock, parts).report();
    expect(report.map(({ name }) => name)).toEqual([
      "outbox",
      "jobs",
      "pin lookups",
      "engine",
      "tenants",
      "watches",
      "membership",
      "obstacles",
      "sweeper",
      "store stats",
      "drift",
      "heartbeat ticker",
    ]);
    expect(report.every(({ ok }) => ok)).toBe(true);
  });

  test("the role starts with every dependency down, says so, and ends cleanly", async ({ expect }) => {
    const [ops, operator, nobody] = [await freePort(), await freePort(), await freePort()];
    const directory = mkdtempSync(join(tmpdir(), "reconciler-"));
    const kubeconfig = join(directory, "kubeconfig");
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: "c", cluster: { server: `https://127.0.0.1:${nobody}` } }],
        users: [{ name: "u", user: { token: "t" } }],
        contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
        "current-context": "x",
      }),
    );
    const env = {
      DATABASE_URL: `postgres://nobody@127.0.0.1:${nobody}/none`,
      NATS_URL: `nats://127.0.0.1:${nobody}`,
      KUBECONFIG: kubeconfig,
      OPS_ADDRESS: `127.0.0.1:${ops}`,
      OPERATOR_ADDRESS: `127.0.0.1:${operator}`,
    };
    const role = startRole(ops, (lifecycle) => runReconciler(parseConfig("reconciler", env), silentLog, lifecycle));
    try {
      await expect.poll(() => role.get("/livez").catch(() => undefined), SOON).toMatchObject({ status: 200 });
      const { text } = await role.get("/livez");
      expect(text).toContain("[+] engine: ");
      expect(text).toContain("[+] certificate renewer: ");
      expect(await role.get("/readyz")).toMatchObject({
        status: 503,
        text: expect.stringContaining("tenants") as string,
      });
      const answer = await fetch(`http://127.0.0.1:${operator}/v1/ownerless`);
      expect(answer.status).toBe(403);
    } finally {
      expect(await role.stop()).toBe(0);
      rmSync(directory, { recursive: true });
    }
  });
});
