import { describe, expect, test } from "vitest";
import { FINALIZER } from "../../../../src/api/meta.ts";
import type { Tenant } from "../../../../src/api/tenant.ts";
import { TerminalError } from "../../../../src/lib/errors.ts";
import { wellness } from "../../../../src/saga/tenantReport.ts";
import { tenantSpecInput } from "../../../support/tenantSpec.ts";
import { down, settled, start, until } from "./platform.ts";

describe.concurrent("a Tenant with everything it needs", () => {
  test("becomes ready, for the sagas, in the mirror and for people", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, condition, cluster, store } = start(onTestFinished);
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

  test("says that a gateway deletes no accounts, where the Tenant asks for that, and is Ready all the same", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, readiness, condition } = start(onTestFinished);
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

  test("costs no write at all when nothing changes, with two replicas", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, cluster, store, keycloak } = start(onTestFinished);
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

  test("is asked about its namespace at once when something was refused there", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, cluster } = start(onTestFinished);
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

  test("says how many users it has soon after that changed, without a look at anybody else", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, cluster, store, readiness } = start(onTestFinished);
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

  test("says it once with two replicas, of which the other reads that one Tenant", async ({ onTestFinished }) => {
    const { onboard, replica, cluster, store, readiness } = start(onTestFinished);
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

  test("two replicas that find different things do not argue", async ({ onTestFinished }) => {
    const { onboard, replica, cluster, readiness, keycloak } = start(onTestFinished);
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

  test("puts back a status that somebody else has written, without a look at anybody else", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, cluster, readiness } = start(onTestFinished);
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

  test("keeps its clients, and so their tokens, until address or credential change", async ({ onTestFinished }) => {
    const { onboard, replica, cluster } = start(onTestFinished);
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

  test("makes rows look again once for each revision, and says so to those who wait", async ({ onTestFinished }) => {
    const { onboard, replica, cluster, store } = start(onTestFinished);
    onboard("acme");
    const tenants = replica();
    await until(() => expect(store.touches).toEqual(["acme *"]));
    cluster.applyTenant("acme", tenantSpecInput("acme", { namespaces: ["acme", "more"] }));
    cluster.createNamespace("more");
    await until(() => expect(store.touches).toEqual(["acme *", `acme ${tenants.get("acme")?.revision}`]));
    await until(() => expect(tenants.changes.at(-1)).toEqual({ tenantID: "acme", namespaces: ["acme", "more"] }));
    expect(tenants.byNamespace("more")?.tenantID).toBe("acme");
  });

  test("makes rows look again under a renewed credential, and all of them when it was refused until then", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, cluster, store, gateway } = start(onTestFinished);
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

  test("is asked at once when a call of it was refused, and says what was found", async ({ onTestFinished }) => {
    const { onboard, replica, gateway, readiness } = start(onTestFinished);
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

  test("takes over from a process before it: ready from the start, nothing touched but what lags behind", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, store, keycloak } = start(onTestFinished);
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
