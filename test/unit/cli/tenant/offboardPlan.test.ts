import { describe, expect, it } from "vitest";

import { liveTenant } from "../../../../src/api/tenant.ts";
import { liveTenantUser, type LiveTenantUser } from "../../../../src/api/tenantUser.ts";
import { graceOf, leftovers, planText, retainedOf } from "../../../../src/cli/tenant/offboardPlan.ts";
import { namespacesOf, type Survey } from "../../../../src/cli/tenant/survey.ts";
import { tenantSpecInput, tenantSpecOf } from "../../../support/tenantSpec.ts";

const WISHES = { skipGrace: false, alsoRetained: false, keepNamespaces: false };
const meta = { uid: "u", resourceVersion: "1", generation: 1, creationTimestamp: "2026-01-01T00:00:00Z" };

const person = (name: string, deletionPolicy: "Delete" | "Retain" = "Delete"): LiveTenantUser =>
  liveTenantUser.parse({
    apiVersion: "catalyst.openova.io/v1alpha1",
    kind: "TenantUser",
    metadata: { ...meta, name, namespace: "tenant-acme" },
    spec: { email: `${name}@acme.example`, deletionPolicy },
  });

function surveyed(
  users: readonly LiveTenantUser[],
  deletionGrace = "7d",
  { byState = {}, allow = {} }: { byState?: Record<string, number>; allow?: { retain?: boolean } } = {},
): Survey {
  const namespace = { uid: "n", repositories: [], kustomizations: [{ path: "/k", uid: "k" }] };
  return {
    tenant: liveTenant.parse({
      apiVersion: "catalyst.openova.io/v1alpha1",
      kind: "Tenant",
      metadata: { ...meta, name: "acme" },
      spec: tenantSpecInput("acme", { deletionGrace, allow }),
      status: { users: { total: users.length, byState } },
    }),
    namespaces: [
      { ...namespace, name: "tenant-acme", own: true, users },
      { ...namespace, name: "shared", own: false, users: [] },
    ],
    heldByGit: undefined,
  };
}

describe("the plan of an end", () => {
  it("names people, grace, order, and what is left alone", () => {
    expect(planText("acme", surveyed([person("ada")]), WISHES)).toBe(`The end of tenant acme, in this order:

  1. Flux's Kustomizations in its namespaces are suspended: no commit brings anybody back.
  2. 1 person is removed: Secrets at once, accounts disabled now and undone after the grace of 7d.
       tenant-acme/ada  ada@acme.example
     Until then the Tenant stays; run this again afterwards (--skip-grace: nobody needs to come back).
  3. Tenant acme is deleted, when no cleanup is pending.
  4. Namespaces are deleted, with everything in them: tenant-acme.
     Left alone: shared (not made by the onboarding).
`);
  });

  it("says that accounts are undone at once where there is no grace, or none is wanted", () => {
    for (const text of [
      planText("acme", surveyed([person("ada")], "0s"), WISHES),
      planText("acme", surveyed([person("ada")]), { ...WISHES, skipGrace: true }),
    ]) {
      expect(text).toContain("2. 1 person is removed: Secrets at once, and their accounts with them.");
      expect(text).not.toContain("--skip-grace");
    }
  });

  it("warns of those who are kept, and of pending cleanups", () => {
    const found = surveyed([person("ada", "Retain"), person("bob")], "0s", {
      byState: { deleting: 2, deleted: 9 },
      allow: { retain: true },
    });
    expect(planText("acme", found, WISHES)).toContain("1 has deletionPolicy Retain: those accounts stay");
    expect(planText("acme", found, { ...WISHES, alsoRetained: true })).not.toContain("deletionPolicy");
    expect(planText("acme", found, WISHES)).toContain("2 people are being deleted already");
    expect([...leftovers(found)]).toEqual([["deleting", 2]]);
  });

  it("says of those who ask to be kept, and may not be, for how long they are locked", () => {
    const people = [person("ada", "Retain"), person("bob")];
    const text = planText("acme", surveyed(people, "7d"), { ...WISHES, skipGrace: true });
    expect(text).toContain("1 has a deletionPolicy Retain that the Tenant does not allow");
    expect(text).toContain("those accounts are locked for 30d, then undone");
    expect(text).not.toContain("those accounts stay");
    expect(planText("acme", surveyed(people, "60d"), WISHES)).toContain("locked for 60d");
    expect(planText("acme", surveyed(people), { ...WISHES, alsoRetained: true })).not.toContain("deletionPolicy");
  });

  it("goes by what was accepted of the Tenant, not by what was asked for since", () => {
    const found = surveyed([person("ada", "Retain")], "0s", { allow: { retain: true } });
    const accepted = tenantSpecOf("acme", { allow: { retain: false } });
    const { tenant } = found;
    if (tenant === undefined) throw new Error("there is no Tenant");
    const changed = { ...found, tenant: { ...tenant, status: { ...tenant.status, accepted } } };
    expect(retainedOf(found, WISHES).kept).toHaveLength(1);
    expect(retainedOf(changed, WISHES)).toMatchObject({ kept: [], withheld: [{ metadata: { name: "ada" } }] });
  });

  it("says what still holds the Tenant in Git", () => {
    const text = planText("acme", { ...surveyed([]), heldByGit: "flux-system/tenants" }, WISHES);
    expect(text).toContain("Kustomization flux-system/tenants would make it again");
  });

  it("of nothing is one sentence", () => {
    const nothing = { tenant: undefined, namespaces: [], heldByGit: undefined };
    expect(planText("acme", nothing, WISHES)).toBe("There is nothing of tenant acme in this cluster.\n");
  });
});

describe("the namespaces that may end with a tenant", () => {
  const withAccepted = (namespaces: readonly string[]) => ({
    status: { accepted: tenantSpecOf("acme", { namespaces: [...namespaces] }) },
  });

  it("are those that it was granted, and those made for it", () => {
    expect(namespacesOf(withAccepted(["b", "a"]), ["c", "a"], [])).toEqual(["a", "b", "c"]);
    expect(namespacesOf(undefined, ["c"], [])).toEqual(["c"]);
  });

  it("are never one that it only asks for, or that was granted to another, whatever its label says", () => {
    expect(namespacesOf({ status: undefined }, [], [])).toEqual([]);
    expect(namespacesOf(withAccepted(["a"]), ["theirs"], [withAccepted(["theirs"])])).toEqual(["a"]);
  });
});

it("the grace is the accepted one, and none where it is zero", () => {
  expect(graceOf(surveyed([], "7d"), WISHES)).toBe("7d");
  expect(graceOf(surveyed([], "0s"), WISHES)).toBeUndefined();
  expect(graceOf(surveyed([], "7d"), { ...WISHES, skipGrace: true })).toBeUndefined();
});
