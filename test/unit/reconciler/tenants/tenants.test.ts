import { afterEach, describe, expect, test, vi } from "vitest";
import { FINALIZER } from "../../../../src/api/meta.ts";
import type { Tenant, TenantSpecInput } from "../../../../src/api/tenant.ts";
import type { Realm, RealmProblem } from "../../../../src/keycloak/realm.ts";
import { systemClock } from "../../../../src/lib/clock.ts";
import { TerminalError, TransientError } from "../../../../src/lib/errors.ts";
import type { LoopPart } from "../../../../src/lib/lifecycle.ts";
import { silentLog } from "../../../../src/lib/log.ts";
import type { GatewaySettings } from "../../../../src/gateway/dialect.ts";
import type { Gateway } from "../../../../src/gateway/gateway.ts";
import type { RealmSettings } from "../../../../src/reconciler/tenants/clients.ts";
import { type Breakers, makeBreakers } from "../../../../src/reconciler/breakers.ts";
import { makeTenantLoop } from "../../../../src/reconciler/tenants/loop.ts";
import { makeTenantRegistry } from "../../../../src/reconciler/tenants/registry.ts";
import { makeTenantRequests } from "../../../../src/reconciler/tenants/requests.ts";
import type { TenantChange } from "../../../../src/reconciler/tenants/status.ts";
import { type Checks, wellness } from "../../../../src/saga/tenantReport.ts";
import { makeFakeCluster } from "../../../support/fakeCluster.ts";
import { makeFakeTenantStore } from "../../../support/fakeTenantStore.ts";
import { tenantSpecInput } from "../../../support/tenantSpec.ts";

const down = new TransientError({ code: "UpstreamUnavailable", upstream: "keycloak", message: "no answer" });

/** A platform with one operator namespace; each replica is a set of loops over the same cluster and database. */
function makePlatform() {
  const cluster = makeFakeCluster();
  const store = makeFakeTenantStore();
  const keycloak: {
    problems: RealmProblem[];
    error: Error | undefined;
    asked: (of: RealmSettings) => unknown;
    identity: (of: RealmSettings) => string;
  } = {
    problems: [],
    error: undefined,
    asked: () => undefined,
    identity: ({ url, realm }) => `${url} ${realm}`,
  };
  const gateway: { error: Error | undefined } = { error: undefined };
  const loops: LoopPart[] = [];
  const opened: Breakers[] = [];

  function replica({
    sees = keycloak,
    breaks = () => false,
    ...given
  }: {
    recheckMs?: number;
    patienceMs?: number;
    sees?: typeof keycloak;
    breaks?: (of: RealmSettings) => boolean;
  } = {}) {
    const realms: RealmSettings[] = [];
    const gateways: GatewaySettings[] = [];
    const changes: TenantChange[] = [];
    const probes: number[] = [];
    const results: [string, Checks][] = [];
    const [clock, random] = [systemClock, () => 0.5];
    const registry = makeTenantRegistry({ clock, random });
    const requests = makeTenantRequests({ registry, clock, random, countMs: 20 });
    const breakers = makeBreakers({
      clock,
      random,
      probe: () => {
        probes.push(Date.now());
        return Promise.resolve(sees.error === undefined);
      },
      recovered: (origin) => requests.recheckBehind(origin),
    });
    opened.push(breakers);
    const makeRealm = (settings: RealmSettings) => {
      realms.push(settings);
      if (breaks(settings)) throw new TypeError("nobody thought of this");
      return {
        check: async () => {
          await sees.asked(settings);
          if (sees.error !== undefined) throw sees.error;
          return sees.problems;
        },
        identity: () => Promise.resolve(sees.identity(settings)),
      } as Partial<Realm> as Realm;
    };
    const makeGateway = (settings: GatewaySettings) => {
      gateways.push(settings);
      return {
        check: async () => {
          if (gateway.error !== undefined) throw gateway.error;
          return { problems: [], unknown: [] };
        },
      } as Partial<Gateway> as Gateway;
    };
    const loop = makeTenantLoop({
      cluster,
      registry,
      requests,
      factories: { makeRealm, makeGateway },
      breakers,
      store,
      openWatch: cluster.openWatch,
      operatorNamespace: "operator",
      changed: (change) => void changes.push(change),
      checked: (tenantID, found) => void results.push([tenantID, found]),
      clock,
      random,
      log: silentLog,
      recheckMs: 300,
      retryMs: 50,
      ...given,
    });
    void loop.start();
    loops.push(loop);
    return { ...registry, ...requests, ...loop, realms, gateways, changes, breakers, probes, results };
  }

  /** A Tenant with everything that it needs. */
  function onboard(id: string, changes: Partial<TenantSpecInput> = {}): void {
    cluster.createNamespace(id);
    cluster.applySecret("operator", `${id}-keycloak`, { "client-id": "rbac", "client-secret": "s3cret" });
    cluster.applySecret("operator", `${id}-newapi`, { token: "admin\n" });
    cluster.applyTenant(id, tenantSpecInput(id, changes));
  }

  function condition(name: string, type: string) {
    return cluster.tenant(name)?.status?.conditions?.find((each) => each.type === type);
  }

  /** Ready's status and reason, and what stands beside it. */
  function readiness(name: string): string {
    const ready = condition(name, "Ready");
    const beside = ["Reconciling", "Stalled"].filter((type) => condition(name, type)?.status === "True");
    return [ready?.status, ready?.reason, ...beside].join(" ");
  }

  async function end(): Promise<void> {
    for (const loop of loops) await loop.stop();
    for (const breakers of opened) breakers.stop();
  }

  return { cluster, store, keycloak, gateway, replica, onboard, condition, readiness, end };
}

