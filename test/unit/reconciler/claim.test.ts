import { afterEach, describe, expect, test } from "vitest";
import { FINALIZER, type ObjectMeta } from "../../../src/api/meta.ts";
import type { TenantSpecInput } from "../../../src/api/tenant.ts";
import type { LiveTenantUser, TenantUserSpecInput } from "../../../src/api/tenantUser.ts";
import type { UserEvent } from "../../../src/api/userEvent.ts";
import { TerminalError, TransientError, WaitingError } from "../../../src/lib/errors.ts";
import { type Log, type LogFields, silentLog } from "../../../src/lib/log.ts";
import { noTracer, type Tracer } from "../../../src/lib/tracing.ts";
import type { TenantAccess } from "../../../src/reconciler/access.ts";
import { makeBreakers } from "../../../src/reconciler/breakers.ts";
import { type ClaimDeps, type ClaimResult, processClaim } from "../../../src/reconciler/claim.ts";
import { makeOriginLimits } from "../../../src/reconciler/originLimits.ts";
import { makeFailureCounts } from "../../../src/lib/backoff.ts";
import { makeTenantBreakers } from "../../../src/reconciler/tenantBreakers.ts";
import { AddressHeld, NotAsked } from "../../../src/keycloak/realm.ts";
import { desire } from "../../../src/saga/desired.ts";
import type { Milestone } from "../../../src/saga/milestone.ts";
import { patched, type SagaRow } from "../../../src/saga/row.ts";
import { newapiStep } from "../../../src/steps/newapi.ts";
import { secretStep } from "../../../src/steps/secret.ts";
import type { AuditEntry } from "../../../src/store/audit.ts";
import type { PendingUser } from "../../../src/store/waiting.ts";
import type { Recording } from "../../../src/store/claims.ts";
import { desiredUser, keycloakStep } from "../../../src/steps/keycloak.ts";
import { ADA, doneRow, NOW, sagaRow, seconds, tenant, tenantUser } from "../../support/builders.ts";
import { type FakeCluster, makeFakeCluster } from "../../support/fakeCluster.ts";
import { makeFakeGateway, makeFakeRealm } from "../../support/fakeUpstreams.ts";
import { collectSpans } from "../../support/spans.ts";

const OWNER = 7;
const NAME = `newapi-key-${ADA}`;
const down = () =>
  new TransientError({
    code: "UpstreamUnavailable",
    upstream: "keycloak",
    upstreamStatus: 503,
    message: "Keycloak answered 503.",
  });

const unanswered = () => new TransientError({ code: "UpstreamUnavailable", message: "No answer." });

