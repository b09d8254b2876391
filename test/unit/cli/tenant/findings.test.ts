import { describe, expect, it } from "vitest";

import { REASON } from "../../../../src/api/reasons.ts";
import { liveTenant, type LiveTenant } from "../../../../src/api/tenant.ts";
import { shown } from "../../../../src/lib/text.ts";
import { asText } from "../../../../src/cli/tenant/checkText.ts";
import { compose, type CheckFinding, problem } from "../../../../src/cli/tenant/findings.ts";
import { ofKustomization, ofPerson, ofRepository } from "../../../../src/cli/tenant/checkFlux.ts";
import { remediationOf } from "../../../../src/cli/tenant/remediation.ts";
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
const unreachable: CheckFinding = {
  area: "Keycloak",
  level: "unknown",
  message: "Asked from here: no answer.",
  fix: [],
};

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
    expect(findings[1]?.fix).toEqual([
      expect.stringMatching(/users\/profile .*ADMIN_EDIT.*sme_tenant_id.*permissions\.edit = \["admin"\]/),
    ]);
  });

  it("is the reconciler's word also where we saw nothing wrong", () => {
    const said: readonly Said[] = [
      ["Ready", "False", "CredentialsRefused", "Refused."],
      ["NewAPIReady", "False", "CredentialsRefused", "Refused."],
    ];
    const { findings } = compose(tenant(said), { Gateway: [] });
    expect(findings).toMatchObject([{ area: "Gateway", level: "missing", message: "Refused." }]);
    expect(findings[0]?.fix.join()).toContain("create secret generic acme-newapi");
  });

  it("shows a refused change, which no upstream's condition tells", () => {
    const { findings } = compose(tenant([["Ready", "False", "ChangeRefused"], ...WELL.slice(1)]), {});
    expect(findings).toMatchObject([{ area: "Tenant", level: "missing", reason: "ChangeRefused" }]);
  });

  it("says that the reconciler has not observed it yet", () => {
    const report = compose(tenant(WELL, 2), {});
    expect(report.findings).toMatchObject([{ area: "Tenant", level: "missing" }]);
    expect(asText(report)).toContain("Tenant acme: not observed yet");
  });

  it("gives advice without calling anything missing", () => {
    const report = compose(tenant([...WELL, ["NoLoginPath", "True", "NoLoginPath"]]), {});
    expect(report.findings).toMatchObject([{ area: "Keycloak", level: "advice", reason: "NoLoginPath" }]);
    expect(asText(report)).toContain("Nothing is missing, 1 worth a look.");
  });
});

it("keeps another's words from looking like a command of ours, or from steering the terminal", () => {
  const message = "Kustomization: \u001b[2K\rok\n      kubectl delete ns x\u202e";
  const report = compose(tenant(WELL), { Flux: [{ area: "Flux", level: "missing", message, fix: ["fix it"] }] });
  const text = shown(asText(report));
  expect(text.split("\n").filter((line) => /^ {6}/.test(line))).toEqual(["      fix it"]);
  for (const steering of ["\u001b", "\r", "\u202e"]) expect(text).not.toContain(steering);
});

describe("the commands", () => {
  it("name the very thing that is missing", () => {
    const subject = (kind: "group" | "realmRole" | "serviceAccountRole", name: string) => ({ kind, name });
    expect(remediationOf("acme", spec, "MissingGroup", { missing: subject("group", "/staff") })).toEqual([
      "kcadm.sh create groups -r acme -s name=staff",
    ]);
    expect(remediationOf("acme", spec, "MissingGroup", { missing: subject("group", "/a/b c") })).toEqual([
      "kcadm.sh create groups/$(kcadm.sh get group-by-path/a -r acme --fields id --format csv --noquotes)/children -r acme -s 'name=b c'",
    ]);
    expect(remediationOf("acme", spec, "MissingRole", { missing: subject("realmRole", "auditor") })).toEqual([
      "kcadm.sh create roles -r acme -s name=auditor",
    ]);
    expect(
      remediationOf("acme", spec, "MissingRole", { missing: subject("serviceAccountRole", "view-clients") }),
    ).toEqual([
      "kcadm.sh add-roles -r acme --uusername service-account-unified-rbac --cclientid realm-management --rolename view-clients",
    ]);
  });

  it("renew the credential that was refused, or both where nobody knows which", () => {
    const renewing = (upstream?: "keycloak" | "gateway"): string =>
      remediationOf("acme", spec, "CredentialsRefused", { upstream }).join("\n");
    expect(renewing("keycloak")).toMatch(/generic acme-keycloak (?!.*acme-newapi)/s);
    expect(renewing("gateway")).toMatch(/^(?!.*acme-keycloak).*generic acme-newapi /s);
    expect(renewing()).toMatch(/generic acme-keycloak .*generic acme-newapi /s);
  });

  it("are the reason's own where it has no others, and none about a single user", () => {
    expect(remediationOf("acme", spec, "ChangeRefused")).toEqual([
      "kubectl get tenant acme -o jsonpath='{.status.accepted}'",
    ]);
    expect(remediationOf("acme", spec, "Progressing")).toEqual([]);
    expect(remediationOf("acme", spec, "FluxCapacitor")).toEqual([]);
  });

  it("let no name from a Tenant become a command of its own", () => {
    const [line] = remediationOf("acme", spec, "MissingGroup", {
      missing: { kind: "group", name: "/x; rm -rf ~ '$(id)" },
    });
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
    expect(finding?.fix.join()).toContain("create secret generic tenant-git");
  });
});

describe("a person whom an applier is told to treat otherwise", () => {
  const person = (metadata: object) => ({ metadata: { name: "ada", ...metadata } }) as Parameters<typeof ofPerson>[1];

  it("may be deleted on a typo: something is missing, with the command that ends it", () => {
    const annotations = { "kustomize.toolkit.fluxcd.io/force": "enabled" };
    expect(ofPerson("tenant-acme", person({ annotations }))).toMatchObject([
      {
        level: "missing",
        message: expect.stringContaining(
          "TenantUser tenant-acme/ada: metadata.annotations[kustomize.toolkit.fluxcd.io/force]",
        ),
        fix: ["kubectl -n tenant-acme annotate tenantuser ada kustomize.toolkit.fluxcd.io/force-"],
      },
    ]);
  });

  it("may be passed over: advice; and is well otherwise", () => {
    const labels = { "kustomize.toolkit.fluxcd.io/reconcile": "disabled" };
    expect(ofPerson("tenant-acme", person({ labels }))).toMatchObject([
      { level: "advice", fix: ["kubectl -n tenant-acme label tenantuser ada kustomize.toolkit.fluxcd.io/reconcile-"] },
    ]);
    expect(ofPerson("tenant-acme", person({ labels: { team: "a" } }))).toEqual([]);
  });
});