let platform: ReturnType<typeof makePlatform> | undefined;
function start() {
  platform = makePlatform();
  return platform;
}
afterEach(() => platform?.end());

const until = (holds: () => void) => vi.waitFor(holds, { timeout: 20_000, interval: 10 });
const settled = (ms = 900) => new Promise((resolve) => void setTimeout(resolve, ms));

describe("a Tenant with everything it needs", () => {
  test("becomes ready, for the sagas, in the mirror and for people", async () => {
    const { onboard, replica, readiness, condition, cluster, store } = start();
    onboard("acme");
    const tenants = replica();
    expect(tenants.loaded()).toBe(false);
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    expect(tenants.loaded()).toBe(true);
    const access = tenants.byNamespace("acme");
    expect(access).toMatchObject({
      tenantID: "acme",
      name: "acme",
      ready: true,
      notReadyMessage: "",
      realmIsExclusive: true,
    });
    expect(tenants.get("acme")).toBe(access);
    expect(store.mirror("acme")).toMatchObject({
      ready: true,
      revision: access?.revision,
      namespaces: ["acme"],
      problems: [],
    });
    const status = cluster.tenant("acme")?.status;
    expect(status).toMatchObject({ observedGeneration: 1, accepted: access?.spec, users: { total: 0 } });
    for (const type of ["KeycloakReady", "NewAPIReady", "KubernetesReady", "EmailDomainsUnrestricted"]) {
      expect(condition("acme", type)?.status).toBe("True");
    }
    expect(cluster.tenant("acme")?.metadata.finalizers).toEqual([FINALIZER]);
    await until(() => expect(cluster.events).toMatchObject([{ type: "Normal", reason: "Ready" }]));
    expect(tenants.realms[0]?.clientSecret.reveal()).toBe("s3cret");
    // Without the line break that echo leaves behind.
    expect(tenants.gateways[0]?.credential["token"]?.reveal()).toBe("admin");
  });

  test("says that a gateway deletes no accounts, where the Tenant asks for that, and is Ready all the same", async () => {
    const { onboard, replica, readiness, condition } = start();
    const { newapi } = tenantSpecInput("acme");
    onboard("acme", { newapi: { ...newapi, deletion: "Delete" } });
    replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    expect(condition("acme", "NewAPIReady")).toMatchObject({
      status: "True",
      reason: "NotSupportedByGateway",
      message: expect.stringContaining("Dialect admin-v1 cannot delete accounts") as string,
    });
  });

  test("costs no write at all when nothing changes, with two replicas", async () => {
    const { onboard, replica, readiness, cluster, store, keycloak } = start();
    onboard("acme");
    replica();
    replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    await settled();
    const { resourceVersion } = cluster.tenant("acme")?.metadata ?? {};
    const [writes, touches] = [store.writes(), store.touches.length];
    let realms = 0;
    keycloak.asked = () => void (realms += 1);
    const namespaces = cluster.calls("missingSecretRights");
    await settled();
    expect(realms).toBeGreaterThan(0);
    // Our rights where they were well are not asked for at every turn.
    expect(cluster.calls("missingSecretRights")).toBe(namespaces);
    expect(cluster.tenant("acme")?.metadata.resourceVersion).toBe(resourceVersion);
    expect([store.writes(), store.touches.length]).toEqual([writes, touches]);
  });

  test("is asked about its namespace at once when something was refused there", async () => {
    const { onboard, replica, readiness, cluster } = start();
    onboard("acme");
    const tenants = replica({ recheckMs: 3_600_000 });
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    cluster.takeRights("acme", ["create secrets in acme"]);
    tenants.invalidateAccessCheck("elsewhere");
    await settled(300);
    expect(readiness("acme")).toBe("True Ready");
    tenants.invalidateAccessCheck("acme");
    await until(() => expect(readiness("acme")).toBe("False MissingPermission Stalled"));
    cluster.takeRights("acme", []);
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });

  test("says how many users it has soon after that changed, without a look at anybody else", async () => {
    const { onboard, replica, cluster, store, readiness } = start();
    onboard("acme");
    const tenants = replica({ recheckMs: 3_600_000 });
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    await settled();
    store.use("acme", { done: 2 }, ["acme"]);
    const before = { statuses: cluster.calls("applyTenantStatus"), lists: cluster.calls("listTenants") };
    for (let n = 0; n < 5; n += 1) tenants.countSoon("acme");
    await until(() => expect(cluster.tenant("acme")?.status?.users).toMatchObject({ total: 2, byState: { done: 2 } }));
    expect(cluster.calls("applyTenantStatus")).toBe(before.statuses + 1);
    tenants.countSoon("acme");
    tenants.countSoon("nobody");
    await settled(500);
    expect(cluster.calls("applyTenantStatus")).toBe(before.statuses + 1);
    expect(cluster.calls("listTenants")).toBe(before.lists);
  });

  test("says it once with two replicas, of which the other reads that one Tenant", async () => {
    const { onboard, replica, cluster, store, readiness } = start();
    onboard("acme");
    onboard("globex");
    const first = replica({ recheckMs: 3_600_000 });
    replica({ recheckMs: 3_600_000 });
    await until(() => expect([readiness("acme"), readiness("globex")]).toEqual(["True Ready", "True Ready"]));
    await settled();
    const methods = ["listTenants", "getTenant", "applyTenantStatus"] as const;
    const calls = () => methods.map((method) => cluster.calls(method));
    const [lists = 0, gets = 0, statuses = 0] = calls();
    store.use("acme", { done: 2 }, ["acme"]);
    first.countSoon("acme");
    await until(() => expect(cluster.tenant("acme")?.status?.users).toMatchObject({ total: 2 }));
    await settled();
    expect(calls()).toEqual([lists, gets + 1, statuses + 1]);
  });

  test("two replicas that find different things do not argue", async () => {
    const { onboard, replica, cluster, readiness, keycloak } = start();
    onboard("acme");
    const first = replica({ recheckMs: 3_600_000 });
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    await settled();
    const statuses = cluster.calls("applyTenantStatus");
    replica({ recheckMs: 3_600_000, sees: { ...keycloak, error: down } });
    await until(() => expect(readiness("acme")).toBe("False UpstreamUnavailable Reconciling"));
    await settled();
    first.countSoon("acme");
    await settled();
    expect(readiness("acme")).toBe("False UpstreamUnavailable Reconciling");
    expect(cluster.calls("applyTenantStatus")).toBeLessThan(statuses + 4);
    first.requestRecheck("acme");
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });

  test("puts back a status that somebody else has written, without a look at anybody else", async () => {
    const { onboard, replica, cluster, readiness } = start();
    onboard("acme");
    replica({ recheckMs: 3_600_000 });
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    await settled();
    const lists = cluster.calls("listTenants");
    const tenant = cluster.tenant("acme") as Tenant;
    await cluster.applyTenantStatus(tenant, { ...tenant.status, conditions: [] }, AbortSignal.timeout(5_000));
    expect(readiness("acme")).not.toContain("True Ready");
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    expect(cluster.calls("listTenants")).toBe(lists);
  });

  test("keeps its clients, and so their tokens, until address or credential change", async () => {
    const { onboard, replica, cluster } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(tenants.get("acme")?.ready).toBe(true));
    const [before, realm] = [tenants.get("acme")?.revision, tenants.get("acme")?.realm];
    cluster.applyTenant("acme", tenantSpecInput("acme", { limits: { maxUsers: 5 } }));
    await until(() => expect(tenants.get("acme")?.spec.limits?.maxUsers).toBe(5));
    expect(tenants.get("acme")?.realm).toBe(realm);
    expect(tenants.get("acme")?.revision).not.toBe(before);
    cluster.applySecret("operator", "acme-keycloak", { "client-id": "rbac", "client-secret": "renewed" });
    await until(() => expect(tenants.get("acme")?.realm).not.toBe(realm));
    expect(tenants.realms.map((each) => each.clientSecret.reveal())).toEqual(["s3cret", "renewed"]);
    expect(tenants.gateways).toHaveLength(1);
  });

  test("makes rows look again once for each revision, and says so to those who wait", async () => {
    const { onboard, replica, cluster, store } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(store.touches).toEqual(["acme *"]));
    cluster.applyTenant("acme", tenantSpecInput("acme", { namespaces: ["acme", "more"] }));
    cluster.createNamespace("more");
    await until(() => expect(store.touches).toEqual(["acme *", `acme ${tenants.get("acme")?.revision}`]));
    await until(() => expect(tenants.changes.at(-1)).toEqual({ tenantID: "acme", namespaces: ["acme", "more"] }));
    expect(tenants.byNamespace("more")?.tenantID).toBe("acme");
  });

  test("makes rows look again under a renewed credential, and all of them when it was refused until then", async () => {
    const { onboard, replica, cluster, store, gateway } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(store.touches).toEqual(["acme *"]));
    const renew = (token: string) => cluster.applySecret("operator", "acme-newapi", { token });
    renew("second");
    await until(() => expect(store.touches.at(-1)).toBe(`acme ${tenants.get("acme")?.revision}`));
    expect(store.touches).toHaveLength(2);
    gateway.error = new TerminalError({ code: "CredentialsRefused", message: "The gateway refuses our token." });
    renew("wrong");
    await until(() => expect(tenants.get("acme")?.ready).toBe(false));
    gateway.error = undefined;
    renew("third");
    await until(() => expect(store.touches.slice(2)).toEqual(["acme *"]));
  });

  test("is asked at once when a call of it was refused, and says what was found", async () => {
    const { onboard, replica, gateway, readiness } = start();
    onboard("acme");
    const tenants = replica({ recheckMs: 3_600_000 });
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    const found = () => tenants.results.map(([tenantID, results]) => [tenantID, wellness(results.newapi)]);
    gateway.error = new TerminalError({ code: "CredentialsRefused", message: "The gateway refuses our token." });
    tenants.requestRecheck("acme");
    await until(() => expect(readiness("acme")).toBe("False CredentialsRefused Stalled"));
    await until(() => expect(found()).toContainEqual(["acme", false]));
    gateway.error = undefined;
    await until(() => expect(found().at(-1)).toEqual(["acme", true]));
  });

  test("takes over from a process before it: ready from the start, nothing touched but what lags behind", async () => {
    const { onboard, replica, store, keycloak } = start();
    onboard("acme");
    const first = replica();
    await until(() => expect(store.mirror("acme")?.ready).toBe(true));
    keycloak.error = down;
    const second = replica();
    await until(() => expect(second.loaded()).toBe(true));
    expect(second.get("acme")?.ready).toBe(true);
    expect(second.get("acme")?.revision).toBe(first.get("acme")?.revision);
    await until(() => expect(store.touches).toEqual(["acme *", `acme ${second.get("acme")?.revision}`]));
  });
});

