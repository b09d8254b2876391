import { describe, expect, test } from "vitest";
import type { TenantSpecInput } from "../../../src/api/tenant.ts";
import type { TenantUserSpecInput } from "../../../src/api/tenantUser.ts";
import { desire, refusal } from "../../../src/saga/desired.ts";
import { tenant, tenantUser } from "../../support/builders.ts";

const judged = (spec: Partial<TenantUserSpecInput>, tenantSpec: Partial<TenantSpecInput> = {}) => {
  const under = tenant(tenantSpec);
  return refusal(desire(tenantUser().withSpec(spec).build(), under), under);
};

describe("what an object asks for", () => {
  test("is completed from its Tenant", () => {
    const desired = desire(
      tenantUser().build(),
      tenant({
        newapi: {
          url: "https://admin.example.com",
          publicBaseURL: "https://llm.example.com",
          credentialsSecretName: "n",
          tier: "gold",
          verifyKey: false,
        },
      }),
    );
    expect(desired).toMatchObject({
      generation: 1,
      email: "ada@example.com",
      enabled: true,
      tier: "gold",
      verifyKey: false,
      defaultGroups: ["sme-users"],
      groups: undefined,
      secret: {
        namespace: "tenant-a",
        name: undefined,
        apiKeyEntry: "api-key",
        baseURLEntry: "base-url",
        baseURL: "https://llm.example.com",
      },
    });
  });

  test("has the email in its one form, and annotations by their meaning", () => {
    const user = tenantUser()
      .withSpec({ email: " Ada@Example.COM " })
      .requestedAt("t1")
      .rotateRequestedAt("t2")
      .build();
    expect(desire(user, tenant())).toMatchObject({
      email: "ada@example.com",
      requestedAt: "t1",
      rotateRequestedAt: "t2",
    });
  });
});

describe("the wall", () => {
  test("lets accounts stay only where the platform says so", () => {
    expect(judged({ deletionPolicy: "Retain" })).toMatchObject({
      reason: "NotAllowed",
      message: expect.stringMatching(/"Retain".*allow\.retain.*30 days/),
    });
    expect(judged({ deletionPolicy: "Retain" }, { allow: { retain: true } })).toBeUndefined();
    expect(judged({ deletionPolicy: "Delete" })).toBeUndefined();
  });

  test("lets pass what asks for nothing", () => {
    expect(judged({})).toBeUndefined();
  });

  test.each([
    ["a group", { groups: ["admins"] }, "admins", "allow.groups"],
    ["a realm role", { realmRoles: ["offline_access"] }, "offline_access", "allow.realmRoles"],
    ["an attribute", { attributes: { cost: ["1"] } }, "cost", "allow.attributes"],
    ["a tier", { newapi: { tier: "vip" } }, "vip", "allow.tiers"],
    ["a quota", { newapi: { quota: 5 } }, "5", "limits.maxQuota"],
    ["a Secret's name", { secret: { name: "database" } }, "database", "allow.secretPrefixes"],
    ["a label of the Secret", { secret: { labels: { app: "x" } } }, "app", "allow.secretMetadata"],
    [
      "an annotation of the Secret",
      { secret: { annotations: { "reflector/x": "y" } } },
      "reflector/x",
      "allow.secretMetadata",
    ],
  ] satisfies [string, Partial<TenantUserSpecInput>, string, string][])(
    "stops %s that the Tenant does not name, and says which and where",
    (_what, spec, name, list) => {
      expect(judged(spec)).toEqual({ reason: "NotAllowed", message: expect.stringContaining(name) });
      expect(judged(spec)?.message).toContain(list);
    },
  );

  test("lets pass exactly what is named", () => {
    const allow = {
      groups: ["/sales", "team"],
      realmRoles: ["reader"],
      attributes: ["cost"],
      tiers: ["vip"],
      secretPrefixes: ["db-"],
      secretMetadata: ["app"],
    };
    const spec = {
      groups: ["sales", "/team", "sme-users"],
      realmRoles: ["reader"],
      attributes: { cost: ["1"] },
      newapi: { tier: "vip", quota: 5 },
      secret: { name: "db-x", labels: { app: "x" } },
    };
    expect(judged(spec, { allow, limits: { maxQuota: 5 } })).toBeUndefined();
    expect(judged({ groups: ["/sales/west"] }, { allow })).toMatchObject({ reason: "NotAllowed" });
    expect(judged({ newapi: { quota: 6 } }, { limits: { maxQuota: 5 } })).toMatchObject({ reason: "NotAllowed" });
  });

  test("an email of another domain, without regard to capitals", () => {
    const allow = { emailDomains: ["Example.com"] };
    expect(judged({}, { allow })).toBeUndefined();
    expect(judged({ email: "ada@example.com.evil.org" }, { allow })).toMatchObject({ reason: "NotAllowed" });
    expect(judged({ email: "ada@sub.example.com" }, { allow })).toMatchObject({ reason: "NotAllowed" });
  });

  test("asking for the Tenant's own tier and groups is no asking", () => {
    expect(
      judged({ newapi: { tier: "default" }, groups: ["sme-users"], secret: { name: "newapi-key-mine" } }),
    ).toBeUndefined();
  });
});
