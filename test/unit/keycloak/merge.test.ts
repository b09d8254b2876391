import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  correct,
  mergeAttributes,
  ownAttributes,
  planMemberships,
  sameAttributes,
} from "../../../src/keycloak/merge.ts";
import type { DesiredUser } from "../../../src/keycloak/realm.ts";
import type { User } from "../../../src/keycloak/representations.ts";

function desired(change: Partial<DesiredUser> = {}): DesiredUser {
  return {
    uuid: "u1",
    tenantID: "acme",
    email: "ada@example.org",
    enabled: true,
    defaultGroups: ["sme-users"],
    managedBefore: { groups: [], realmRoles: [], attributes: [] },
    ...change,
  };
}

function present(change: Partial<User> = {}): User {
  return {
    id: "k1",
    username: "ada@example.org",
    email: "ada@example.org",
    emailVerified: true,
    enabled: true,
    attributes: { sme_tenant_id: ["acme"], sme_user_uuid: ["u1"] },
    ...change,
  };
}

const how = { adopted: false, mayRename: true, attributes: {} };

describe("correct", () => {
  test("writes nothing when nothing differs", () => {
    expect(correct(present(), desired(), how)).toEqual({
      update: undefined,
      usernameKept: false,
      lockedOut: false,
    });
  });

  test("does not take the order of values or the case of an address for a difference", () => {
    const current = present({
      username: "Ada@Example.org",
      attributes: { sme_tenant_id: ["acme"], sme_user_uuid: ["u1"], team: ["b", "a"] },
    });
    expect(correct(current, desired(), { ...how, attributes: { team: ["a", "b"] } }).update).toBeUndefined();
  });

  test("leaves names alone that the spec leaves out", () => {
    const current = present({ firstName: "Ada", lastName: "L" });
    expect(correct(current, desired(), how).update).toBeUndefined();
    expect(correct(current, desired({ firstName: "Eve" }), how).update).toMatchObject({
      firstName: "Eve",
      lastName: "L",
    });
  });

  test("moves email and username together, or says that the username stays", () => {
    const moved = desired({ email: "new@example.org" });
    expect(correct(present({ emailVerified: false }), moved, how)).toMatchObject({
      update: { username: "new@example.org", email: "new@example.org", emailVerified: true },
      usernameKept: false,
    });
    expect(correct(present(), moved, { ...how, mayRename: false })).toMatchObject({
      update: { username: "ada@example.org", email: "new@example.org" },
      usernameKept: true,
    });
  });

  test("changes neither address nor enabled of an adopted account, and marks it as such", () => {
    const result = correct(present(), desired({ email: "new@example.org", enabled: false }), { ...how, adopted: true });
    expect(result).toMatchObject({
      update: { username: "ada@example.org", email: "ada@example.org", enabled: undefined },
      usernameKept: false,
    });
    expect(result.update?.attributes["sme_adopted"]).toEqual(["true"]);
  });

  test("an address that its person wrote is put back, verified as it was", () => {
    const theirs = { username: "ada@example.org", email: "ada@example.org", emailVerified: true };
    for (const adopted of [false, true]) {
      const written = present({ email: "tomorrow@example.org", emailVerified: false });
      expect(correct(written, desired(), { ...how, adopted }).update).toMatchObject(theirs);
      // There and back again leaves it unverified.
      expect(correct(present({ emailVerified: false }), desired(), { ...how, adopted }).update).toMatchObject(theirs);
    }
  });

  test("an address that the platform does not let the tenant speak for is never called verified", () => {
    const wanted = desired({ email: "new@example.org", vouched: false });
    expect(correct(present(), wanted, how).update).toMatchObject({ email: "new@example.org", emailVerified: false });
    const { update } = correct(present({ emailVerified: false, enabled: false }), desired({ vouched: false }), how);
    expect(update).toMatchObject({ enabled: true, emailVerified: false });
    // What is verified may be so by its person.
    expect(correct(present(), desired({ vouched: false }), how).update).toBeUndefined();
  });

  test("is at rest after one application, whatever was there", () => {
    const attributes = fc.dictionary(
      fc.constantFrom("a", "b", "team", "displayName"),
      fc.array(fc.string(), { minLength: 1 }),
    );
    const user = fc.record({
      attributes,
      enabled: fc.boolean(),
      emailVerified: fc.boolean(),
      email: fc.constantFrom("ada@example.org", "old@example.org"),
      username: fc.constantFrom("ada@example.org", "ada"),
    });
    fc.assert(
      fc.property(
        user,
        attributes,
        fc.subarray(["a", "b", "team"]),
        fc.boolean(),
        fc.boolean(),
        (was, ours, gave, adopted, mayRename) => {
          const wanted = desired({ managedBefore: { groups: [], realmRoles: [], attributes: gave } });
          const settings = { adopted, mayRename, attributes: ours };
          const { update } = correct(present(was), wanted, settings);
          const { enabled = was.enabled, ...rest } = update ?? was;
          const then = present({ ...rest, enabled, attributes: mutable(rest.attributes) });
          expect(correct(then, wanted, settings).update).toBeUndefined();
        },
      ),
    );
  });
});

function mutable(attributes: Readonly<Record<string, readonly string[]>>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(attributes).map(([name, values]) => [name, [...values]]));
}

describe("attributes", () => {
  test("keeps what others wrote and takes away what we gave and give no longer, never a mark", () => {
    const current = { theirs: ["1"], old: ["2"], sme_user_uuid: ["u1"] };
    expect(mergeAttributes(current, { team: ["x"] }, ["old", "sme_user_uuid"])).toEqual({
      theirs: ["1"],
      sme_user_uuid: ["u1"],
      team: ["x"],
    });
  });

  test("carries the display name where the profile keeps it", () => {
    expect(ownAttributes(desired({ displayName: "Ada" }), () => true)).toEqual({ displayName: ["Ada"] });
    expect(ownAttributes(desired({ displayName: "Ada" }), () => false)).toEqual({});
  });

  test("tells an absent attribute from one with a value", () => {
    expect(sameAttributes({ a: [] }, {})).toBe(true);
    expect(sameAttributes({ a: ["1"] }, {})).toBe(false);
    expect(sameAttributes({ a: ["1", "1"] }, { a: ["1"] })).toBe(true);
    expect(sameAttributes({ a: ["", "\u3000", "1"] }, { a: ["1"] })).toBe(true);
    expect(sameAttributes({ a: ["1 "] }, { a: ["1"] })).toBe(false);
  });
});

describe("planMemberships", () => {
  const plan = { wanted: ["/a"], current: ["/b", "/c"], gaveBefore: ["/b"], only: false, adopted: false };

  test("joins what is missing and leaves only what we gave", () => {
    expect(planMemberships(plan)).toEqual({ join: ["/a"], leave: ["/b"], managed: ["/a"] });
  });

  test("leaves everything else when the spec says none", () => {
    expect(planMemberships({ ...plan, only: true }).leave).toEqual(["/b", "/c"]);
  });

  test("of an adopted account counts only what it did not have before", () => {
    const held = { ...plan, wanted: ["/a", "/b", "/c"], adopted: true };
    expect(planMemberships(held).managed).toEqual(["/a", "/b"]);
    expect(planMemberships({ ...held, adopted: false }).managed).toEqual(["/a", "/b", "/c"]);
  });
});