describe("what is missing is named", () => {
  test.each([
    ["KeycloakReady", "KeycloakCredentialsMissing", "acme-keycloak", {}, "client-id and client-secret"],
    ["KeycloakReady", "KeycloakCredentialsMissing", "acme-keycloak", { "client-id": "rbac" }, "has no client-secret"],
    ["NewAPIReady", "NewAPICredentialsMissing", "acme-newapi", { token: "" }, "has no token"],
  ])("%s: %s", async (type, reason, secret, data, said) => {
    const { onboard, replica, readiness, condition, cluster } = start();
    onboard("acme");
    cluster.applySecret("operator", secret, data);
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe(`False ${reason} Stalled`));
    expect(condition("acme", type)).toMatchObject({ status: "False", reason, message: expect.stringContaining(said) });
    expect(tenants.get("acme")).toMatchObject({ ready: false, notReadyMessage: expect.stringContaining(said) });
    cluster.applySecret("operator", secret, { "client-id": "rbac", "client-secret": "x", token: "t" });
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });

  test("a Secret that does not exist, and heals when it is created", async () => {
    const { onboard, replica, readiness, condition, cluster } = start();
    onboard("acme");
    cluster.removeSecret("operator", "acme-newapi");
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("False NewAPICredentialsMissing Stalled"));
    expect(condition("acme", "NewAPIReady")?.message).toBe(
      'Secret "acme-newapi" in namespace "operator" does not exist; create it with token.',
    );
    expect(tenants.get("acme")?.gateway).toBeUndefined();
    cluster.applySecret("operator", "acme-newapi", { token: "t" });
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });

  test("what the realm lacks blocks; what it advises does not", async () => {
    const { onboard, replica, readiness, condition, keycloak, cluster } = start();
    onboard("acme");
    keycloak.problems = [
      { reason: "MissingGroup", message: "Group /sme-users does not exist; create it.", blocking: true },
      { reason: "NoLoginPath", message: "Nobody can log in for the first time.", blocking: false },
    ];
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("False MissingGroup Stalled"));
    expect(tenants.get("acme")?.ready).toBe(false);
    keycloak.problems = keycloak.problems.slice(1);
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    expect(condition("acme", "NoLoginPath")).toMatchObject({ status: "True", reason: "NoLoginPath" });
    expect(tenants.get("acme")?.ready).toBe(true);
    // The Event follows the status.
    const events = () => cluster.events.map((event) => `${event.type} ${event.reason}`);
    await until(() => expect(events()).toEqual(["Warning MissingGroup", "Normal Ready"]));
  });

  test("a refused credential, a missing right, a missing namespace", async () => {
    const { onboard, replica, readiness, condition, gateway, cluster } = start();
    onboard("acme", { namespaces: ["acme", "nowhere"] });
    gateway.error = new TerminalError({
      code: "GatewayUnauthorized",
      message: "The gateway refuses our token; renew it.",
    });
    cluster.takeRights("acme", ["create secrets in acme"]);
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("False GatewayUnauthorized Stalled"));
    expect(condition("acme", "KubernetesReady")).toMatchObject({ status: "False", reason: "MissingPermission" });
    expect(condition("acme", "KubernetesReady")?.message).toContain("create secrets in acme");
    expect(condition("acme", "KubernetesReady")?.message).toContain('"nowhere" does not exist');
    gateway.error = undefined;
    cluster.takeRights("acme", []);
    await until(() => expect(readiness("acme")).toBe("False NamespaceNotFound Stalled"));
    // Nobody can be committed there, so nobody else has to wait.
    expect(tenants.get("acme")?.ready).toBe(true);
  });
});

