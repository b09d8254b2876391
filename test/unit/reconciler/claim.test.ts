import { afterEach, describe, expect, test } from "vitest";
import { FINALIZER, type ObjectMeta } from "../../../src/api/meta.ts";
import type { TenantSpecInput } from "../../../src/api/tenant.ts";
import type { LiveTenantUser, TenantUserSpecInput } from "../../../src/api/tenantUser.ts";
import type { UserEvent } from "../../../src/api/userEvent.ts";
import { TerminalError, TransientError, WaitingError } from "../../../src/lib/errors.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { TenantAccess } from "../../../src/reconciler/access.ts";
import { makeBreakers } from "../../../src/reconciler/breakers.ts";
import { type ClaimDeps, processClaim } from "../../../src/reconciler/claim.ts";
import { makeCrowd } from "../../../src/reconciler/crowd.ts";
import { makeTenantBreakers } from "../../../src/reconciler/tenantBreakers.ts";
import { patched, type SagaRow } from "../../../src/saga/row.ts";
import { keycloakStep } from "../../../src/steps/keycloak.ts";
import { newapiStep } from "../../../src/steps/newapi.ts";
import { secretStep } from "../../../src/steps/secret.ts";
import type { AuditEntry } from "../../../src/store/audit.ts";
import type { Waiter } from "../../../src/store/waiting.ts";
import type { Recording } from "../../../src/store/claims.ts";
import { ADA, NOW, sagaRow, seconds, tenant } from "../../support/builders.ts";
import { type FakeCluster, makeFakeCluster } from "../../support/fakeCluster.ts";
import { makeFakeGateway, makeFakeRealm } from "../../support/fakeNeighbours.ts";

const OWNER = 7;
const NAME = `newapi-key-${ADA}`;
const down = () =>
  new TransientError({
    code: "NeighbourUnavailable",
    neighbour: "keycloak",
    upstreamStatus: 503,
    message: "Keycloak answered 503.",
  });

