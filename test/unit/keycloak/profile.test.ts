import { describe, expect, test } from "vitest";
import { adoptedMarkHolds, attributePolicyOf, policyOfMarks, marksProblem } from "../../../src/keycloak/profile.ts";
import type { Profile } from "../../../src/keycloak/representations.ts";

function declared(edit: string[] | undefined, names = ["sme_tenant_id", "sme_user_uuid"]): Profile["attributes"] {
  return names.map((name) => ({ name, ...(edit === undefined ? {} : { permissions: { edit } }) }));
}

describe("the attributePolicy of the marks", () => {
  test.each([
    ["dropped", {}],
    ["dropped", { unmanagedAttributePolicy: "ADMIN_VIEW" }],
    ["kept", { unmanagedAttributePolicy: "ADMIN_EDIT" }],
    ["forgeable", { unmanagedAttributePolicy: "ENABLED" }],
    ["kept", { attributes: declared(["admin"]) }],
    ["kept", { attributes: declared(["admin"]), unmanagedAttributePolicy: "ENABLED" }],
    ["forgeable", { attributes: declared(["admin", "user"]), unmanagedAttributePolicy: "ADMIN_EDIT" }],
    ["forgeable", { attributes: declared(["admin"], ["sme_tenant_id"]), unmanagedAttributePolicy: "ENABLED" }],
    ["dropped", { attributes: declared(["admin"], ["sme_tenant_id"]) }],
    ["dropped", { attributes: declared(undefined), unmanagedAttributePolicy: "ADMIN_EDIT" }],
  ] satisfies [string, Profile][])("%s: %j", (attributePolicy, profile) => {
    expect(policyOfMarks(profile)).toBe(attributePolicy);
    expect(marksProblem(profile, "acme") === undefined).toBe(attributePolicy === "kept");
  });

  test("says how to fix it in one sentence", () => {
    expect(marksProblem({}, "acme")).toMatchObject({
      reason: "AttributesDropped",
      message: expect.stringContaining("kcadm.sh update users/profile -r acme -s unmanagedAttributePolicy=ADMIN_EDIT"),
    });
    expect(marksProblem({ unmanagedAttributePolicy: "ENABLED" }, "acme")?.reason).toBe("MarksForgeable");
  });

  test("trusts the adopted mark only where people cannot write it", () => {
    expect(adoptedMarkHolds({ unmanagedAttributePolicy: "ADMIN_EDIT" })).toBe(true);
    expect(adoptedMarkHolds({ attributes: declared(["admin"]), unmanagedAttributePolicy: "ENABLED" })).toBe(false);
    expect(attributePolicyOf({ attributes: declared(["admin"]) }, "sme_adopted")).toBe("dropped");
  });
});