describe("an upstream that does not answer", () => {
  test("shows on the Tenant, and flips nobody", async () => {
    const { onboard, replica, readiness, condition, keycloak, store } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    keycloak.error = down;
    await until(() => expect(readiness("acme")).toBe("False UpstreamUnavailable Reconciling"));
    expect(condition("acme", "KeycloakReady")?.message).toContain("https://keycloak.example.com does not answer");
    expect(tenants.get("acme")?.ready).toBe(true);
    expect(store.mirror("acme")?.ready).toBe(true);
    keycloak.error = undefined;
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    expect(store.touches).toEqual(["acme *"]);
  });

  test("keeps a Tenant that was never found ready from being ready", async () => {
    const { onboard, replica, readiness, keycloak } = start();
    onboard("acme");
    keycloak.error = down;
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("False UpstreamUnavailable Reconciling"));
    expect(tenants.get("acme")).toMatchObject({
      ready: false,
      notReadyMessage: expect.stringContaining("does not answer"),
    });
  });

  test("holds back what it would have to be asked about, but not a stop", async () => {
    const { onboard, replica, readiness, keycloak, cluster, store } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    keycloak.error = down;
    const revision = tenants.get("acme")?.revision;
    const wider = { allow: { groups: ["/admins"] }, suspend: true };
    cluster.applyTenant("acme", tenantSpecInput("acme", wider));
    await until(() => expect(tenants.get("acme")?.spec.suspend).toBe(true));
    await settled(300);
    expect(tenants.get("acme")).toMatchObject({ ready: true, revision, spec: { allow: { groups: [] } } });
    expect(store.mirror("acme")?.accepted.allow.groups).toEqual(["/admins"]);
    keycloak.error = undefined;
    keycloak.problems = [{ reason: "PrivilegedGrant", message: "/admins makes administrators.", blocking: true }];
    await until(() =>
      expect(tenants.get("acme")).toMatchObject({ ready: false, spec: { allow: { groups: ["/admins"] } } }),
    );
  });

  test("is asked once a second, however many tenants are behind it, and by nobody but the probe at the end", async () => {
    const { onboard, replica, keycloak, readiness } = start();
    const asked: number[] = [];
    let answers = false;
    Object.defineProperty(keycloak, "error", { get: () => (answers ? undefined : down) });
    Object.defineProperty(keycloak, "asked", { value: () => void asked.push(Date.now()) });
    for (let index = 0; index < 200; index += 1) onboard(`t${index}`);
    const { breakers, probes } = replica({ recheckMs: 600_000 });
    await until(() => expect(breakers.open()).toEqual(["https://keycloak.example.com"]));
    expect(asked).toHaveLength(5);
    await until(() => expect(probes.length).toBeGreaterThan(2));
    expect(asked).toHaveLength(5);
    // The first probe comes with the fifth call, and confirms what it found.
    const calls = [...asked, ...probes.slice(1)];
    const pauses = calls.slice(1).map((at, index) => at - (calls[index] ?? 0));
    expect(Math.min(...pauses)).toBeGreaterThan(950);
    answers = true;
    await until(() => expect(asked).toHaveLength(205));
    await until(() => expect(readiness("t199")).toBe("True Ready"));
  });
});

