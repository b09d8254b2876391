/** A field of the profile is one entry of the API and one of the table: whatever handles fields handles each. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type KeycloakAdminClient from "@keycloak/keycloak-admin-client";
import { describe, expect, test } from "vitest";
import { PROFILE_FIELDS, type ProfileField } from "../../../src/api/tenantUser.ts";
import { validateTenantUser } from "../../../src/api/validate.ts";
import { correct, given, ownAttributes } from "../../../src/keycloak/merge.ts";
import { PROFILE_RULES, profileIn, USER_FIELDS } from "../../../src/keycloak/profileFields.ts";
import type { DesiredUser } from "../../../src/keycloak/realm.ts";
import { resetAccess } from "../../../src/keycloak/reset.ts";
import { type User, userAnswer } from "../../../src/keycloak/representations.ts";
import type { Ask } from "../../../src/keycloak/session.ts";
import { vacate } from "../../../src/keycloak/vacate.ts";
import { where } from "../../support/where.ts";

const SRC = join(import.meta.dirname, "../../../src");
const marks = { sme_tenant_id: ["acme"], sme_user_uuid: ["u1"] };

function wanted(change: Partial<DesiredUser> = {}): DesiredUser {
  const managedBefore = { groups: [], realmRoles: [], attributes: [] };
  return {
    uuid: "u1",
    tenantID: "acme",
    email: "ada@example.org",
    enabled: true,
    defaultGroups: [],
    managedBefore,
    ...change,
  };
}

/** A user with this field, where Keycloak keeps it. */
function having(field: ProfileField, value: string): User {
  const user = { id: "k1", username: "ada@example.org", email: "ada@example.org", emailVerified: true, enabled: true };
  if (PROFILE_RULES[field].kept === "field") return userAnswer.parse({ ...user, [field]: value, attributes: marks });
  return userAnswer.parse({ ...user, attributes: { ...marks, [field]: [value] } });
}

function corrected(current: User, user: DesiredUser, adopted = false) {
  const { update } = correct(current, user, { adopted, mayRename: true, attributes: ownAttributes(user, () => true) });
  return update === undefined ? undefined : profileIn(update);
}

/** Answers nothing, and keeps the bodies of the PUTs. */
function recorder() {
  const bodies: Record<string, unknown>[] = [];
  const users = {
    update: (_id: unknown, body: Record<string, unknown>) => Promise.resolve(void bodies.push(body)),
    getCredentials: () => Promise.resolve([]),
    listFederatedIdentities: () => Promise.resolve([]),
    listConsents: () => Promise.resolve([]),
    listGroups: () => Promise.resolve([]),
    listRoleMappings: () => Promise.resolve({}),
    logout: () => Promise.resolve(),
  };
  const ask: Ask = async (_doing, answer, send) =>
    answer.parse(await send({ users } as unknown as KeycloakAdminClient));
  return { bodies, ask };
}

describe.each(PROFILE_FIELDS)("%s", (field) => {
  const { kept, managed, adopted } = PROFILE_RULES[field];

  test("is read, and written where it differs; an equal one is not", () => {
    expect(profileIn(having(field, "Ada"))).toMatchObject({ [field]: "Ada" });
    expect(corrected(having(field, "Ada"), wanted({ [field]: "Ada" }))).toBeUndefined();
    expect(corrected(having(field, "Eve"), wanted({ [field]: "Ada" }))).toMatchObject({ [field]: "Ada" });
  });

  test("is left alone where the spec leaves it out, and taken away where we gave it", () => {
    const user = wanted({ [field]: "Ada" });
    const ours = given(
      user,
      ownAttributes(user, () => true),
    );
    expect(ours).toEqual(managed ? [field] : []);
    expect(corrected(having(field, "Ada"), wanted())).toBeUndefined();
    const managedBefore = { groups: [], realmRoles: [], attributes: [field] };
    expect(corrected(having(field, "Ada"), wanted({ managedBefore }))).toMatchObject({ [field]: undefined });
  });

  test("of an adopted account is written where the table says so", () => {
    const adoptedMark = { attributes: { ...having(field, "Eve").attributes, sme_adopted: ["true"] } };
    const current = { ...having(field, "Eve"), ...adoptedMark };
    const update = corrected(current, wanted({ [field]: "Ada" }), true);
    expect(update?.[field]).toBe(adopted ? "Ada" : undefined);
  });

  test("is repeated by every write that is about something else", async () => {
    const { bodies, ask } = recorder();
    await vacate(ask, { ...having(field, "Ada"), emailVerified: false });
    expect(bodies.map((body) => profileIn(body))).toMatchObject([{ [field]: "Ada" }]);
  });

  test.each(where(kept === "field"))("of the person before goes when the account passes on", async () => {
    const { bodies, ask } = recorder();
    await resetAccess(ask, having(field, "Eve"), wanted(), { groups: [], realmRoles: [], settings: { realm: "acme" } });
    expect(bodies[0]).toMatchObject({ [field]: "" });
  });
});

test("a field of Keycloak's user is no name for an attribute", () => {
  for (const field of USER_FIELDS) {
    const spec = { email: "ada@example.org", attributes: { [field]: ["x"] } };
    const object = { apiVersion: "catalyst.openova.io/v1alpha1", kind: "TenantUser", metadata: { name: "ada" }, spec };
    expect(validateTenantUser(object).map(({ rule }) => rule)).toContain("attributes-not-fields");
  }
});

test("is named by the API and by the table, and by nobody else", () => {
  const fields = new RegExp(`\\b(${USER_FIELDS.join("|")})\\b`);
  const naming = readdirSync(SRC, { recursive: true, encoding: "utf8" })
    // The catalogue's sentences are for people.
    .filter((file) => file.endsWith(".ts") && !file.startsWith("api/reasons/"))
    .filter((file) => fields.test(readFileSync(join(SRC, file), "utf8")));
  // The rules reserve the names.
  expect(naming.toSorted()).toEqual(["api/rules/tenantUser.ts", "api/tenantUser.ts", "keycloak/profileFields.ts"]);
});