/** One saga with everything around it in memory. */
async function makeStage(
  options: {
    metadata?: Partial<ObjectMeta>;
    spec?: Partial<TenantUserSpecInput>;
    tenant?: Partial<TenantSpecInput>;
    row?: Partial<SagaRow>;
    tracer?: Tracer;
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
    /** Undefined: the lease was released. */
    owner: OWNER as number | undefined,
    access: undefined as TenantAccess | undefined,
    otherTenants: [] as TenantAccess[],
    pendingUsers: [] as PendingUser[],
    handedTo: undefined as PendingUser | undefined,
    takenOver: undefined as string | undefined,
    others: new Map<string, SagaRow>(),
    forgotten: [] as string[],
    released: 0,
    rechecked: [] as string[],
    invalidated: [] as string[],
    counted: [] as string[],
    reached: [] as Milestone[],
    recordings: [] as Recording[],
    audit: [] as AuditEntry[],
    events: [] as UserEvent[],
    lines: [] as (LogFields & { readonly message: string })[],
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
    requestRecheck: (tenantID) => void stage.rechecked.push(tenantID),
    recovered: () => undefined,
  });
  opened.push(() => {
    breakers.stop();
    tenantBreakers.stop();
  });
  const logWith = (shared: LogFields): Log => {
    const line = (message: string, fields?: LogFields): void =>
      void stage.lines.push({ message, ...shared, ...fields });
    return { ...silentLog, info: line, warn: line, with: (more) => logWith({ ...shared, ...more }) };
  };
  const registry = () => [...(stage.access === undefined ? [] : [stage.access]), ...stage.otherTenants];
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
      return Promise.resolve(stage.row);
    },
    keepAudit: (entries) => void stage.audit.push(...entries),
    moveEmail: (row, email) => {
      stage.row = { ...stage.row, email };
      return Promise.resolve({ kind: "bound", row: { ...row, email }, returned: false });
    },
    firstPendingUser: () => Promise.resolve(stage.pendingUsers[0]),
    forgetPendingUser: (uid) => {
      stage.forgotten.push(uid);
      stage.pendingUsers = stage.pendingUsers.filter((each) => each.uid !== uid);
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
    sagaOf: (uuid) => Promise.resolve(stage.others.get(uuid)),
    counted: (tenantID) => void stage.counted.push(tenantID),
    invalidateAccessCheck: (namespace) => void stage.invalidated.push(namespace),
    released: () => void (stage.released += 1),
    originLimits: makeOriginLimits({ clock }),
    pauses: makeFailureCounts(() => 0),
    observe: () => undefined,
    reached: (milestone) => void stage.reached.push(milestone),
    clock,
    random: () => 0,
    tracer: options.tracer ?? noTracer,
    log: logWith({}),
  };
  return {
    ...stage,
    stage,
    tenantBreakers,
    breakers,
    /** One claim, from its taking to its end. */
    async claim(): Promise<ClaimResult> {
      stage.row = { ...stage.row, version: stage.row.version + 1 };
      stage.owner = OWNER;
      return processClaim(deps, { owner: OWNER, row: stage.row }, stage.stop.signal);
    },
    live: (): LiveTenantUser | undefined => cluster.user("tenant-a", "ada"),
    condition: (type: string) =>
      cluster.user("tenant-a", "ada")?.status?.conditions?.find((each) => each.type === type),
    edit: (changes: Partial<TenantUserSpecInput>) =>
      cluster.applyUser("tenant-a", "ada", { email: "ada@example.com", ...options.spec, ...changes }),
    now: () => clock.now(),
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

describe("an invitation that Keycloak refuses", () => {
  const answered = (status: number) =>
    new TransientError({
      code: "UpstreamUnavailable",
      upstreamStatus: status,
      message: `Keycloak answered ${status}.`,
    });
  const refused = () =>
    new TerminalError({ code: "RequestRefused", upstreamStatus: 400, message: "Keycloak refused it: no such action." });
  const invited = { spec: { invitation: "Email" as const } };

  test("for its mail server's sake holds nobody up, and is sent again by itself until it is taken", async () => {
    const at = await makeStage(invited);
    at.realm.fail("invite", answered(500));
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ status: "True", reason: "Ready" });
    expect(at.condition("InvitationSent")).toMatchObject({ status: "False", reason: "InvitationRefused" });
    expect(at.condition("InvitationSent")?.message).toContain("Keycloak answered 500.");
    expect(at.stage.row).toMatchObject({ state: "done", retryCount: 0, dueAt: seconds(30) });
    at.later(31);
    at.realm.fail("invite", answered(503));
    await at.claim();
    expect(at.stage.row.dueAt).toEqual(seconds(31 + 60));
    expect(at.condition("Ready")).toMatchObject({ status: "True", reason: "Ready" });
    at.later(61);
    await at.claim();
    expect(at.realm.mails).toHaveLength(1);
    expect(at.condition("InvitationSent")).toMatchObject({ status: "True", reason: "InvitationSent" });
    expect(at.stage.row).toMatchObject({ dueAt: undefined, refusedInvitation: undefined });
    at.later(3600);
    await at.claim();
    expect(at.realm.mails).toHaveLength(1);
    expect(at.stage.audit.filter(({ action }) => action === "invited")).toHaveLength(1);
  });

  test("for what it asks is sent as soon as that is corrected", async () => {
    const at = await makeStage({ spec: { invitation: "Email", requiredActions: ["NO_SUCH"] } });
    at.realm.fail("invite", refused());
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ status: "True" });
    expect(at.stage.row.dueAt).toEqual(seconds(600));
    at.edit({ invitation: "Email", requiredActions: ["UPDATE_PASSWORD"] });
    await at.claim();
    expect(at.realm.mails).toHaveLength(1);
  });

  test("is not even asked of it for one who is locked out; that one is mailed when let in", async () => {
    const at = await makeStage({ spec: { invitation: "Email", enabled: false } });
    await at.claim();
    expect(at.realm.calls).not.toContain("invite");
    expect(at.condition("InvitationSent")).toMatchObject({ status: "False", reason: "Disabled" });
    at.edit({ invitation: "Email", enabled: true });
    await at.claim();
    expect(at.realm.mails).toHaveLength(1);
  });

  test.each([
    ["nobody answered", unanswered()],
    ["somebody in between gave up on", answered(504)],
  ])("counts as sent where %s", async (_what, error) => {
    const at = await makeStage(invited);
    at.realm.fail("invite", error, "after");
    await at.claim();
    at.later(20);
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ status: "True" });
    expect(at.realm.calls.filter((call) => call === "invite")).toHaveLength(1);
  });

  test("does not count as sent where it did not come to the call", async () => {
    const at = await makeStage(invited);
    at.realm.fail("invite", new NotAsked(unanswered()) as never);
    await at.claim();
    expect(at.realm.mails).toEqual([]);
    at.later(20);
    await at.claim();
    expect(at.realm.mails).toHaveLength(1);
  });

  test("by its credential is the tenant's trouble, and sent when that is over", async () => {
    const at = await makeStage(invited);
    at.realm.fail("invite", new TerminalError({ code: "CredentialsRefused", upstreamStatus: 403, message: "No." }));
    await at.claim();
    expect(at.condition("Stalled")).toMatchObject({ reason: "CredentialsRefused" });
    at.stage.access = { ...(at.stage.access as TenantAccess), revision: "r2" };
    await at.claim();
    expect(at.realm.mails).toHaveLength(1);
  });
});

