import { describe, expect, test } from "vitest";
import { tenantStatus, type TenantStatus } from "../../../src/api/tenant.ts";
import {
  type Checks,
  type Finding,
  sameTenantStatus,
  type TenantReported,
  tenantReport,
} from "../../../src/saga/tenantReport.ts";
import { tenantSpecOf } from "../../support/tenantSpec.ts";

const now = new Date("2026-03-01T12:00:00.123Z");
const later = new Date("2026-03-01T13:00:00Z");
const well = { kind: "checked", findings: [] } as const;
const allWell: Checks = { keycloak: well, newapi: well, kubernetes: well };

function wrong(effect: Finding["effect"], reason: string, message: string) {
  return { kind: "checked", findings: [{ effect, reason, message }] } as const;
}

function reported(given: Partial<TenantReported> = {}): TenantReported {
  return {
    generation: 3,
    deleting: false,
    acceptance: { accepted: tenantSpecOf("acme", { allow: { emailDomains: ["acme.example"] } }), refusals: [] },
    checks: allWell,
    users: { total: 0, byState: {} },
    previous: undefined,
    ...given,
  };
}

function words(status: TenantStatus): string[] {
  return (status.conditions ?? []).map(({ type, status: is, reason }) => `${type} ${is} ${reason}`);
}

describe("a Tenant's status", () => {
  test("is Ready when all three upstreams are as needed, and fits its own schema", () => {
    const status = tenantReport(reported(), now);
    expect(words(status)).toEqual([
      "Ready True Ready",
      "KeycloakReady True Ready",
      "NewAPIReady True Ready",
      "KubernetesReady True Ready",
    ]);
    expect(tenantStatus.parse(status)).toEqual(status);
    expect(status.conditions?.[0]).toMatchObject({ observedGeneration: 3, lastTransitionTime: "2026-03-01T12:00:00Z" });
  });

  test("says what its gateway's dialect cannot do, and is Ready all the same", () => {
    const newapi = wrong("advises", "NotSupportedByGateway", "Dialect x cannot delete accounts.");
    const status = tenantReport(reported({ checks: { ...allWell, newapi } }), now);
    expect(words(status)).toContain("NewAPIReady True NotSupportedByGateway");
    expect(words(status)).toContain("Ready True Ready");
  });

  test("names the worst first, and says everything that is wrong", () => {
    const kubernetes = wrong("shows", "NamespaceNotFound", "No namespace x.");
    const newapi = wrong("blocks", "GatewayUnauthorized", "Token refused.");
    const status = tenantReport(reported({ checks: { ...allWell, kubernetes, newapi } }), now);
    expect(words(status)).toEqual([
      "Ready False GatewayUnauthorized",
      "Stalled True GatewayUnauthorized",
      "KeycloakReady True Ready",
      "NewAPIReady False GatewayUnauthorized",
      "KubernetesReady False NamespaceNotFound",
    ]);
    expect(status.conditions?.[0]?.message).toBe("Token refused. No namespace x.");
  });

  test("is under way, never stalled, while an upstream is silent or was not asked", () => {
    const keycloak = { kind: "unreachable", message: "Keycloak does not answer." } as const;
    const silent = tenantReport(reported({ checks: { ...allWell, keycloak } }), now);
    expect(words(silent).slice(0, 2)).toEqual([
      "Ready False UpstreamUnavailable",
      "Reconciling True ProgressingWithRetry",
    ]);
    const unasked = tenantReport(reported({ checks: undefined }), now);
    expect(words(unasked).slice(0, 2)).toEqual(["Ready False Progressing", "Reconciling True Progressing"]);
  });

  test("gives warnings as conditions that hold, and leaves them out otherwise", () => {
    const acceptance = { accepted: tenantSpecOf("acme", { suspend: true }), refusals: [] };
    const keycloak = wrong("advises", "NoLoginPath", "No way in.");
    const status = tenantReport(reported({ acceptance, checks: { ...allWell, keycloak } }), now);
    expect(words(status)).toEqual([
      "Ready True Ready",
      "Suspended True Suspended",
      "KeycloakReady True Ready",
      "NewAPIReady True Ready",
      "KubernetesReady True Ready",
      "EmailDomainsUnrestricted True EmailDomainsUnrestricted",
      "NoLoginPath True NoLoginPath",
    ]);
    const unknown = { kind: "unreachable", message: "Silent." } as const;
    const next = tenantReport(
      reported({ acceptance, checks: { ...allWell, keycloak: unknown }, previous: status }),
      later,
    );
    expect(words(next)).toContain("NoLoginPath True NoLoginPath");
    expect(words(tenantReport(reported({ previous: status }), later))).not.toContain("NoLoginPath True NoLoginPath");
  });

  test("advice that could not be judged this time stays as it was", () => {
    const said = "GatewayLimited True GatewayLimited";
    const limited = tenantReport(
      reported({ checks: { ...allWell, newapi: wrong("advises", "GatewayLimited", "It is slow.") } }),
      now,
    );
    expect(words(limited)).toEqual(expect.arrayContaining(["Ready True Ready", "NewAPIReady True Ready", said]));
    const newapi = { kind: "checked", findings: [], unknown: ["GatewayLimited"] } as const;
    const next = (previous: typeof limited | undefined) =>
      words(tenantReport(reported({ checks: { ...allWell, newapi }, previous }), later));
    expect(next(limited)).toContain(said);
    expect(next(undefined)).not.toContain(said);
    expect(words(tenantReport(reported({ checks: allWell, previous: limited }), later))).not.toContain(said);
  });

  test("shows a refusal before anything else, with what was accepted still checked", () => {
    const { accepted } = reported().acceptance;
    const refusals = [{ reason: "ChangeRefused", message: "No." } as const];
    const status = tenantReport(reported({ acceptance: { accepted, refusals } }), now);
    expect(words(status).slice(0, 3)).toEqual([
      "Ready False ChangeRefused",
      "Stalled True ChangeRefused",
      "KeycloakReady True Ready",
    ]);
    expect(status.accepted).toEqual(accepted);
  });
});