describe("Postgres that does not answer", () => {
  test("leaves everything as it is, and pays later", async () => {
    const { onboard, replica, readiness, cluster, store } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    store.setDown(true);
    cluster.applyTenant("acme", tenantSpecInput("acme", { suspend: true }));
    onboard("late");
    await until(() => expect(readiness("late")).toBe("False UpstreamUnavailable Reconciling"));
    expect(tenants.get("late")).toBeUndefined();
    expect(tenants.get("acme")?.spec.suspend).toBe(false);
    store.setDown(false);
    await until(() => expect(readiness("late")).toBe("True Ready"));
    await until(() => expect(tenants.get("acme")?.spec.suspend).toBe(true));
    await until(() => expect(store.touches).toContain(`acme ${tenants.get("acme")?.revision}`));
  });

  test("is stood in for by what the Tenants say was accepted", async () => {
    const { onboard, replica, readiness, store } = start();
    onboard("acme");
    replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    store.setDown(true);
    const fresh = replica();
    await until(() => expect(fresh.byNamespace("acme")?.ready).toBe(true));
  });
});

describe("a change that is not possible now", () => {
  test("is not taken over while there are users, and sagas continue with the accepted spec", async () => {
    const { onboard, replica, readiness, cluster, store } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    store.use("acme", { done: 2 }, ["acme"]);
    const other = { keycloak: { ...tenantSpecInput("acme").keycloak, realm: "other" } };
    cluster.applyTenant("acme", tenantSpecInput("acme", other));
    await until(() => expect(readiness("acme")).toBe("False ChangeRefused Stalled"));
    expect(cluster.tenant("acme")?.status).toMatchObject({
      observedGeneration: 2,
      accepted: { keycloak: { realm: "acme" } },
      users: { total: 2, byState: { done: 2 } },
    });
    expect(tenants.get("acme")).toMatchObject({ ready: true, spec: { keycloak: { realm: "acme" } } });
    cluster.applyTenant("acme", tenantSpecInput("acme"));
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });

  test("is taken over by every replica as soon as the last of its people is gone", async () => {
    const { onboard, replica, readiness, cluster, store } = start();
    onboard("acme");
    const replicas = [replica({ recheckMs: 3_600_000 }), replica({ recheckMs: 3_600_000 })];
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    store.use("acme", { done: 1 }, ["acme"]);
    const other = { keycloak: { ...tenantSpecInput("acme").keycloak, realm: "other" } };
    cluster.applyTenant("acme", tenantSpecInput("acme", other));
    await until(() => expect(readiness("acme")).toBe("False ChangeRefused Stalled"));
    await settled();
    const lists = cluster.calls("listTenants");
    replicas[0]?.reloadAfterRelease("acme");
    await until(() => expect(cluster.calls("listTenants")).toBeGreaterThan(lists));
    expect(readiness("acme")).toBe("False ChangeRefused Stalled");
    store.use("acme", {}, []);
    replicas[0]?.reloadAfterRelease("acme");
    await until(() =>
      expect(replicas.map((each) => each.get("acme")?.spec.keycloak.realm)).toEqual(["other", "other"]),
    );
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });

  test("a namespace of another Tenant stays that one's, and moves when it is released", async () => {
    const { onboard, replica, readiness, cluster, store } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    onboard("globex", { namespaces: ["globex", "acme"] });
    await until(() => expect(readiness("globex")).toBe("False ClaimRefused Stalled"));
    expect(tenants.byNamespace("acme")?.tenantID).toBe("acme");
    await until(() => expect(tenants.get("globex")).toMatchObject({ ready: true, spec: { namespaces: ["globex"] } }));
    cluster.applyTenant("acme", tenantSpecInput("acme", { namespaces: [] }));
    await until(() => expect(readiness("globex")).toBe("True Ready"));
    expect(tenants.byNamespace("acme")?.tenantID).toBe("globex");
    expect(store.mirror("globex")?.namespaces).toEqual(["acme", "globex"]);
    expect(store.mirror("acme")?.namespaces).toEqual([]);
  });

  test("two Tenants in one realm are both told that it is not theirs alone", async () => {
    const { onboard, replica } = start();
    const keycloak = { url: "https://keycloak.example.com", realm: "shared" };
    const own = (id: string) => ({
      keycloak: { ...keycloak, credentialsSecretName: `${id}-keycloak` },
      allow: { emailDomains: [`${id}.example`] },
    });
    onboard("acme", own("acme"));
    const tenants = replica();
    await until(() => expect(tenants.get("acme")?.realmIsExclusive).toBe(true));
    onboard("globex", own("globex"));
    await until(() => expect(tenants.get("acme")?.realmIsExclusive).toBe(false));
    expect(tenants.get("globex")?.realmIsExclusive).toBe(false);
  });
});

