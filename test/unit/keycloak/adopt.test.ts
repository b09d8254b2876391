import { describe, expect, test } from "vitest";
import { adoptionObstacle, judgeClaim, type Standing } from "../../../src/keycloak/adopt.ts";
import type { DesiredUser } from "../../../src/keycloak/realm.ts";
import type { User } from "../../../src/keycloak/representations.ts";

const wanted: DesiredUser = {
  uuid: "u1",
  tenantID: "acme",
  email: "ada@example.org",
  enabled: true,
  defaultGroups: [],
  managedBefore: { groups: [], realmRoles: [], attributes: [] },
};

function user(attributes?: Record<string, string[]>, id = "k1"): User {
  return { id, username: "ada@example.org", email: "ada@example.org", emailVerified: true, attributes };
}

const mark = (tenant: string[] | undefined, uuid: string[] | undefined): Record<string, string[]> => ({
  ...(tenant === undefined ? {} : { sme_tenant_id: tenant }),
  ...(uuid === undefined ? {} : { sme_user_uuid: uuid }),
});

describe("judgeClaim", () => {
  test.each([
    ["nobody", []],
    ["ours", [user(mark(["acme"], ["u1"]))]],
    ["ours", [user(undefined, "k2"), user(mark(["acme"], ["u1"]))]],
    ["colleague", [user(mark(["acme"], ["u2"]))]],
    ["unmarked", [user()]],
    ["foreign", [user(mark(["other"], ["u1"]))]],
    ["foreign", [user(mark(["acme"], undefined))]],
    ["foreign", [user(mark(undefined, ["u1"]))]],
    ["foreign", [user(), user(undefined, "k2")]],
    ["foreign", [user(), user(mark(["other"], ["u1"]), "k2")]],
    // Several values in a mark are nobody's.
    ["foreign", [user(mark(["acme", "other"], ["u1"]))]],
  ] satisfies [string, User[]][])("%s: %j", (kind, candidates) => {
    expect(judgeClaim(wanted, candidates).kind).toBe(kind);
  });
});

describe("adoptionObstacle", () => {
  const rules = { email: "ada@example.org", allowedGroups: ["/sme-users"], defaultRole: "default-roles-acme" };
  const standing: Standing = {
    user: user(),
    groups: ["/sme-users"],
    mappings: { realmMappings: [{ id: "r", name: "default-roles-acme" }] },
    adminRoles: [],
    identityProviders: [],
  };

  test("finds none on an account without claims or rights", () => {
    expect(adoptionObstacle(standing, rules)).toBeUndefined();
  });

  test.each([
    ["service account", { user: { ...user(), serviceAccountClientId: "c" } }],
    ["email is another", { user: { ...user(), email: "eve@example.org" } }],
    ["email is another", { user: { ...user(), email: undefined } }],
    ["not verified", { user: { ...user(), emailVerified: false } }],
    ["federation", { user: { ...user(), federationLink: "ldap" } }],
    ["identity provider google", { identityProviders: ["google"] }],
    ["administrator's role manage-users", { adminRoles: ["manage-users"] }],
    ["realm role boss", { mappings: { realmMappings: [{ id: "b", name: "boss" }] } }],
    ["role r of client shop", { mappings: { clientMappings: { shop: { mappings: [{ id: "r", name: "r" }] } } } }],
    ["group /ops", { groups: ["/sme-users", "/ops"] }],
  ] satisfies [string, Partial<Standing>][])("%s", (why, change) => {
    expect(adoptionObstacle({ ...standing, ...change }, rules)).toContain(why);
  });
});
