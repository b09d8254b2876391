import { describe, expect, test } from "vitest";
import { validate } from "../../../src/admission/validate.ts";
import { applierRisks } from "../../../src/api/appliers.ts";
import { GROUP } from "../../../src/api/meta.ts";
import { lintFiles, userYAML } from "../../support/lint.ts";

const RISKS = [
  ["kustomize.toolkit.fluxcd.io/force", "enabled", "error"],
  ["kustomize.toolkit.fluxcd.io/force", "Enabled", "error"],
  ["kustomize.toolkit.fluxcd.io/prune", "disabled", "warning"],
  ["kustomize.toolkit.fluxcd.io/reconcile", "disabled", "warning"],
  ["kustomize.toolkit.fluxcd.io/ssa", "Ignore", "warning"],
  ["kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent", "warning"],
  ["kustomize.toolkit.fluxcd.io/ssa", "Merge", "warning"],
  ["argocd.argoproj.io/sync-options", "Force=true", "error"],
  ["argocd.argoproj.io/sync-options", "ServerSideApply=true, Replace=true", "error"],
  ["argocd.argoproj.io/sync-options", "Prune=false,Delete=false", "warning"],
  ["argocd.argoproj.io/hook", "PreSync", "error"],
  ["helm.sh/hook", "pre-install", "error"],
  ["helm.sh/resource-policy", "keep", "warning"],
] as const;

describe("what makes an applier treat a person otherwise", () => {
  test.each(RISKS)("%s: %s is found by lint", async (name, value, severity) => {
    const { code, out } = await lintFiles({ "ada.yaml": userYAML("ada", {}, { annotations: { [name]: value } }) });
    expect(out).toHaveLength(1);
    expect(out[0]).toContain(`metadata.annotations[${name}]: `);
    expect(out[0]?.includes(": warning: ")).toBe(severity === "warning");
    expect(code).toBe(severity === "error" ? 1 : 0);
  });

  test.each(RISKS)("%s: %s is said at admission, and refused by nothing", (name, value) => {
    const object = {
      apiVersion: `${GROUP}/v1alpha1`,
      kind: "TenantUser",
      metadata: { name: "ada", annotations: { [name]: value } },
      spec: { email: "ada@acme.example" },
    };
    const request = {
      uid: "u",
      operation: "CREATE",
      group: GROUP,
      kind: "TenantUser",
      subResource: "",
      namespace: "tenant-a",
      dryRun: true,
      object,
      oldObject: undefined,
    } as const;
    const verdict = validate(request, { tenant: undefined, loaded: true });
    expect(verdict).toMatchObject({ allowed: true });
    expect(verdict.allowed && verdict.warnings.some((each) => each.startsWith(`metadata.annotations[${name}]`))).toBe(
      true,
    );
  });

  test("Flux reads its own from labels too", () => {
    expect(applierRisks({ labels: { "kustomize.toolkit.fluxcd.io/force": "enabled" } })).toMatchObject([
      { field: "labels", deletes: true },
    ]);
    expect(applierRisks({ labels: { "helm.sh/hook": "x" } })).toEqual([]);
  });

  test("what is set as it should be, or is nothing, is no risk", () => {
    for (const metadata of [
      undefined,
      null,
      7,
      [],
      { annotations: "x" },
      {
        annotations: { "kustomize.toolkit.fluxcd.io/force": "disabled", "kustomize.toolkit.fluxcd.io/ssa": "Override" },
      },
      { annotations: { "argocd.argoproj.io/sync-options": "ServerSideApply=true", "helm.sh/hook": "" } },
    ]) {
      expect(applierRisks(metadata)).toEqual([]);
    }
  });
});