describe("a realm that another Tenant names by another address", () => {
  const at = (id: string, url: string, emailDomains: string[] = []): Partial<TenantSpecInput> => ({
    keycloak: { url, realm: "staff", credentialsSecretName: `${id}-keycloak` },
    allow: { emailDomains },
  });

  test("is refused to the second, who gets it when the first has gone", async () => {
    const { onboard, replica, readiness, condition, cluster, keycloak } = start();
    keycloak.identity = () => "realm-1";
    onboard("acme", at("acme", "https://keycloak.example.com"));
    const tenants = replica();
    replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    onboard("globex", at("globex", "http://sso.example.com:8080/auth"));
    await until(() => expect(readiness("globex")).toBe("False ClaimRefused Stalled"));
    expect(condition("globex", "Ready")?.message).toContain('realm of Tenant "acme"');
    await settled();
    expect(tenants.get("globex")?.ready).toBe(false);
    expect(tenants.get("acme")).toMatchObject({ ready: true, realmIsExclusive: true });
    expect(readiness("acme")).toBe("True Ready");
    cluster.deleteTenant("acme");
    await until(() => expect(readiness("globex")).toBe("True Ready"));
  });

  test("is shared where the domains are disjoint, and then adopts for the first alone", async () => {
    const { onboard, replica, readiness, keycloak, cluster } = start();
    keycloak.identity = () => "realm-1";
    onboard("acme", at("acme", "https://keycloak.example.com", ["acme.example"]));
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    onboard("globex", at("globex", "https://sso.example.com", ["globex.example"]));
    await until(() => expect(readiness("globex")).toBe("True Ready"));
    expect(tenants.get("globex")?.realmIsExclusive).toBe(false);
    // Another process knows it before it has asked anybody.
    const later = replica();
    await later.firstLoaded;
    expect(later.get("globex")?.realmIsExclusive).toBe(false);
    // The first one's claim was about its own domains: it gets no more of them.
    cluster.applyTenant("acme", tenantSpecInput("acme", at("acme", "https://keycloak.example.com")));
    await until(() => expect(readiness("acme")).toBe("False ClaimRefused Stalled"));
    await settled();
    expect(readiness("globex")).toBe("True Ready");
  });

  test("stays that of whoever was accepted, whatever another Keycloak says to be later", async () => {
    const { onboard, replica, readiness, keycloak } = start();
    const says = new Map([["https://liar.example.com", "realm-2"]]);
    keycloak.identity = ({ url }) => says.get(url) ?? "realm-1";
    onboard("liar", at("liar", "https://liar.example.com"));
    onboard("acme", at("acme", "https://keycloak.example.com"));
    const tenants = replica();
    await until(() => expect([readiness("liar"), readiness("acme")]).toEqual(["True Ready", "True Ready"]));
    says.set("https://liar.example.com", "realm-1");
    await until(() => expect(readiness("liar")).toBe("False ClaimRefused Stalled"));
    await settled();
    expect(readiness("acme")).toBe("True Ready");
    expect(tenants.get("acme")).toMatchObject({ ready: true, realmIsExclusive: true });
  });

  test("is not worked in while nobody can tell whose it is", async () => {
    const { onboard, replica, readiness, store, keycloak } = start();
    keycloak.identity = () => {
      store.setDown(true);
      return "realm-1";
    };
    onboard("acme", at("acme", "https://keycloak.example.com"));
    const tenants = replica();
    await until(() => expect(readiness("acme")).toContain("UpstreamUnavailable"));
    expect(tenants.get("acme")?.ready).toBe(false);
    keycloak.identity = () => "realm-1";
    store.setDown(false);
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });
});

