import { describe, expect, test } from "vitest";
import { candidateUUID } from "../../../src/api/names.ts";
import { adoptionObstacle, answersTo, judgeClaim, type AdoptionFacts } from "../../../src/keycloak/adopt.ts";
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

describe("who is found by the marks alone", () => {
  const uuid = candidateUUID("acme", "ada@example.com");
  const wanted = { tenantID: "acme", email: "ada@example.com", uuid };
  const found = (given: Partial<User>): User => ({ ...user(), email: "ada@example.com", ...given });

  test("is the person whose address it has, or whose uuid was made of the address that it has", () => {
    expect(answersTo(found({ email: "Ada@Example.com" }), wanted)).toBe(true);
    expect(answersTo(found({}), { ...wanted, email: "lovelace@example.com" })).toBe(true);
    const third = candidateUUID("acme", "ada@example.com", 3);
    expect(answersTo(found({}), { ...wanted, email: "lovelace@example.com", uuid: third })).toBe(true);
  });

  test("is nobody of ours with another address, or with one that it gave itself", () => {
    expect(answersTo(found({ email: "mallory@example.com" }), wanted)).toBe(false);
    expect(answersTo(found({ email: undefined }), wanted)).toBe(false);
    expect(answersTo(found({ emailVerified: false }), wanted)).toBe(false);
    expect(answersTo(found({ emailVerified: undefined }), wanted)).toBe(false);
  });

  test("under a version-4 uuid, which nobody can compute, may have any proven address", () => {
    const pinned = { ...wanted, uuid: "0a000000-0000-4000-8000-00000000000a" };
    expect(answersTo(found({ email: "lovelace@example.com" }), pinned)).toBe(true);
    expect(answersTo(found({ email: "lovelace@example.com", emailVerified: false }), pinned)).toBe(false);
  });
});

describe("adoptionObstacle", () => {
  const rules = { email: "ada@example.org", allowedGroupIDs: new Set(["g1"]), defaultRole: "default-roles-acme" };
  const facts: AdoptionFacts = {
    user: user(),
    groups: [{ id: "g1", path: "/sme-users" }],
    mappings: { realmMappings: [{ id: "r", name: "default-roles-acme" }] },
    adminRoles: [],
    identityProviders: [],
  };

  test("finds none on an account without claims or rights", () => {
    expect(adoptionObstacle(facts, rules)).toBeUndefined();
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
    [
      "group /ops",
      {
        groups: [
          { id: "g1", path: "/sme-users" },
          { id: "g2", path: "/ops" },
        ],
      },
    ],
    // As Keycloak writes it: a top group called "sme-users" beside, or whatever else has the same path.
    ["group /sme-users", { groups: [{ id: "g3", path: "/sme-users" }] }],
  ] satisfies [string, Partial<AdoptionFacts>][])("%s", (why, change) => {
    expect(adoptionObstacle({ ...facts, ...change }, rules)).toContain(why);
  });
});