/** One saga with everything around it in memory. */
async function makeStage(
  options: {
    metadata?: Partial<ObjectMeta>;
    spec?: Partial<TenantUserSpecInput>;
    tenant?: Partial<TenantSpecInput>;
    row?: Partial<SagaRow>;
  } = {},
) {
  const clock = { at: NOW.getTime(), now: () => clock.at };
  const cluster: FakeCluster = makeFakeCluster(clock);
  cluster.createNamespace("tenant-a");
  const user = cluster.applyUser("tenant-a", "ada", { email: "ada@example.com", ...options.spec }, options.metadata);
  const realm = makeFakeRealm();
  const gateway = makeFakeGateway();
  const clusterID = await cluster.clusterID(AbortSignal.timeout(1000));
  const stage = {
    clock,
    cluster,
    realm,
    gateway,
    user,
    row: sagaRow({ objectUID: user.metadata.uid, clusterID, ...options.row }),
    /** Undefined: the lease was let go. */
    owner: OWNER as number | undefined,
    access: undefined as TenantAccess | undefined,
    waiters: [] as Waiter[],
    handedTo: undefined as Waiter | undefined,
    takenOver: undefined as string | undefined,
    forgotten: [] as string[],
    released: 0,
    suspected: [] as string[],
    doubted: [] as string[],
    counted: [] as string[],
    recordings: [] as Recording[],
    audit: [] as AuditEntry[],
    events: [] as UserEvent[],
    stop: new AbortController(),
    beforeRecord: undefined as ((recording: Recording) => void) | undefined,
  };
  const spec = tenant(options.tenant);
  stage.access = {
    tenantID: "acme",
    name: "acme",
    spec,
    revision: "r1",
    ready: true,
    notReadyMessage: "",
    realmIsExclusive: true,
    realm,
    gateway,
  };
  const breakers = makeBreakers({
    clock,
    random: () => 0,
    probe: () => Promise.resolve(false),
    recovered: () => undefined,
  });
  const tenantBreakers = makeTenantBreakers({
    clock,
    suspect: (tenantID) => void stage.suspected.push(tenantID),
    recovered: () => undefined,
  });
  opened.push(() => {
    breakers.stop();
    tenantBreakers.stop();
  });
  const registry = () => (stage.access === undefined ? [] : [stage.access]);
  const deps: ClaimDeps = {
    cluster,
    clusterID,
    tenants: {
      get: (id) => registry().find((each) => each.tenantID === id),
      byNamespace: (namespace) => registry().find((each) => each.spec.namespaces.includes(namespace)),
      all: registry,
      loaded: () => true,
    },
    steps: [keycloakStep, newapiStep, secretStep],
    breakers,
    tenantBreakers,
    record: (claim, recording) => {
      stage.beforeRecord?.(recording);
      stage.audit.push(...recording.audit);
      if (stage.owner !== claim.owner || stage.row.version !== claim.row.version) return Promise.resolve(undefined);
      const { dueAt } = recording.lease === "keep" ? stage.row : recording.lease;
      stage.row = { ...patched(stage.row, recording.patch), version: stage.row.version + 1, dueAt: dueAt ?? undefined };
      if (recording.lease !== "keep") stage.owner = undefined;
      stage.recordings.push(recording);
      stage.events.push(...recording.events);
      return Promise.resolve({ owner: claim.owner, row: stage.row });
    },
    keepAudit: (entries) => void stage.audit.push(...entries),
    moveEmail: (row, email) => {
      stage.row = { ...stage.row, email };
      return Promise.resolve({ kind: "bound", row: { ...row, email }, returned: false });
    },
    firstWaiter: () => Promise.resolve(stage.waiters[0]),
    forgetWaiter: (uid) => {
      stage.forgotten.push(uid);
      stage.waiters = stage.waiters.filter((each) => each.uid !== uid);
      return Promise.resolve();
    },
    handOver: (_claim, to) => {
      stage.handedTo = to;
      return Promise.resolve(true);
    },
    takeOver: (_claim, uuid) => {
      stage.takenOver = uuid;
      return Promise.resolve(true);
    },
    counted: (tenantID) => void stage.counted.push(tenantID),
    doubt: (namespace) => void stage.doubted.push(namespace),
    released: () => void (stage.released += 1),
    crowd: makeCrowd(),
    observe: () => undefined,
    clock,
    random: () => 0,
    log: silentLog,
  };
  return {
    ...stage,
    stage,
    tenantBreakers,
    /** One claim, from its taking to its end. */
    async claim(): Promise<void> {
      stage.row = { ...stage.row, version: stage.row.version + 1 };
      stage.owner = OWNER;
      await processClaim(deps, { owner: OWNER, row: stage.row }, stage.stop.signal);
    },
    live: (): LiveTenantUser | undefined => cluster.user("tenant-a", "ada"),
    condition: (type: string) =>
      cluster.user("tenant-a", "ada")?.status?.conditions?.find((each) => each.type === type),
    edit: (changes: Partial<TenantUserSpecInput>) =>
      cluster.applyUser("tenant-a", "ada", { email: "ada@example.com", ...options.spec, ...changes }),
    later(s: number): void {
      clock.at += s * 1000;
    },
  };
}

const opened: (() => void)[] = [];
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

type Stage = Awaited<ReturnType<typeof makeStage>>;

async function done(options: Parameters<typeof makeStage>[0] = {}): Promise<Stage> {
  const at = await makeStage(options);
  await at.claim();
  expect(at.stage.row.state).toBe("done");
  return at;
}

function outsideCalls({ realm, gateway, cluster }: Stage): number {
  const secrets = (["createSecret", "replaceSecret", "deleteSecret"] as const).map((method) => cluster.calls(method));
  return realm.calls.length + gateway.calls.length + secrets.reduce((sum, n) => sum + n, 0);
}