describe("a Tenant that is deleted", () => {
  test("with users stays until the last of them is undone", async () => {
    const { onboard, replica, readiness, condition, cluster, store } = start();
    onboard("acme");
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    store.use("acme", { done: 1, deleting: 1 }, ["acme"]);
    cluster.deleteTenant("acme");
    await until(() => expect(readiness("acme")).toBe("False TenantInUse Stalled"));
    expect(condition("acme", "Ready")?.message).toContain("1 deleting, 1 done");
    expect(tenants.get("acme")).toMatchObject({
      ready: false,
      notReadyMessage: expect.stringContaining("being deleted"),
    });
    expect(tenants.get("acme")?.realm).toBeDefined();
    store.use("acme", { deleting: 2 }, ["acme"]);
    await until(() => expect(readiness("acme")).toBe("False TenantInUse Reconciling"));
    store.use("acme", {}, []);
    await until(() => expect(cluster.tenant("acme")).toBeUndefined());
    await until(() => expect(tenants.get("acme")).toBeUndefined());
    await until(() => expect(store.mirror("acme")).toBeUndefined());
    expect(tenants.changes.at(-1)).toEqual({ tenantID: "acme", namespaces: ["acme"] });
  });

  test("and comes back under the same name with another id", async () => {
    const { onboard, replica, readiness, cluster, store } = start();
    onboard("acme");
    replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    cluster.deleteTenant("acme");
    await until(() => expect(cluster.tenant("acme")).toBeUndefined());
    cluster.applyTenant("acme", { ...tenantSpecInput("acme"), tenantID: "acme-2" });
    await until(() =>
      expect(store.mirror("acme-2")).toMatchObject({ name: "acme", ready: true, namespaces: ["acme"] }),
    );
    expect(store.mirror("acme")).toBeUndefined();
  });
});