describe("writing it", () => {
  test("is needed only when something but a time differs", () => {
    const first = tenantReport(reported(), now);
    const second = tenantReport(reported({ previous: first }), later);
    expect(second).toEqual(first);
    expect(sameTenantStatus(first, tenantReport(reported(), later))).toBe(true);
    expect(sameTenantStatus(undefined, first)).toBe(false);
    expect(sameTenantStatus(first, tenantReport(reported({ generation: 4 }), now))).toBe(false);
  });

  test("can leave out that only the counts differ", () => {
    const first = tenantReport(reported(), now);
    const second = tenantReport(reported({ users: { total: 1, byState: { done: 1 } } }), now);
    expect(sameTenantStatus(first, second)).toBe(false);
    expect(sameTenantStatus(first, second, { butUsers: true })).toBe(true);
    expect(tenantReport(reported({ users: undefined, previous: second }), now).users).toEqual(second.users);
  });

  test("leaves out the states of nobody: the API server refuses an empty map over a full one", () => {
    expect(tenantReport(reported({ users: { total: 0, byState: {} } }), now).users).toEqual({ total: 0 });
  });

  test("moves the transition time with the status of the condition, not with its words", () => {
    const blocked = (message: string) => ({ ...allWell, newapi: wrong("blocks", "GatewayUnauthorized", message) });
    const first = tenantReport(reported(), now);
    const second = tenantReport(reported({ checks: blocked("a"), previous: first }), later);
    expect(second.conditions?.[0]?.lastTransitionTime).toBe("2026-03-01T13:00:00Z");
    const third = tenantReport(reported({ checks: blocked("b"), previous: second }), new Date("2026-03-02T00:00:00Z"));
    expect(third.conditions?.[0]).toMatchObject({ message: "b", lastTransitionTime: "2026-03-01T13:00:00Z" });
  });

  test("does not fight another replica over what a silence looked like", () => {
    const silent = (message: string): Checks => ({ ...allWell, keycloak: { kind: "unreachable", message } });
    const first = tenantReport(reported({ checks: silent("as seen from here") }), now);
    const second = tenantReport(reported({ checks: silent("as seen from there"), previous: first }), later);
    expect(sameTenantStatus(first, second)).toBe(true);
  });
});