describe("a new person", () => {
  test("has everything after one claim, and the object says so", async () => {
    const at = await done();
    expect(at.realm.users.size).toBe(1);
    expect(at.gateway.accounts.size).toBe(1);
    expect(at.cluster.secret("tenant-a", NAME)).toBeDefined();
    expect(at.stage).toMatchObject({ owner: undefined, row: { reached: "done", run: undefined, dueAt: undefined } });
    expect(at.live()?.status).toMatchObject({
      observedGeneration: 1,
      state: "done",
      userUUID: ADA,
      keycloak: { userID: "kc-1" },
      secretName: NAME,
    });
    expect(at.condition("Ready")).toMatchObject({ status: "True", reason: "Ready" });
    expect(at.condition("Reconciling")).toBeUndefined();
  });

  test("is new at Keycloak for the first attempt alone: the next may find what that one made", async () => {
    const at = await makeStage();
    at.realm.fail("ensureUser", down());
    await at.claim();
    at.later(60);
    await at.claim();
    expect(at.realm.newIn).toEqual([OWNER, undefined]);
  });

  test.each<[string, Partial<SagaRow>]>([
    [
      "a step was under way before",
      { run: { reason: "create", generation: -1, step: "keycloak", attempt: 0, done: false } },
    ],
    ["an id is known", { keycloakUserID: "kc-0" }],
    ["the row has a past", { history: [{ at: NOW.toISOString(), state: "orphaned", reason: "Orphaned" }] }],
    ["a step was reached", { reached: "kc_created" }],
  ])("is not new at Keycloak where %s", async (_why, row) => {
    const at = await makeStage({ row });
    await at.claim();
    expect(at.realm.newIn[0]).toBeUndefined();
  });

  test("is held by our finalizer before the first outside call", async () => {
    const at = await makeStage();
    at.cluster.break("addFinalizer", new TransientError({ code: "NeighbourUnavailable", message: "x" }));
    await at.claim();
    expect(outsideCalls(at)).toBe(0);
    at.cluster.break("addFinalizer", undefined);
    at.later(5);
    await at.claim();
    expect(at.live()?.metadata.finalizers).toContain(FINALIZER);
  });

  test("has each id recorded with its state, before the next step", async () => {
    const at = await done();
    const states = at.stage.recordings.map(({ patch }) => patch.state).filter((state) => state !== undefined);
    expect(states).toEqual(["kc_created", "newapi_created", "secret_applied", "done"]);
    expect(at.stage.recordings.find(({ patch }) => patch.state === "kc_created")?.patch.keycloakUserID).toBe("kc-1");
  });

  test("leaves an audit row for every outside write, under its step, and one created event", async () => {
    const at = await done();
    expect(at.stage.audit.map(({ step, action, target }) => [step, action, target])).toEqual([
      ["keycloak", "created", "kc-1"],
      ["newapi", "created", "na-1"],
      ["secret", "created", `tenant-a/${NAME}`],
    ]);
    expect(at.stage.events.map(({ type }) => type)).toEqual(["sme.user.created"]);
    expect(at.stage.events[0]?.data).toMatchObject({
      sme_user_uuid: ADA,
      kc_user_id: "kc-1",
      newapi_user_id: "na-1",
      secret_name: NAME,
    });
  });

  test("has the key nowhere but in the Secret", async () => {
    const at = await done();
    const said = JSON.stringify([at.stage.recordings, at.live(), at.cluster.events]);
    expect(said).not.toContain("sk-key-1");
  });

  test("looked at again, nothing is written anywhere, and nobody is counted again", async () => {
    const at = await done();
    expect(at.stage.counted).toEqual(["acme"]);
    const [version, calls, statuses] = [
      at.live()?.metadata.resourceVersion,
      outsideCalls(at),
      at.cluster.calls("applyTenantUserStatus"),
    ];
    await at.claim();
    expect(at.live()?.metadata.resourceVersion).toBe(version);
    expect(outsideCalls(at)).toBe(calls);
    expect(at.cluster.calls("applyTenantUserStatus")).toBe(statuses);
    expect(at.stage.counted).toHaveLength(1);
  });

  test("is told in one Event that it is ready", async () => {
    const at = await done();
    await at.claim();
    expect(at.cluster.events.map(({ type, reason }) => [type, reason])).toEqual([["Normal", "Ready"]]);
  });
});