describe("an address that another person's account has", () => {
  const holder = { tenantID: "acme", uuid: "0a000000-0000-5000-8000-00000000000a", userID: "kc-9" };
  const held = () => new AddressHeld({ code: "EmailInUse", message: "Somebody has it." }, holder);
  const theirs = (given: Partial<SagaRow> = {}) =>
    doneRow({ uuid: holder.uuid, email: "mallory@example.com", keycloakUserID: "kc-9", ...given });
  /** Their account, with Ada's address in it. */
  const squatting = () => ({
    id: "kc-9",
    enabled: true,
    adopted: false,
    verified: false,
    wanted: { ...desiredUser(theirs(), desire(tenantUser().build(), tenant())), email: "ada@example.com" },
  });

  test.each([
    ["living", {}],
    ["retained", { state: "retained" as const, objectUID: undefined }],
    ["orphaned", { state: "orphaned" as const }],
  ])(
    "and whose row (%s) has another: that one gets its own back, and this person waits no longer",
    async (_what, given) => {
      const at = await makeStage();
      at.stage.others.set(holder.uuid, theirs(given));
      at.realm.users.set(holder.uuid, squatting());
      at.realm.fail("ensureUser", held());
      await at.claim();
      expect(at.stage.takenOver).toBeUndefined();
      expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "EmailInUse" });
      expect(at.condition("Stalled")).toBeUndefined();
      expect(at.realm.users.get(holder.uuid)?.wanted.email).toBe("mallory@example.com");
      expect(at.stage.audit).toContainEqual(
        expect.objectContaining({ uuid: holder.uuid, action: "email-restored", target: "kc-9" }),
      );
      at.later(20);
      await at.claim();
      expect(at.condition("Ready")).toMatchObject({ status: "True" });
    },
  );

  test.each([
    ["speaks for it", true],
    ["does not", false],
  ])("gets its own back as verified only where its tenant %s", async (_what, realmIsExclusive) => {
    const at = await makeStage();
    at.stage.access = { ...(at.stage.access as TenantAccess), realmIsExclusive };
    at.stage.others.set(holder.uuid, theirs({}));
    at.realm.users.set(holder.uuid, squatting());
    at.realm.fail("ensureUser", held());
    await at.claim();
    expect(at.realm.users.get(holder.uuid)).toMatchObject({ wanted: { email: "mallory@example.com" } });
    expect(at.realm.users.get(holder.uuid)?.verified).toBe(realmIsExclusive);
  });

  test.each([
    ["is not known here", undefined],
    ["was never confirmed", { confirmed: false }],
    ["has not found it", { keycloakUserID: undefined }],
    ["has another account", { keycloakUserID: "kc-8" }],
  ])("and whose row %s: it loses the address, and is given none", async (_what, given) => {
    const at = await makeStage();
    if (given !== undefined) at.stage.others.set(holder.uuid, theirs(given));
    at.realm.users.set(holder.uuid, squatting());
    at.realm.fail("ensureUser", held());
    await at.claim();
    expect(at.realm.calls).not.toContain("restoreEmail");
    expect(at.realm.users.get(holder.uuid)?.wanted.email).toBe("");
    expect(at.stage.audit).toContainEqual(
      expect.objectContaining({ uuid: holder.uuid, action: "email-taken", target: "kc-9" }),
    );
    at.later(20);
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ status: "True" });
  });

  test("that is another tenant's and not known here: nothing is written", async () => {
    const at = await makeStage();
    const theirHolder = { ...holder, tenantID: "umbrella" };
    at.realm.fail("ensureUser", new AddressHeld({ code: "EmailInUse", message: "Somebody has it." }, theirHolder));
    await at.claim();
    expect(at.realm.calls).not.toContain("restoreEmail");
    expect(at.realm.calls).not.toContain("takeAddress");
  });

  test.each([
    ["has that very address", { email: "ada@example.com" }],
    ["is another tenant's than the marks say", { tenantID: "umbrella" }],
  ])("and whose row %s: nothing is written", async (_what, given) => {
    const at = await makeStage();
    if (given !== undefined) at.stage.others.set(holder.uuid, theirs(given));
    at.realm.fail("ensureUser", held());
    await at.claim();
    expect(at.realm.calls).not.toContain("restoreEmail");
    expect(at.realm.calls).not.toContain("takeAddress");
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "EmailInUse" });
  });

  test.each([
    [
      "of its own",
      { keycloak: { url: "https://kc.umbrella.example", realm: "umbrella", credentialsSecretName: "kc" } },
      0,
    ],
    ["that both share", {}, 1],
  ])("and who is said to be another tenant's, in a realm %s", async (_realm, theirTenant, times) => {
    const at = await makeStage();
    at.stage.otherTenants.push({
      ...(at.stage.access as TenantAccess),
      tenantID: "umbrella",
      name: "umbrella",
      spec: tenant({ tenantID: "umbrella", namespaces: ["tenant-u"], ...theirTenant }),
    });
    at.stage.others.set(holder.uuid, theirs({ tenantID: "umbrella" }));
    at.realm.fail(
      "ensureUser",
      new AddressHeld({ code: "EmailInUse", message: "Somebody has it." }, { ...holder, tenantID: "umbrella" }),
    );
    await at.claim();
    expect(at.realm.calls.filter((call) => call === "restoreEmail")).toHaveLength(times);
  });
});

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
    at.cluster.break("addFinalizer", new TransientError({ code: "UpstreamUnavailable", message: "x" }));
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

