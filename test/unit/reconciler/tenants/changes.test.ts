import { describe, expect, test } from "vitest";
import type { TenantSpecInput } from "../../../../src/api/tenant.ts";
import { tenantSpecInput } from "../../../support/tenantSpec.ts";
import { settled, start, until } from "./platform.ts";

describe.concurrent("a change that is not possible now", () => {
  test("is not taken over while there are users, and sagas continue with the accepted spec", async ({
    onTestFinished,
  }) => {
    const { onboard, replica, readiness, cluster, store } = start(onTestFinished);
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

  test("is taken over by every replica as soon as the last of its people is gone", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, cluster, store } = start(onTestFinished);
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

  test("a namespace of another Tenant stays that one's, and moves when it is released", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, cluster, store } = start(onTestFinished);
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

  test("two Tenants in one realm are both told that it is not theirs alone", async ({ onTestFinished }) => {
    const { onboard, replica } = start(onTestFinished);
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

describe.concurrent("a realm that another Tenant names by another address", () => {
  const at = (id: string, url: string, emailDomains: string[] = []): Partial<TenantSpecInput> => ({
    keycloak: { url, realm: "staff", credentialsSecretName: `${id}-keycloak` },
    allow: { emailDomains },
  });

  test("is refused to the second, who gets it when the first has gone", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, condition, cluster, keycloak } = start(onTestFinished);
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

  test("is shared where the domains are disjoint, and then adopts for the first alone", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, keycloak, cluster } = start(onTestFinished);
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

  test("stays that of whoever was accepted, whatever another Keycloak says to be later", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, keycloak } = start(onTestFinished);
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

  test("is not worked in while nobody can tell whose it is", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, store, keycloak } = start(onTestFinished);
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

describe.concurrent("a Tenant that is deleted", () => {
  test("with users stays until the last of them is undone", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, condition, cluster, store } = start(onTestFinished);
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

  test("and comes back under the same name with another id", async ({ onTestFinished }) => {
    const { onboard, replica, readiness, cluster, store } = start(onTestFinished);
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