describe("an edit", () => {
  test("is carried out, and told as an update", async () => {
    const at = await done();
    at.edit({ enabled: false });
    await at.claim();
    expect(at.gateway.accounts.get(ADA)?.disabled).toBe(true);
    expect(at.condition("Ready")).toMatchObject({ status: "True", reason: "Disabled", observedGeneration: 2 });
    expect(at.stage.events.map(({ type }) => type)).toContain("sme.user.updated");
  });

  test("of the key's generation rotates once and says so", async () => {
    const at = await done();
    at.edit({ key: { generation: 1 } });
    await at.claim();
    await at.claim();
    expect(at.gateway.calls.filter((call) => call === "rotate")).toHaveLength(1);
    expect(at.live()?.status?.key).toMatchObject({ generation: 1, rotatedAt: NOW.toISOString() });
    expect(at.stage.events.filter(({ type }) => type === "sme.user.key-rotated")).toHaveLength(1);
  });

  test("of the email keeps uuid and ids", async () => {
    const at = await done();
    at.edit({ email: "grace@example.com" });
    await at.claim();
    expect(at.stage.row).toMatchObject({
      uuid: ADA,
      email: "grace@example.com",
      keycloakUserID: "kc-1",
      state: "done",
    });
    expect(at.stage.released).toBe(1);
  });

  test("to suspend changes nothing outside, and leaves Ready as it was", async () => {
    const at = await done();
    at.edit({ suspend: true, enabled: false });
    const calls = outsideCalls(at);
    await at.claim();
    expect(outsideCalls(at)).toBe(calls);
    expect(at.condition("Ready")).toMatchObject({ status: "True", reason: "Ready" });
    expect(at.condition("Suspended")).toMatchObject({ status: "True" });
  });

  test("of the deletion policy counts also while suspended", async () => {
    const at = await done();
    at.edit({ suspend: true, deletionPolicy: "Retain" });
    await at.claim();
    expect(at.stage.row.deletionPolicy).toBe("Retain");
  });
});

describe("a refusal", () => {
  test("of what is not allowed touches nothing, is Stalled, and rests until something changes", async () => {
    const at = await makeStage({ spec: { groups: ["admins"] } });
    await at.claim();
    expect(outsideCalls(at)).toBe(0);
    expect(at.stage.row).toMatchObject({
      state: "failed",
      dueAt: undefined,
      lastError: { class: "terminal", code: "NotAllowed" },
    });
    expect(at.condition("Stalled")).toMatchObject({
      status: "True",
      reason: "NotAllowed",
      message: expect.stringContaining("admins"),
    });
    expect(at.condition("Reconciling")).toBeUndefined();
    expect(at.stage.events.map(({ type }) => type)).toEqual(["sme.user.failed"]);
    const statuses = at.cluster.calls("applyTenantUserStatus");
    await at.claim();
    expect(at.cluster.calls("applyTenantUserStatus")).toBe(statuses);
    expect(at.stage.events).toHaveLength(1);
    at.edit({ groups: [] });
    await at.claim();
    expect(at.condition("Ready")?.status).toBe("True");
    expect(at.condition("Stalled")).toBeUndefined();
  });

  test("by a neighbour is the same, under its step", async () => {
    const at = await makeStage();
    at.realm.fail(
      "ensureUser",
      new TerminalError({ code: "UserClaimed", neighbour: "keycloak", message: "Somebody has it." }),
    );
    await at.claim();
    expect(at.condition("Stalled")).toMatchObject({ reason: "UserClaimed" });
    expect(at.condition("KeycloakReady")).toMatchObject({ status: "False", reason: "UserClaimed" });
    expect(at.gateway.calls).toEqual([]);
  });

  test("of a foreign Secret leaves it, and the accounts stay", async () => {
    const at = await makeStage();
    const theirs = at.cluster.applySecret("tenant-a", NAME, { mine: "x" });
    await at.claim();
    expect(at.cluster.secret("tenant-a", NAME)).toEqual(theirs);
    expect(at.condition("Stalled")).toMatchObject({ reason: "SecretForeign" });
    expect(at.stage.doubted).toEqual([]);
  });

  test("by the API server for want of rights has them asked for, in the Secret's namespace", async () => {
    const at = await makeStage();
    const refused = {
      code: "MissingPermission",
      neighbour: "kubernetes",
      upstreamStatus: 403,
      message: "No.",
    } as const;
    at.cluster.break("createSecret", new TerminalError(refused));
    await at.claim();
    expect(at.condition("Stalled")).toMatchObject({ reason: "MissingPermission" });
    expect(at.stage.doubted).toEqual(["tenant-a"]);
  });
});

