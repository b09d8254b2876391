import { describe, expect, it } from "vitest";
import { LABEL_TENANT } from "../../../../src/api/meta.ts";
import { lintFiles, tenantYAML, userYAML } from "../../../support/lint.ts";

describe("--tenant", () => {
  const withTenant = (user: string, spec: object, ...args: readonly string[]) =>
    lintFiles(
      { "tenant.yaml": tenantYAML(spec), "users/ada.yaml": user },
      "--tenant=./tenant.yaml",
      "./users",
      ...args,
    );
  const ask = (list: string) => `remove it, or ask the platform to add it to ${list} of the Tenant.`;

  it.each<[string, object, string]>([
    ["groups", { groups: ["/ok", "/admins"] }, `7:17: spec.groups[1]: Group "/admins"|allow.groups`],
    ["roles", { realmRoles: ["admin"] }, `7:16: spec.realmRoles[0]: Realm role "admin"|allow.realmRoles`],
    ["attributes", { attributes: { team: ["a"] } }, `9:7: spec.attributes[team]: Attribute "team"|allow.attributes`],
    ["tiers", { newapi: { tier: "gold" } }, `8:11: spec.newapi.tier: Tier "gold"|allow.tiers`],
    ["quotas", { newapi: { quota: 11 } }, `8:12: spec.newapi.quota: Quota "11"|limits.maxQuota`],
    ["Secret names", { secret: { name: "db" } }, `8:11: spec.secret.name: Secret name "db"|allow.secretPrefixes`],
    [
      "annotations",
      { secret: { annotations: { "a/b": "c" } } },
      `9:12: spec.secret.annotations[a/b]: Secret label or annotation "a/b"|allow.secretMetadata`,
    ],
    ["domains", { email: "a@b.example" }, `6:10: spec.email: Email domain "b.example"|allow.emailDomains`],
  ])("finds %s that the platform does not allow", async (_what, spec, expected) => {
    const text = userYAML("ada", spec).replace("groups:\n    - /ok\n    - /admins", "groups: [/ok, /admins]");
    const flow = text.replace(/realmRoles:\n {4}- admin/, "realmRoles: [admin]");
    const [place = "", list = ""] = expected.split("|");
    const allow = { groups: ["/ok"], emailDomains: ["acme.example"] };
    const { out, code } = await withTenant(flow, { allow, limits: { maxQuota: 10 } });
    expect(out).toHaveLength(1);
    expect(out[0]).toContain(`users/ada.yaml:${place} is not allowed`);
    expect(out[0]).toContain(ask(list));
    expect(code).toBe(1);
  });

  it("finds a deletion policy that the platform does not allow", async () => {
    const text = userYAML("ada", { deletionPolicy: "Retain" });
    const { out } = await withTenant(text, {});
    expect(out).toHaveLength(1);
    expect(out[0]).toMatch(/spec\.deletionPolicy: Deletion policy "Retain" is not allowed.*allow\.retain/);
    expect((await withTenant(text, { allow: { retain: true } })).out).toEqual([]);
  });

  it("is content with what is allowed", async () => {
    const spec = { groups: ["/ok"], newapi: { tier: "gold", quota: 10 } };
    const allow = { groups: ["ok"], tiers: ["gold"] };
    expect((await withTenant(userYAML("ada", spec), { allow, limits: { maxQuota: 10, maxUsers: 1 } })).out).toEqual([]);
  });

  it("takes a null for nothing where the cluster does", async () => {
    const spec = { enabled: null, key: { generation: null } };
    const user = userYAML("ada", spec, { labels: { a: null } });
    expect((await withTenant(user, { suspend: null })).out).toEqual([]);
  });

  it("tells of more people than the tenant may have", async () => {
    const { out, code } = await withTenant(`${userYAML("ada")}---\n${userYAML("bob")}`, { limits: { maxUsers: 1 } });
    expect(out).toEqual([
      "users/ada.yaml:11:9: the tenant has all 1 users that it may have: this user waits until one is removed or the limit is raised",
    ]);
    expect(code).toBe(1);
  });

  it("asks admission about namespace and label", async () => {
    const elsewhere = await withTenant(userYAML("ada", {}, { namespace: "other" }), {});
    expect(elsewhere).toMatchObject({
      code: 0,
      out: [
        "users/ada.yaml:5:14: warning: no Tenant claims namespace other: this user waits until the platform's operator adds it to one",
      ],
    });
    const labelled = await withTenant(userYAML("ada", {}, { labels: { [LABEL_TENANT]: "globex" } }), {});
    expect(labelled.out).toEqual([
      `users/ada.yaml:6:37: metadata.labels[${LABEL_TENANT}]: must be acme, the tenant of this namespace; leave the label out, it is set by the service`,
    ]);
  });

  it.each([
    ["no-tenant.yaml", userYAML("ada"), "there is no Tenant in this file."],
    ["two.yaml", `${tenantYAML()}---\n${tenantYAML()}`, "there is more than one Tenant in this file."],
    [
      "bad.yaml",
      tenantYAML({ tenantID: "Acme" }),
      "spec.tenantID: must be a DNS label: lower-case letters, digits and hyphens, at most 63.",
    ],
  ])("says in a sentence what is wrong with %s", async (file, text, message) => {
    const outcome = await lintFiles({ [file]: text, "a.yaml": userYAML("ada") }, `--tenant=./${file}`, "./a.yaml");
    expect(outcome).toEqual({ code: 2, out: [], err: `--tenant ${file}: ${message}\n` });
  });
});