describe("the log", () => {
  test("has one line per outcome, and none when there is nothing to do", async () => {
    const at = await makeStage();
    at.gateway.fail("ensure", down());
    await at.claim();
    const who = { saga: ADA, namespace: "tenant-a", name: "ada", generation: 1 };
    expect(at.stage.lines).toMatchObject([{ ...who, outcome: "transient", step: "newapi", attempt: 1 }]);
    at.later(1);
    await at.claim();
    await at.claim();
    expect(at.stage.lines.slice(1)).toMatchObject([{ ...who, outcome: "ready" }]);
    at.cluster.deleteUser("tenant-a", "ada");
    await at.claim();
    expect(at.stage.lines.slice(2)).toMatchObject([{ saga: ADA, outcome: "deleted" }]);
    for (const { message } of at.stage.lines) expect(message).toMatch(/^[a-z][^A-Z]*[^.]$/);
  });

  test("says when a status cannot be written, beside the outcome", async () => {
    const at = await makeStage();
    at.cluster.break("applyTenantUserStatus", down());
    await at.claim();
    expect(at.stage.lines.map(({ outcome }) => outcome)).toEqual(["status-failed", "ready"]);
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

  test("by an upstream is the same, under its step", async () => {
    const at = await makeStage();
    at.realm.fail(
      "ensureUser",
      new TerminalError({ code: "UserClaimed", upstream: "keycloak", message: "Somebody has it." }),
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
    expect(at.stage.invalidated).toEqual([]);
  });

  test("of a Secret that a finalizer of others holds waits, and does not stall", async () => {
    const at = await makeStage();
    at.cluster.applySecret("tenant-a", NAME, { mine: "x" });
    at.cluster.editSecret("tenant-a", NAME, {
      metadata: {
        labels: { "catalyst.openova.io/sme-tenant": "acme", "catalyst.openova.io/sme-user-uuid": ADA },
        finalizers: ["theirs/hold"],
      },
    });
    at.cluster.removeSecret("tenant-a", NAME);
    await at.claim();
    expect(at.condition("Stalled")).toBeUndefined();
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "SecretTerminating" });
    expect(at.condition("Ready")?.message).toContain("theirs/hold");
    expect(at.condition("Reconciling")).toMatchObject({ status: "True", reason: "SecretTerminating" });
    at.cluster.editSecret("tenant-a", NAME, { metadata: { finalizers: [] } });
    at.later(4);
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ status: "True" });
  });

  test("by a quota of the namespace waits, ever longer, and resumes by itself", async () => {
    const at = await makeStage();
    const refused = new WaitingError({
      code: "SecretRefused",
      upstream: "kubernetes",
      upstreamStatus: 403,
      message: "exceeded quota",
    });
    at.cluster.admitSecrets(() => {
      throw refused;
    });
    const pauses: number[] = [];
    for (let attempt = 1; attempt <= 40; attempt += 1) {
      await at.claim();
      const pause = ((at.stage.row.dueAt?.getTime() ?? 0) - at.stage.clock.now()) / 1000;
      pauses.push(pause);
      at.later(pause);
    }
    expect(at.condition("Stalled")).toBeUndefined();
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "SecretRefused" });
    expect(at.condition("SecretReady")?.status).not.toBe("True");
    expect(pauses[0]).toBeLessThanOrEqual(4);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(150);
    expect(pauses.at(-1)).toBeGreaterThanOrEqual(120);
    expect(pauses.reduce((sum, each) => sum + each)).toBeGreaterThan(600);
    at.cluster.admitSecrets(undefined);
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ status: "True" });
  });

  test("by the API server for want of rights has them asked for, in the Secret's namespace", async () => {
    const at = await makeStage();
    const refused = {
      code: "MissingPermission",
      upstream: "kubernetes",
      upstreamStatus: 403,
      message: "No.",
    } as const;
    at.cluster.break("createSecret", new TerminalError(refused));
    await at.claim();
    expect(at.condition("Stalled")).toMatchObject({ reason: "MissingPermission" });
    expect(at.stage.invalidated).toEqual(["tenant-a"]);
  });

  test.each([
    new TerminalError({
      code: "MissingPermission",
      upstream: "kubernetes",
      upstreamStatus: 403,
      message: "Apply the Role.",
    }),
    new TransientError({ code: "NamespaceTerminating", upstream: "kubernetes", upstreamStatus: 403, message: "403" }),
  ])("in a namespace that goes tells nobody to apply the Role there ($code)", async (refused) => {
    const at = await makeStage();
    at.cluster.setNamespaceActive("tenant-a", false);
    at.cluster.break("createSecret", refused);
    await at.claim();
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "NamespaceTerminating" });
    expect(at.condition("Reconciling")).toMatchObject({ status: "True" });
    expect(at.condition("Stalled")).toBeUndefined();
    expect(JSON.stringify(at.cluster.events)).not.toContain("Role");
    expect(at.stage.invalidated).toEqual([]);
  });
});