describe("a failure that passes", () => {
  test("is tried again later, said as Reconciling, and goes on where it was", async () => {
    const at = await makeStage();
    at.gateway.fail("ensure", down());
    await at.claim();
    expect(at.stage.row).toMatchObject({ state: "kc_created", retryCount: 1, dueAt: seconds(1) });
    expect(at.condition("Reconciling")).toMatchObject({ status: "True", reason: "ProgressingWithRetry" });
    expect(at.condition("Stalled")).toBeUndefined();
    expect(at.live()?.status).toMatchObject({ retryCount: 1, lastError: { step: "newapi", upstreamStatus: 503 } });
    at.later(1);
    await at.claim();
    expect(at.condition("Ready")?.status).toBe("True");
    expect(at.realm.calls.filter((call) => call === "ensureUser")).toHaveLength(1);
  });

  test("five times in a row is failed, told once, and heals by itself", async () => {
    const at = await makeStage();
    for (let n = 0; n < 5; n += 1) {
      at.gateway.fail("ensure", down());
      await at.claim();
      at.later(60);
    }
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "NeighbourUnavailable" });
    expect(at.condition("Reconciling")?.status).toBe("True");
    expect(at.stage.events.map(({ type }) => type)).toEqual(["sme.user.failed"]);
    // By now nobody goes there but a probe; the circuit is another test's.
    expect(at.stage.row.state).toBe("failed");
  });

  test("of the API server is nobody's: nothing is counted or said", async () => {
    const at = await makeStage();
    at.cluster.break("getTenantUser", down());
    await at.claim();
    expect(at.stage.row).toMatchObject({ retryCount: 0, state: "pending", lastError: undefined, dueAt: seconds(1) });
  });

  test("of the status alone is made up for in a second", async () => {
    const at = await makeStage();
    at.cluster.break("applyTenantUserStatus", down());
    await at.claim();
    expect(at.stage.row).toMatchObject({ state: "done", dueAt: seconds(1) });
    at.cluster.break("applyTenantUserStatus", undefined);
    await at.claim();
    expect(at.condition("Ready")?.status).toBe("True");
  });

  test("of an answer that was lost makes nothing twice", async () => {
    const at = await makeStage();
    at.realm.fail("ensureUser", down(), "after");
    at.gateway.fail("ensure", down(), "after");
    for (let n = 0; n < 3; n += 1) {
      await at.claim();
      at.later(10);
    }
    expect(at.stage.row.state).toBe("done");
    expect([at.realm.users.size, at.gateway.accounts.size]).toEqual([1, 1]);
  });

  test("of something nobody expected is tried again, and its text is shown to nobody", async () => {
    const at = await makeStage();
    at.realm.fail("ensureUser", new Error("password=hunter2"));
    await at.claim();
    expect(at.stage.row).toMatchObject({ retryCount: 1 });
    expect(JSON.stringify([at.stage.row, at.live()])).not.toContain("hunter2");
  });
});

describe("waiting", () => {
  test("without a Tenant nothing is done, and it says whose turn it is", async () => {
    const at = await makeStage();
    at.stage.access = undefined;
    await at.claim();
    expect(outsideCalls(at)).toBe(0);
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "NoTenant" });
    expect(at.condition("Reconciling")?.status).toBe("True");
    expect(at.stage.row).toMatchObject({ state: "pending", retryCount: 0, dueAt: undefined });
  });

  test("for the Tenant's checks burns no retries", async () => {
    const at = await makeStage();
    at.stage.access = {
      ...(at.stage.access as TenantAccess),
      ready: false,
      notReadyMessage: "Group /sme-users is missing.",
    };
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ reason: "TenantNotReady", message: "Group /sme-users is missing." });
    expect(at.stage.row).toMatchObject({ retryCount: 0, dueAt: undefined });
  });
});

