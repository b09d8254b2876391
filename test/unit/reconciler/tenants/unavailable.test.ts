import { describe, expect, test } from "vitest";
import type { TenantSpecInput } from "../../../../src/api/tenant.ts";
import { TerminalError } from "../../../../src/lib/errors.ts";
import { tenantSpecInput } from "../../../support/tenantSpec.ts";
import { down, settled, start, until } from "./platform.ts";

describe.concurrent("what is missing is named", () => {
  test.for([
    ["KeycloakReady", "KeycloakCredentialsMissing", "acme-keycloak", {}, "client-id and client-secret"],
    ["KeycloakReady", "KeycloakCredentialsMissing", "acme-keycloak", { "client-id": "rbac" }, "has no client-secret"],
    ["NewAPIReady", "NewAPICredentialsMissing", "acme-newapi", { token: "" }, "has no token"],
  ] as const)("%s: %s", async ([type, reason, secret, data, said], { onTestFinished }) => {
    const { onboard, replica, readiness, condition, cluster } = start(onTestFinished);
    onboard("acme");
    cluster.applySecret("operator", secret, data);
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe(`False ${reason} Stalled`));
    expect(condition("acme", type)).toMatchObject({ status: "False", reason, message: expect.stringContaining(said) });
    expect(tenants.get("acme")).toMatchObject({ ready: false, notReadyMessage: expect.stringContaining(said) });
    cluster.applySecret("operator", secret, { "client-id": "rbac", "client-secret": "x", token: "t" });
    await until(() => expect(readiness("acme")).toBe("True Ready"));
  });

  test("a Secret that does not exist, and heals when it is created", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, condition, cluster } = start(onTestFinished);
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

  test("what the realm lacks blocks; what it advises does not", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, condition, keycloak, cluster } = start(onTestFinished);
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

  test("a refused credential, a missing right, a missing namespace", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, condition, gateway, cluster } = start(onTestFinished);
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

describe.concurrent("an upstream that does not answer", () => {
  test("shows on the Tenant, and flips nobody", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, condition, keycloak, store } = start(onTestFinished);
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

  test("keeps a Tenant that was never found ready from being ready", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, keycloak } = start(onTestFinished);
    onboard("acme");
    keycloak.error = down;
    const tenants = replica();
    await until(() => expect(readiness("acme")).toBe("False UpstreamUnavailable Reconciling"));
    expect(tenants.get("acme")).toMatchObject({
      ready: false,
      notReadyMessage: expect.stringContaining("does not answer"),
    });
  });

  test("holds back what it would have to be asked about, but not a stop", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, keycloak, cluster, store } = start(onTestFinished);
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

  test("is asked once a second, however many tenants are behind it, and by nobody but the probe at the end", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, keycloak, readiness } = start(onTestFinished);
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

describe.concurrent("Postgres that does not answer", () => {
  test("leaves everything as it is, and pays later", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, cluster, store } = start(onTestFinished);
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

  test("is stood in for by what the Tenants say was accepted", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, store } = start(onTestFinished);
    onboard("acme");
    replica();
    await until(() => expect(readiness("acme")).toBe("True Ready"));
    store.setDown(true);
    const fresh = replica();
    await until(() => expect(fresh.byNamespace("acme")?.ready).toBe(true));
  });
});

describe.concurrent("an API server that does not answer", () => {
  test("does not stop the loop", async ({ onTestFinished }) => {
    const { onboard, replica, cluster } = start(onTestFinished);
    onboard("acme");
    const tenants = replica();
    await until(() => expect(tenants.get("acme")?.ready).toBe(true));
    cluster.break("listTenants", down);
    await settled(400);
    const turned = tenants.lastProgress();
    await until(() => expect(tenants.lastProgress()).toBeGreaterThan(turned));
    expect(tenants.get("acme")?.ready).toBe(true);
  });
});

describe.concurrent("one Tenant's own trouble", () => {
  test("a spec that cannot be read stops nobody else: what was accepted of it stays in force, and it says so", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, readiness, condition, cluster } = start(onTestFinished);
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

  test("one whose client cannot be made, for a reason that nobody thought of, stops nobody else", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, readiness } = start(onTestFinished);
    for (const id of ["acme", "beta"]) onboard(id);
    const tenants = replica({ breaks: ({ realm }) => realm === tenantSpecInput("acme").keycloak.realm });
    await until(() => expect(readiness("beta")).toBe("True Ready"));
    expect(tenants.loaded()).toBe(true);
    expect(tenants.byNamespace("beta")).toMatchObject({ ready: true });
  });

  test("however many Tenants' upstreams hang, another one's check is not kept by them", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, keycloak } = start(onTestFinished);
    const at = (id: string): Partial<TenantSpecInput> => ({
      keycloak: { ...tenantSpecInput(id).keycloak, url: `https://${id}.example.com` },
    });
    const hanging = Array.from({ length: 20 }, (_, n) => `a-slow-${n}`);
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    keycloak.asked = ({ url }) => (url.includes("slow") ? over : undefined);
    for (const id of hanging) onboard(id, at(id));
    onboard("zoe", at("zoe"));
    replica({ patienceMs: 200 });
    onTestFinished(() => end());
    await until(() => expect(readiness("zoe")).toBe("True Ready"));
  });
});
