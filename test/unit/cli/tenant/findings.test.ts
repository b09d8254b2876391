import { describe, expect, it } from "vitest";

import { REASON } from "../../../../src/api/reasons.ts";
import { liveTenant, type LiveTenant } from "../../../../src/api/tenant.ts";
import { printable } from "../../../../src/cli/printable.ts";
import { asText } from "../../../../src/cli/tenant/checkText.ts";
import { compose, type Finding, problem } from "../../../../src/cli/tenant/findings.ts";
import { ofKustomization, ofRepository } from "../../../../src/cli/tenant/lookAtFlux.ts";
import { mendingOf } from "../../../../src/cli/tenant/mending.ts";
import { tenantSpecInput, tenantSpecOf } from "../../../support/tenantSpec.ts";

type Said = readonly [type: string, status: "True" | "False" | "Unknown", reason: string, message?: string];

const WELL: readonly Said[] = [
  ["Ready", "True", "Ready"],
  ["KeycloakReady", "True", "Ready"],
  ["NewAPIReady", "True", "Ready"],
  ["KubernetesReady", "True", "Ready"],
];

function tenant(said: readonly Said[], generation = 1): LiveTenant {
  const conditions = said.map(([type, status, reason, message = `${type} says ${reason}.`]) => ({
    type,
    status,
    reason,
    message,
    observedGeneration: 1,
    lastTransitionTime: "2026-01-01T00:00:00Z",
  }));
  return liveTenant.parse({
    apiVersion: "catalyst.openova.io/v1alpha1",
    kind: "Tenant",
    metadata: { name: "acme", uid: "u", resourceVersion: "1", generation, creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: tenantSpecInput("acme"),
    status: { observedGeneration: 1, conditions },
  });
}

const spec = tenantSpecOf("acme");
const missingGroup = problem("acme", spec, "Keycloak", {
  reason: REASON.MissingGroup,
  message: "The default group /staff does not exist.",
  blocking: true,
  subject: { kind: "group", name: "/staff" },
});
const unreachable: Finding = { area: "Keycloak", level: "unknown", message: "Asked from here: no answer.", mend: [] };

describe("what is known of a tenant", () => {
  it("is nothing missing where all is well", () => {
    const report = compose(tenant(WELL), { Keycloak: [], Gateway: [], Namespaces: [], Flux: [] });
    expect(report.findings).toEqual([]);
    expect(asText(report)).toContain("Tenant acme: Ready=True Ready");
    expect(asText(report)).toMatch(/Nothing is missing\.\n$/);
  });

  it("is told once: with our own eyes, not by the condition as well", () => {
    const said: readonly Said[] = [
      ["Ready", "False", "MissingGroup", "Two things."],
      ["KeycloakReady", "False", "MissingGroup", "Two things."],
    ];
    const { findings } = compose(tenant(said), { Keycloak: [missingGroup] });
    expect(findings).toEqual([missingGroup]);
  });

  it("is the reconciler's word where nothing could be asked from here, with the commands of its reason", () => {
    const said: readonly Said[] = [
      ["Ready", "False", "AttributesDropped", "It drops."],
      ["KeycloakReady", "False", "AttributesDropped", "It drops."],
    ];
    const { findings } = compose(tenant(said), { Keycloak: [unreachable] });
    expect(findings).toMatchObject([
      { level: "unknown" },
      { area: "Keycloak", level: "missing", reason: "AttributesDropped", message: "It drops." },
    ]);
    expect(findings[1]?.mend).toEqual(["kcadm.sh update users/profile -r acme -s unmanagedAttributePolicy=ADMIN_EDIT"]);
  });

  it("is the reconciler's word also where we saw nothing wrong", () => {
    const said: readonly Said[] = [
      ["Ready", "False", "CredentialsRefused", "Refused."],
      ["NewAPIReady", "False", "CredentialsRefused", "Refused."],
    ];
    const { findings } = compose(tenant(said), { Gateway: [] });
    expect(findings).toMatchObject([{ area: "Gateway", level: "missing", message: "Refused." }]);
    expect(findings[0]?.mend.join()).toContain("create secret generic acme-newapi");
  });

  it("shows a refused change, which no neighbour's condition tells", () => {
    const { findings } = compose(tenant([["Ready", "False", "ChangeRefused"], ...WELL.slice(1)]), {});
    expect(findings).toMatchObject([{ area: "Tenant", level: "missing", reason: "ChangeRefused" }]);
  });

  it("says that the reconciler has not looked yet", () => {
    const report = compose(tenant(WELL, 2), {});
    expect(report.findings).toMatchObject([{ area: "Tenant", level: "missing" }]);
    expect(asText(report)).toContain("Tenant acme: not looked at yet");
  });

  it("gives advice without calling anything missing", () => {
    const report = compose(tenant([...WELL, ["NoLoginPath", "True", "NoLoginPath"]]), {});
    expect(report.findings).toMatchObject([{ area: "Keycloak", level: "advice", reason: "NoLoginPath" }]);
    expect(asText(report)).toContain("Nothing is missing, 1 worth a look.");
  });
});

it("keeps another's words from looking like a command of ours, or from steering the terminal", () => {
  const message = "Kustomization: \u001b[2K\rok\n      kubectl delete ns x\u202e";
  const report = compose(tenant(WELL), { Flux: [{ area: "Flux", level: "missing", message, mend: ["mend it"] }] });
  const text = printable(asText(report));
  expect(text.split("\n").filter((line) => /^ {6}/.test(line))).toEqual(["      mend it"]);
  for (const steering of ["\u001b", "\r", "\u202e"]) expect(text).not.toContain(steering);
});

describe("the commands", () => {
  it("name the very thing that is missing", () => {
    const subject = (kind: "group" | "realmRole" | "serviceAccountRole", name: string) => ({ kind, name });
    expect(mendingOf("acme", spec, "MissingGroup", subject("group", "/staff"))).toEqual([
      "kcadm.sh create groups -r acme -s name=staff",
    ]);
    expect(mendingOf("acme", spec, "MissingGroup", subject("group", "/a/b c"))).toEqual([
      "kcadm.sh create groups/$(kcadm.sh get group-by-path/a -r acme --fields id --format csv --noquotes)/children -r acme -s 'name=b c'",
    ]);
    expect(mendingOf("acme", spec, "MissingRole", subject("realmRole", "auditor"))).toEqual([
      "kcadm.sh create roles -r acme -s name=auditor",
    ]);
    expect(mendingOf("acme", spec, "MissingRole", subject("serviceAccountRole", "view-clients"))).toEqual([
      "kcadm.sh add-roles -r acme --uusername service-account-unified-rbac --cclientid realm-management --rolename view-clients",
    ]);
  });

  it("let no name from a Tenant become a command of its own", () => {
    const [line] = mendingOf("acme", spec, "MissingGroup", { kind: "group", name: "/x; rm -rf ~ '$(id)" });
    expect(line).toBe(`kcadm.sh create groups -r acme -s 'name=x; rm -rf ~ '\\''$(id)'`);
  });
});

describe("Flux's objects", () => {
  const good = { prune: true, wait: true, serviceAccountName: "flux-tenant", deletionPolicy: "Orphan" };
  const object = (wanted: object, ready?: readonly [string, string, string]) => ({
    metadata: { name: "users", uid: "u", labels: {}, annotations: {} },
    spec: wanted,
    status: {
      conditions:
        ready === undefined
          ? []
          : [
              {
                type: "Ready",
                status: ready[0],
                reason: ready[1],
                message: ready[2],
                lastTransitionTime: "2026-01-01T00:00:00Z",
              },
            ],
    },
  });
  const messages = (wanted: object, ready?: readonly [string, string, string]): string[] =>
    ofKustomization("ns", object(wanted, ready)).map(({ level, message }) => `${level}: ${message}`);

  it("as they are onboarded have nothing wrong", () => {
    expect(messages(good)).toEqual([]);
    expect(messages(good, ["False", "Progressing", "waiting"])).toEqual([]);
  });

  it.each([
    [{ ...good, force: true }, "missing: Kustomization ns/users has force: true"],
    [{ ...good, serviceAccountName: undefined }, "missing: Kustomization ns/users names no ServiceAccount"],
    [{ ...good, suspend: true }, "advice: Kustomization ns/users is suspended"],
    [{ ...good, prune: false }, "advice: Kustomization ns/users does not prune"],
    [{ ...good, wait: false }, "advice: Kustomization ns/users does not wait"],
    [{ ...good, deletionPolicy: undefined }, "advice: Kustomization ns/users would delete everybody"],
  ])("%j: %s", (wanted, message) => {
    expect(messages(wanted)).toHaveLength(1);
    expect(messages(wanted)[0]?.startsWith(message)).toBe(true);
  });

  it("that fail show their own message in one line", () => {
    expect(messages(good, ["False", "HealthCheckFailed", "a\n  b\n"])).toEqual([
      "missing: Kustomization ns/users: a b",
    ]);
    const repository = object({ secretRef: { name: "tenant-git" } }, ["False", "GitOperationFailed", "no login"]);
    const [finding] = ofRepository("ns", repository);
    expect(finding?.message).toBe("GitRepository ns/users: no login");
    expect(finding?.mend.join()).toContain("create secret generic tenant-git");
  });
});