describe("a credential that is refused", () => {
  const refused = (neighbour: "keycloak" | "newapi" = "keycloak") =>
    new TerminalError({ code: "CredentialsRefused", neighbour, upstreamStatus: 401, message: "Refused (401)." });

  async function open(at: Stage, neighbour: "keycloak" | "newapi" = "keycloak"): Promise<void> {
    for (let n = 0; n < 5; n += 1) at.tenantBreakers.refused("acme", neighbour);
  }

  test("stalls its own, asks for the Tenant's check, and resumes under another credential", async () => {
    const at = await makeStage();
    at.realm.fail("ensureUser", refused());
    await at.claim();
    expect(at.condition("Stalled")).toMatchObject({ reason: "CredentialsRefused" });
    expect(at.stage.suspected).toEqual(["acme"]);
    await at.claim();
    expect(at.stage.row).toMatchObject({ state: "failed", dueAt: undefined });
    at.stage.access = { ...(at.stage.access as TenantAccess), revision: "r2" };
    await at.claim();
    expect(at.condition("Ready")?.status).toBe("True");
  });

  test("five times in a row lets nobody of the tenant go there: the next one waits, and burns no retry", async () => {
    const at = await makeStage();
    await open(at);
    await at.claim();
    expect(outsideCalls(at)).toBe(0);
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "TenantNotReady" });
    expect(at.condition("Reconciling")?.status).toBe("True");
    expect(at.condition("Stalled")).toBeUndefined();
    expect(at.stage.row).toMatchObject({ state: "pending", retryCount: 0, lastError: undefined, dueAt: seconds(30) });
    at.tenantBreakers.checked("acme", "keycloak", false);
    at.tenantBreakers.checked("acme", "keycloak", true);
    await at.claim();
    expect(at.condition("Ready")?.status).toBe("True");
  });

  test("at one neighbour, or of another tenant, holds back nobody else", async () => {
    const at = await makeStage();
    await open(at, "newapi");
    for (let n = 0; n < 5; n += 1) at.tenantBreakers.refused("other", "keycloak");
    await at.claim();
    expect(at.stage.row).toMatchObject({ state: "kc_created", reached: "kc_created" });
  });

  test("counts as let in, when the neighbour refuses the request and not the credential", async () => {
    const at = await makeStage();
    for (let n = 0; n < 4; n += 1) at.tenantBreakers.refused("acme", "keycloak");
    at.realm.fail(
      "ensureUser",
      new TerminalError({ code: "RequestRefused", neighbour: "keycloak", upstreamStatus: 400, message: "No." }),
    );
    await at.claim();
    at.tenantBreakers.refused("acme", "keycloak");
    expect(at.tenantBreakers.open()).toBe(0);
  });

  test("holds a deletion ten minutes; the rest is a debt, which is paid when it is let in again", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    for (let n = 0; n < 5; n += 1) {
      at.realm.fail("deleteUser", refused());
      await at.claim();
      at.later(60);
    }
    expect(at.tenantBreakers.open()).toBe(1);
    expect(at.live()?.metadata.finalizers).toContain(FINALIZER);
    const calls = outsideCalls(at);
    await at.claim();
    expect(outsideCalls(at)).toBe(calls);
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "Deleting" });
    at.later(301);
    await at.claim();
    expect(at.live()).toBeUndefined();
    expect(at.stage.row).toMatchObject({ state: "deleting", deleting: { released: true } });
    at.later(3600);
    await at.claim();
    expect(at.stage.row.state).toBe("deleting");
    at.tenantBreakers.checked("acme", "keycloak", true);
    await at.claim();
    expect(at.stage.row.state).toBe("deleted");
    expect(at.realm.users.size).toBe(0);
  });
});