describe("a failure that passes", () => {
  test("is tried again later, said as Reconciling, and continues where it was", async () => {
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
    expect(at.condition("Ready")).toMatchObject({ status: "False", reason: "UpstreamUnavailable" });
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

  test("of the status alone that does not pass is tried more and more rarely", async () => {
    const at = await makeStage();
    const refused = { code: "RequestRefused", upstream: "kubernetes", upstreamStatus: 422, message: "No." } as const;
    at.cluster.break("applyTenantUserStatus", new TerminalError(refused));
    const pauses: number[] = [];
    for (let n = 0; n < 12; n += 1) {
      const before = at.now();
      await at.claim();
      pauses.push((at.stage.row.dueAt?.getTime() ?? 0) - before);
      at.later(600);
    }
    expect(pauses.map((ms) => ms / 1000)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    at.cluster.break("applyTenantUserStatus", undefined);
    await at.claim();
    expect(at.condition("Ready")?.status).toBe("True");
    expect(at.stage.row.dueAt).toBeUndefined();
  });

  test("of one object that cannot be read is tried more and more rarely", async () => {
    const at = await makeStage();
    at.cluster.break("getTenantUser", new TerminalError({ code: "InvalidSpec", message: "It does not fit." }));
    const pauses: number[] = [];
    for (let n = 0; n < 4; n += 1) {
      const before = at.now();
      await at.claim();
      pauses.push((at.stage.row.dueAt?.getTime() ?? 0) - before);
      at.later(600);
    }
    expect(pauses.map((ms) => ms / 1000)).toEqual([1, 2, 4, 8]);
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

describe("what an upstream's failure says of others", () => {
  const failure = (upstreamStatus?: number) =>
    new TransientError({ code: "UpstreamUnavailable", upstream: "keycloak", upstreamStatus, message: "No." });
  const ORIGIN = new URL(tenant().keycloak.url).origin;

  async function failing(error: Error): Promise<Stage> {
    const at = await makeStage();
    for (let n = 0; n < 12; n += 1) {
      at.realm.fail("ensureUser", error);
      await at.claim();
      at.later(600);
    }
    return at;
  }

  test.each([
    ["a mail that cannot be sent (500)", failure(500)],
    ["a database that takes no NUL (500)", failure(500)],
    ["an answer that is not its own (200)", failure(200)],
    ["a user that it lost (404)", failure(404)],
    ["501", failure(501)],
    ["505", failure(505)],
    ["an error that nobody expected", new Error("a bug of ours")],
    [
      "the API server's silence",
      new TransientError({ code: "UpstreamUnavailable", upstream: "kubernetes", message: "Away." }),
    ],
  ])("nothing, when it is %s: the breakers stay closed, and the person pauses alone", async (_name, error) => {
    const at = await failing(error);
    expect(at.breakers.ask(ORIGIN)).toBeUndefined();
    expect(at.tenantBreakers.ask("acme", "keycloak")).toBeUndefined();
    expect(at.stage.row).toMatchObject({ state: "failed", retryCount: 12 });
  });

  test.each([
    ["no answer", failure()],
    ["a 429", failure(429)],
    ["a 502", failure(502)],
    ["a 503", failure(503)],
    ["a 504", failure(504)],
  ])("that nobody is there, when it is %s and a probe is not answered either", async (_name, error) => {
    const at = await failing(error);
    expect(at.breakers.ask(ORIGIN)).toBeDefined();
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
  const refused = (upstream: "keycloak" | "newapi" = "keycloak") =>
    new TerminalError({ code: "CredentialsRefused", upstream, upstreamStatus: 401, message: "Refused (401)." });

  async function open(at: Stage, upstream: "keycloak" | "newapi" = "keycloak"): Promise<void> {
    for (let n = 0; n < 5; n += 1) at.tenantBreakers.recordAuthFailure("acme", upstream);
  }

  test("stalls its own, asks for the Tenant's check, and resumes under another credential", async () => {
    const at = await makeStage();
    at.realm.fail("ensureUser", refused());
    await at.claim();
    expect(at.condition("Stalled")).toMatchObject({ reason: "CredentialsRefused" });
    expect(at.stage.rechecked).toEqual(["acme"]);
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
    at.tenantBreakers.recordCheck("acme", "keycloak", false);
    at.tenantBreakers.recordCheck("acme", "keycloak", true);
    await at.claim();
    expect(at.condition("Ready")?.status).toBe("True");
  });

  test("at one upstream, or of another tenant, holds back nobody else", async () => {
    const at = await makeStage();
    await open(at, "newapi");
    for (let n = 0; n < 5; n += 1) at.tenantBreakers.recordAuthFailure("other", "keycloak");
    await at.claim();
    expect(at.stage.row).toMatchObject({ state: "kc_created", reached: "kc_created" });
  });

  test("counts as let in, when the upstream refuses the request and not the credential", async () => {
    const at = await makeStage();
    for (let n = 0; n < 4; n += 1) at.tenantBreakers.recordAuthFailure("acme", "keycloak");
    at.realm.fail(
      "ensureUser",
      new TerminalError({ code: "RequestRefused", upstream: "keycloak", upstreamStatus: 400, message: "No." }),
    );
    await at.claim();
    at.tenantBreakers.recordAuthFailure("acme", "keycloak");
    expect(at.tenantBreakers.open()).toEqual([]);
  });

  test("holds a deletion ten minutes; the rest is a cleanup, which is done when it is let in again", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    for (let n = 0; n < 5; n += 1) {
      at.realm.fail("deleteUser", refused());
      await at.claim();
      at.later(60);
    }
    expect(at.tenantBreakers.open()).toMatchObject([{ upstream: "keycloak", why: "refuses" }]);
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
    at.tenantBreakers.recordCheck("acme", "keycloak", true);
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

  test("continues where it was cut", async () => {
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

  test("is released after ten minutes, with the rest as a cleanup that is done later", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    at.gateway.fail("disable", down());
    await at.claim();
    at.later(600);
    at.gateway.fail("disable", down());
    await at.claim();
    expect(at.live()).toBeUndefined();
    expect(at.cluster.events.at(-1)).toMatchObject({
      reason: "CleanupPending",
      note: expect.stringContaining("newapi, keycloak"),
    });
    expect(at.stage.row).toMatchObject({ state: "deleting", deleting: { released: true, undone: ["secret"] } });
    expect(at.stage.released).toBe(1);
    at.later(600);
    await at.claim();
    expect(at.stage.row.state).toBe("deleted");
    expect(at.realm.users.size).toBe(0);
  });

  test("with grace locks, releases, and purges when it is over", async () => {
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

  test("with a Retain that is not allowed locks all three, and keeps them for 30 days", async () => {
    const at = await done();
    at.edit({ deletionPolicy: "Retain" });
    await at.claim();
    expect(at.condition("Stalled")).toMatchObject({ status: "True", reason: "NotAllowed" });
    at.cluster.deleteUser("tenant-a", "ada");
    await at.claim();
    expect(at.live()).toBeUndefined();
    expect(at.stage.row).toMatchObject({ state: "deleting", deletionPolicy: "Delete", deleting: { released: true } });
    expect(at.cluster.secret("tenant-a", NAME)).toBeUndefined();
    expect([...at.realm.users.values()]).toMatchObject([{ enabled: false }]);
    expect([...at.gateway.accounts.values()]).toMatchObject([{ disabled: true }]);
    at.later(30 * 86_400 - 60);
    await at.claim();
    expect(at.realm.users.size).toBe(1);
    at.later(120);
    await at.claim();
    expect(at.stage.row.state).toBe("deleted");
    expect(at.realm.users.size).toBe(0);
  });

  test("with Retain keeps all three, by the last word of the object", async () => {
    const at = await done({ tenant: { allow: { retain: true } } });
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

  test.each(["terminating", "gone"] as const)("by a CRD that is %s undoes nothing and releases", async (state) => {
    const at = await done();
    at.cluster.setCRD(state);
    at.cluster.deleteUser("tenant-a", "ada");
    const calls = outsideCalls(at);
    await at.claim();
    expect(outsideCalls(at)).toBe(calls);
    expect(at.live()).toBeUndefined();
    expect(at.stage.row).toMatchObject({ state: "orphaned", keycloakUserID: "kc-1" });
  });

  test("whose cluster was lost on the way undoes no more: the row is an orphan, and those who wait are told", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    at.gateway.fail("disable", down());
    await at.claim();
    expect(at.stage.row).toMatchObject({ state: "deleting", deleting: { released: false, undone: ["secret"] } });
    at.cluster.loseUser("tenant-a", "ada");
    at.stage.row = { ...at.stage.row, clusterID: "another" };
    at.later(60);
    const calls = outsideCalls(at);
    await at.claim();
    expect(outsideCalls(at)).toBe(calls);
    expect(at.stage.row).toMatchObject({ state: "orphaned", dueAt: undefined, deleting: { undone: ["secret"] } });
    expect(at.stage.released).toBe(1);
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
    const successor = at.cluster.applyUser("tenant-a", "ada-new", { email: "ada@example.com", ...spec });
    const { uid, name } = successor.metadata;
    at.stage.pendingUsers = [{ uid, name, namespace: "tenant-a", createdAt: NOW }];
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

  test("not to one that is gone: it is forgotten, and the deletion continues", async () => {
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

  test("what it had done outside is found and fixed by the next claim", async () => {
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

describe("a claim that is traced", () => {
  const requestUID = "7b1f2c3d-0000-4000-8000-0000000000aa";
  const trace = "0af7651916cd43dd8448eb211c80319c";
  const cause = { requestUID, traceparent: `00-${trace}-b7ad6b7169203331-01` };

  test("continues the trace of the request: the claim, each step, the status, the Event", async () => {
    const { tracer, all } = collectSpans();
    const at = await makeStage({ row: { cause }, tracer });
    await at.claim();
    const spans = await all();
    const claim = spans.at(-1);
    expect(claim).toMatchObject({
      name: "reconcile",
      trace,
      parent: "b7ad6b7169203331",
      attributes: {
        "unified_rbac.user.uuid": ADA,
        "unified_rbac.tenant.id": "acme",
        "k8s.namespace.name": "tenant-a",
        "unified_rbac.object.name": "ada",
        "unified_rbac.request.uid": requestUID,
      },
    });
    expect(spans.slice(0, -1)).toMatchObject(
      ["keycloak up", "newapi up", "secret up", "write status", "record event"].map((name) => ({
        name,
        trace,
        parent: claim?.id,
      })),
    );
    const told = at.stage.recordings.map(({ traceparent }) => traceparent);
    expect(new Set(told)).toEqual(new Set([`00-${trace}-${claim?.id}-01`]));
    expect(at.stage.lines).toMatchObject([
      { message: "provisioned everything that the object asks for", traceID: trace, requestUID },
    ]);
    expect(at.stage.row.cause).toBeUndefined();
  });

  test("after one that was cut off in the middle, and after one that failed, stays in the same trace", async () => {
    const { tracer, all } = collectSpans();
    const at = await makeStage({ row: { cause }, tracer });
    at.stage.beforeRecord = ({ patch }) => {
      if (patch.state === "kc_created") throw new Error("the process is gone");
    };
    await expect(at.claim()).rejects.toThrow("gone");
    at.stage.beforeRecord = undefined;
    at.gateway.fail("ensure", down());
    await at.claim();
    at.later(60);
    await at.claim();
    expect(at.stage.row).toMatchObject({ state: "done", cause: undefined });
    const spans = await all();
    expect(new Set(spans.map((span) => span.trace))).toEqual(new Set([trace]));
    expect(spans.filter(({ name }) => name === "reconcile")).toHaveLength(3);
    expect(spans.filter(({ name }) => name === "newapi up").map(({ failed }) => failed)).toEqual([true, false]);
  });

  test("what comes later of itself is a trace of its own", async () => {
    const { tracer, all } = collectSpans();
    const at = await makeStage({ row: { cause }, tracer });
    await at.claim();
    at.cluster.deleteUser("tenant-a", "ada");
    await at.claim();
    const claims = (await all()).filter(({ name }) => name === "reconcile");
    expect(claims.map((span) => span.trace === trace)).toEqual([true, false]);
    expect(claims[1]?.parent).toBeUndefined();
    expect(at.stage.row.cause).toBeUndefined();
  });

  test("names the request in its lines also where nothing is traced", async () => {
    const at = await makeStage({ row: { cause: { requestUID } } });
    await at.claim();
    expect(at.stage.lines).toMatchObject([{ requestUID, traceID: undefined }]);
  });
});

describe("for metrics, a claim", () => {
  test("tells how it ended, and that somebody is Ready for the first time, once", async () => {
    const at = await makeStage();
    at.realm.fail(
      "ensureUser",
      new TransientError({ code: "UpstreamUnavailable", upstream: "keycloak", message: "no" }),
    );
    expect(await at.claim()).toBe("error");
    at.later(60);
    expect(await at.claim()).toBe("success");
    expect(at.reached).toMatchObject([{ kind: "ready" }]);
    expect(await at.claim()).toBe("success");
    expect(at.reached).toHaveLength(1);
  });

  test("is due again, and no error, where it waits", async () => {
    const at = await makeStage();
    const waiting = new WaitingError({
      code: "GatewayLimited",
      upstream: "newapi",
      message: "wait",
      retryAfterMs: 5000,
    });
    at.gateway.fail("ensure", waiting);
    expect(await at.claim()).toBe("requeue");
  });

  test("is lost when another worker has the row", async () => {
    const at = await makeStage();
    at.stage.beforeRecord = () => void (at.stage.owner = OWNER + 1);
    expect(await at.claim()).toBe("lost");
  });

  test("tells of who is removed", async () => {
    const at = await done();
    at.cluster.deleteUser("tenant-a", "ada");
    await at.claim();
    expect(at.live()).toBeUndefined();
    expect(at.reached.at(-1)).toMatchObject({ kind: "removed" });
  });
});