test("the loop turns while the API server does not answer", async () => {
  const { onboard, replica, cluster } = start();
  onboard("acme");
  const tenants = replica();
  await until(() => expect(tenants.get("acme")?.ready).toBe(true));
  cluster.break("listTenants", down);
  await settled(400);
  const turned = tenants.lastProgress();
  await until(() => expect(tenants.lastProgress()).toBeGreaterThan(turned));
  expect(tenants.get("acme")?.ready).toBe(true);
});

describe("one Tenant's own trouble", () => {
  test("a spec that cannot be read stops nobody else: what was accepted of it stays in force, and it says so", async () => {
    const { onboard, replica, readiness, condition, cluster } = start();
    onboard("acme");
    onboard("beta");
    const before = replica();
    await until(() => expect([readiness("acme"), readiness("beta")]).toEqual(["True Ready", "True Ready"]));
    const odd = { ...tenantSpecInput("acme"), namespaces: ["acme", 7] } as unknown as TenantSpecInput;
    cluster.applyUnreadableTenant("acme", odd);
    onboard("gamma");
    // One that has known it, and one that begins now and has the mirror alone.
    const after = replica();
    await until(() => expect(readiness("gamma")).toBe("True Ready"));
    await until(() => expect(readiness("acme")).toBe("False InvalidSpec Stalled"));
    expect(condition("acme", "Ready")?.message).toContain("namespaces.1");
    for (const tenants of [before, after]) {
      await until(() => expect(tenants.byNamespace("acme")).toMatchObject({ tenantID: "acme", ready: true }));
      expect(tenants.byNamespace("beta")).toMatchObject({ ready: true });
    }
    cluster.applyTenant("acme", tenantSpecInput("acme"));
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });

  test("one whose client cannot be made, for a reason that nobody thought of, stops nobody else", async () => {
    const { onboard, replica, readiness } = start();
    for (const id of ["acme", "beta"]) onboard(id);
    const tenants = replica({ breaks: ({ realm }) => realm === tenantSpecInput("acme").keycloak.realm });
    await until(() => expect(readiness("beta")).toBe("True Ready"));
    expect(tenants.loaded()).toBe(true);
    expect(tenants.byNamespace("beta")).toMatchObject({ ready: true });
  });

  test("however many Tenants' upstreams hang, another one's check is not kept by them", async () => {
    const { onboard, replica, readiness, keycloak } = start();
    const at = (id: string): Partial<TenantSpecInput> => ({
      keycloak: { ...tenantSpecInput(id).keycloak, url: `https://${id}.example.com` },
    });
    const hanging = Array.from({ length: 20 }, (_, n) => `a-slow-${n}`);
    keycloak.asked = ({ url }) => (url.includes("slow") ? settled(15_000) : undefined);
    for (const id of hanging) onboard(id, at(id));
    onboard("zoe", at("zoe"));
    replica({ patienceMs: 200 });
    await vi.waitFor(() => expect(readiness("zoe")).toBe("True Ready"), { timeout: 6_000, interval: 20 });
  });
});