describe("a deletion", () => {
  test("undoes Secret, account and user in this order, then lets the object go", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    at.stage.audit.length = 0;
    await at.claim();
    expect(at.stage.audit.map(({ step, action }) => [step, action])).toEqual([
      ["secret", "deleted"],
      ["newapi", "disabled"],
      ["keycloak", "deleted"],
    ]);
    expect(at.live()).toBeUndefined();
    expect(at.cluster.secret("tenant-a", NAME)).toBeUndefined();
    expect(at.stage.row).toMatchObject({
      state: "deleted",
      objectUID: undefined,
      deleting: undefined,
      dueAt: undefined,
    });
    expect(at.stage.events.at(-1)).toMatchObject({ type: "sme.user.deleted", data: { kc_user_id: "kc-1" } });
    expect(at.stage.released).toBe(1);
  });

  test("before anything was made makes nothing", async () => {
    const at = await makeStage({ metadata: { finalizers: [FINALIZER] } });
    at.cluster.deleteUser("tenant-a", "ada");
    await at.claim();
    expect(at.stage.row.state).toBe("deleted");
    expect(at.live()).toBeUndefined();
    expect([at.realm.users.size, at.gateway.accounts.size, at.stage.audit.length]).toEqual([0, 0, 0]);
  });

  test("goes on where it was cut", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    at.gateway.fail("disable", down(), "after");
    await at.claim();
    expect(at.stage.row.deleting).toMatchObject({ undone: ["secret"], released: false });
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "Deleting" });
    at.later(1);
    await at.claim();
    expect(at.live()).toBeUndefined();
  });

  test("is let go after ten minutes, with the rest as a debt that is paid later", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    at.gateway.fail("disable", down());
    await at.claim();
    at.later(600);
    at.gateway.fail("disable", down());
    await at.claim();
    expect(at.live()).toBeUndefined();
    expect(at.cluster.events.at(-1)).toMatchObject({
      reason: "DebtOwed",
      note: expect.stringContaining("newapi, keycloak"),
    });
    expect(at.stage.row).toMatchObject({ state: "deleting", deleting: { released: true, undone: ["secret"] } });
    expect(at.stage.released).toBe(1);
    at.later(600);
    await at.claim();
    expect(at.stage.row.state).toBe("deleted");
    expect(at.realm.users.size).toBe(0);
  });

  test("with grace locks, lets go, and purges when it is over", async () => {
    const at = await done({ tenant: { deletionGrace: "1h" } });
    at.cluster.deleteUser("tenant-a", "ada");
    await at.claim();
    expect(at.live()).toBeUndefined();
    expect(at.realm.users.get(ADA)?.enabled).toBe(false);
    expect(at.gateway.accounts.get(ADA)?.disabled).toBe(true);
    expect(at.stage.row).toMatchObject({ state: "deleting", dueAt: seconds(3600), deleting: { released: true } });
    expect(at.stage.events.map(({ type }) => type)).not.toContain("sme.user.deleted");
    at.later(3600);
    await at.claim();
    expect(at.stage.row.state).toBe("deleted");
    expect(at.realm.users.size).toBe(0);
  });

  test("with Retain keeps all three, by the last word of the object", async () => {
    const at = await done();
    at.edit({ deletionPolicy: "Retain" });
    at.cluster.deleteUser("tenant-a", "ada");
    await at.claim();
    expect(at.live()).toBeUndefined();
    expect(at.stage.row.state).toBe("retained");
    expect(at.cluster.secret("tenant-a", NAME)).toBeDefined();
    expect(at.realm.users.size).toBe(1);
  });

  test("without the Tenant goes as far as it can, and holds nobody for ever", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    at.stage.access = undefined;
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ reason: "Deleting" });
    at.later(601);
    await at.claim();
    expect(at.live()).toBeUndefined();
  });

  test.each(["terminating", "gone"] as const)("by a CRD that is %s undoes nothing and lets go", async (state) => {
    const at = await done();
    at.cluster.setCRD(state);
    at.cluster.deleteUser("tenant-a", "ada");
    const calls = outsideCalls(at);
    await at.claim();
    expect(outsideCalls(at)).toBe(calls);
    expect(at.live()).toBeUndefined();
    expect(at.stage.row).toMatchObject({ state: "orphaned", keycloakUserID: "kc-1" });
  });

  test("that nobody has seen is none: the row is an orphan, and those who wait are told", async () => {
    const at = await done();
    at.cluster.loseUser("tenant-a", "ada");
    const calls = outsideCalls(at);
    await at.claim();
    expect(at.stage.row.state).toBe("done");
    at.later(5);
    await at.claim();
    expect(outsideCalls(at)).toBe(calls);
    expect(at.stage.row).toMatchObject({ state: "orphaned", dueAt: undefined });
    expect(at.stage.released).toBe(1);
  });

  test("of another object that has the name by now is none of this one's", async () => {
    const at = await done();
    at.cluster.loseUser("tenant-a", "ada");
    at.cluster.applyUser("tenant-a", "ada", { email: "ada@example.com" });
    at.cluster.deleteUser("tenant-a", "ada");
    await at.claim();
    at.later(5);
    await at.claim();
    expect(at.stage.row.state).toBe("orphaned");
    expect(at.realm.users.size).toBe(1);
  });
});

describe("handing over", () => {
  async function withWaiter(spec: Partial<TenantUserSpecInput> = {}) {
    const at = await done();
    const heir = at.cluster.applyUser("tenant-a", "ada-new", { email: "ada@example.com", ...spec });
    const { uid, name } = heir.metadata;
    at.stage.waiters = [{ uid, name, namespace: "tenant-a", createdAt: NOW }];
    at.cluster.deleteUser("tenant-a", "ada");
    return { at, uid };
  }

  test("gives the saga to the one who waits, lets the old object go, and undoes nothing", async () => {
    const { at, uid } = await withWaiter();
    await at.claim();
    expect(at.stage.handedTo?.uid).toBe(uid);
    expect(at.live()).toBeUndefined();
    expect(at.realm.users.size).toBe(1);
    expect(at.cluster.secret("tenant-a", NAME)).toBeDefined();
  });

  test("not to one that is gone: it is forgotten, and the deletion goes on", async () => {
    const { at, uid } = await withWaiter();
    at.cluster.loseUser("tenant-a", "ada-new");
    await at.claim();
    expect(at.stage).toMatchObject({ handedTo: undefined, forgotten: [uid], row: { state: "deleted" } });
  });

  test("not to one that pins another uuid: that is another person on the same address", async () => {
    const { at } = await withWaiter({ userUUID: "0a000000-0000-4000-8000-00000000000a" });
    await at.claim();
    expect(at.stage).toMatchObject({ handedTo: undefined, forgotten: [], row: { state: "deleted" } });
  });
});

