import { describe, expect, test } from "vitest";
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT } from "../../../src/api/meta.ts";
import { CLI_MANAGER, plan } from "../../../src/plugin/ownership.ts";
import { personWith } from "./people.ts";

const owns = (manager: string, what: "requestedAt" | "rotateRequestedAt" | "suspend", more: object = {}) => ({
  manager,
  operation: "Apply",
  fieldsV1:
    what === "suspend"
      ? { "f:spec": { "f:email": {}, "f:suspend": {} } }
      : {
          "f:metadata": {
            "f:annotations": {
              [`f:${what === "requestedAt" ? ANNOTATION_REQUESTED_AT : ANNOTATION_ROTATE_REQUESTED_AT}`]: {},
            },
          },
        },
  ...more,
});
const ids = { name: "ada", namespace: "tenant-a", uid: personWith().metadata.uid };

describe("a wish", () => {
  test("about a field that nobody owns is applied, for this very object, without force", () => {
    expect(plan(personWith(), { field: "requestedAt", value: "now" })).toEqual({
      kind: "apply",
      force: false,
      body: {
        apiVersion: "catalyst.openova.io/v1alpha1",
        kind: "TenantUser",
        metadata: { ...ids, annotations: { [ANNOTATION_REQUESTED_AT]: "now" } },
      },
    });
  });

  test.each([
    ["kustomize-controller", "Apply"],
    ["argocd-controller", "Apply"],
    ["kubectl", "Apply"],
    ["kubectl-client-side-apply", "Update"],
  ])("about a field that %s sets changes nothing, and gives the lines to commit", (manager, operation) => {
    const managedFields = [owns(manager, "suspend", { operation })];
    expect(plan(personWith({ metadata: { managedFields } }), { field: "suspend", value: true })).toEqual({
      kind: "git",
      manager,
      path: "spec.suspend",
      lines: "spec:\n  suspend: true\n",
    });
  });

  test("about an annotation that Git sets gives the whole path to it", () => {
    const managedFields = [owns("kustomize-controller", "rotateRequestedAt")];
    expect(
      plan(personWith({ metadata: { managedFields } }), { field: "rotateRequestedAt", value: "17" }),
    ).toMatchObject({
      kind: "git",
      lines: `metadata:\n  annotations:\n    ${ANNOTATION_ROTATE_REQUESTED_AT}: "17"\n`,
    });
    // Another field of the same owner is nobody's.
    expect(plan(personWith({ metadata: { managedFields } }), { field: "requestedAt", value: "17" }).kind).toBe("apply");
  });

  test("what was annotated by hand under the plugin's own name is taken over, applied before or not", () => {
    const byHand = owns(CLI_MANAGER, "requestedAt", { operation: "Update" });
    for (const managedFields of [[byHand], [byHand, owns(CLI_MANAGER, "requestedAt")]]) {
      expect(plan(personWith({ metadata: { managedFields } }), { field: "requestedAt", value: "17" })).toMatchObject({
        kind: "apply",
        force: true,
      });
    }
  });

  test("takes over what somebody changed by hand, and only that by force", () => {
    const managedFields = [owns("kubectl-edit", "suspend", { operation: "Update" })];
    const suspended = personWith({ metadata: { managedFields }, spec: { suspend: true } });
    expect(plan(suspended, { field: "suspend", value: false })).toMatchObject({
      kind: "apply",
      force: true,
      body: { spec: { suspend: false } },
    });
  });

  test("is nothing when it is so already, whoever said so", () => {
    const managedFields = [owns("kustomize-controller", "suspend")];
    const suspended = personWith({ metadata: { managedFields }, spec: { suspend: true } });
    expect(plan(suspended, { field: "suspend", value: true })).toEqual({ kind: "nothing" });
    expect(plan(personWith(), { field: "suspend", value: false })).toEqual({ kind: "nothing" });
  });

  test("keeps what the plugin wrote before: an apply that leaves it out would take it away", () => {
    const managedFields = [owns(CLI_MANAGER, "rotateRequestedAt"), owns(CLI_MANAGER, "suspend")];
    const annotations = { [ANNOTATION_ROTATE_REQUESTED_AT]: "yesterday", "other.example/x": "y" };
    const before = personWith({ metadata: { managedFields, annotations }, spec: { suspend: true } });
    expect(plan(before, { field: "requestedAt", value: "now" })).toMatchObject({
      kind: "apply",
      body: {
        metadata: {
          annotations: { [ANNOTATION_ROTATE_REQUESTED_AT]: "yesterday", [ANNOTATION_REQUESTED_AT]: "now" },
        },
        spec: { suspend: true },
      },
    });
  });

  test("to resume gives up what the plugin alone had said, and says it where nobody had", () => {
    const mine = personWith({ metadata: { managedFields: [owns(CLI_MANAGER, "suspend")] }, spec: { suspend: true } });
    expect(plan(mine, { field: "suspend", value: false })).toEqual({
      kind: "apply",
      force: false,
      body: { apiVersion: "catalyst.openova.io/v1alpha1", kind: "TenantUser", metadata: ids },
    });
    const nobodys = personWith({ spec: { suspend: true } });
    expect(plan(nobodys, { field: "suspend", value: false })).toMatchObject({ body: { spec: { suspend: false } } });
  });

  test("does not count what the service itself wrote, nor a subresource", () => {
    const managedFields = [
      owns("unified-rbac", "suspend"),
      owns("kustomize-controller", "suspend", { subresource: "status" }),
    ];
    expect(plan(personWith({ metadata: { managedFields } }), { field: "suspend", value: true }).kind).toBe("apply");
  });
});