describe("a lease that is lost", () => {
  test("on the way stops quietly: nothing more is recorded, and nothing is said on the object", async () => {
    const at = await makeStage();
    at.stage.beforeRecord = ({ patch }) => {
      if (patch.state === "newapi_created") at.stage.row = { ...at.stage.row, version: 99 };
    };
    await at.claim();
    expect(at.stage.row).toMatchObject({ version: 99, state: "kc_created", newapiUserID: undefined });
    expect(at.cluster.calls("createSecret")).toBe(0);
    expect(at.live()?.status).toBeUndefined();
    expect(at.stage.events).toEqual([]);
  });

  test("leaves in the audit what it wrote", async () => {
    const at = await makeStage();
    at.stage.beforeRecord = ({ patch }) => {
      if (patch.state === "newapi_created") at.stage.row = { ...at.stage.row, version: 99 };
    };
    await at.claim();
    expect(at.stage.audit.map(({ action }) => action)).toEqual(["created", "created"]);
  });

  test("by a failure of Postgres too: what no record has taken is kept", async () => {
    const at = await makeStage();
    at.stage.beforeRecord = ({ patch }) => {
      if (patch.state === "newapi_created") throw new Error("connection terminated");
    };
    await expect(at.claim()).rejects.toThrow("connection terminated");
    expect(at.stage.audit.map(({ step, action }) => [step, action])).toEqual([
      ["keycloak", "created"],
      ["newapi", "created"],
    ]);
    expect(at.stage.audit[1]?.id).toBeDefined();
  });

  test("before an intent is recorded sends no mail", async () => {
    const at = await makeStage({ spec: { invitation: "Email" } });
    at.stage.beforeRecord = ({ patch }) => {
      if (patch.invitedKeycloakUserID !== undefined) at.stage.row = { ...at.stage.row, version: 99 };
    };
    await at.claim();
    expect(at.realm.mails).toEqual([]);
  });

  test("what it had done outside is found and mended by the next claim", async () => {
    const at = await makeStage();
    at.stage.beforeRecord = ({ patch }) => {
      if (patch.state === "secret_applied") at.stage.row = { ...at.stage.row, version: 99 };
    };
    await at.claim();
    at.stage.beforeRecord = undefined;
    await at.claim();
    expect(at.condition("Ready")?.status).toBe("True");
    expect([at.realm.users.size, at.gateway.accounts.size, at.cluster.calls("createSecret")]).toEqual([1, 1, 1]);
  });
});

describe("being told to stop", () => {
  test("in the middle gives the row back, due now, without a failure counted or said", async () => {
    const at = await makeStage();
    const ensure = at.gateway.ensure.bind(at.gateway);
    at.stage.access = {
      ...(at.stage.access as TenantAccess),
      gateway: {
        ...at.gateway,
        ensure: (request, signal) => {
          at.stage.stop.abort(new Error("shutting down"));
          return ensure(request, signal);
        },
      },
    };
    await at.claim();
    expect(at.stage).toMatchObject({
      owner: undefined,
      row: { state: "kc_created", retryCount: 0, lastError: undefined, dueAt: NOW },
    });
    expect(at.live()?.status).toBeUndefined();
    expect(at.stage.audit.map(({ action }) => action)).toEqual(["created"]);
  });
});

test("an account that carries another uuid of ours is taken over, and the claim ends there", async () => {
  const at = await makeStage();
  const before = "0a000000-0000-4000-8000-00000000000a";
  at.realm.users.set(before, {
    id: "kc-0",
    enabled: true,
    adopted: false,
    wanted: { uuid: before, tenantID: "acme", email: "ada@example.com" } as never,
  });
  at.realm.fail("ensureUser", new WaitingError({ code: "EmailInUse", message: "Somebody has it." }));
  await at.claim();
  expect(at.stage.takenOver).toBe(before);
  expect(at.gateway.calls).toEqual([]);
});
