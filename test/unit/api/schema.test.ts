import { describe, expect, it } from "vitest";
import { crd } from "../../../src/api/crd.ts";
import { editorSchema } from "../../../src/api/editor.ts";
import { dirtyFiles } from "../../../src/api/generate.ts";
import type { Kind } from "../../../src/api/meta.ts";
import { CONDITION, REASON } from "../../../src/api/reasons.ts";
import { rulesOf } from "../../../src/api/rules/index.ts";
import { schemas, type Structural } from "../../../src/api/schema.ts";
import { tenant, tenantSpec } from "../../../src/api/tenant.ts";
import { tenantUser, tenantUserSpec } from "../../../src/api/tenantUser.ts";
import { cases, objectOf } from "./cases.ts";

const KINDS: readonly Kind[] = ["TenantUser", "Tenant"];

/** Every field below a node, with its path. */
function fields(node: Structural, path: string): { path: string; node: Structural }[] {
  const inner = Object.entries(node.properties ?? {}).flatMap(([name, child]) => [
    { path: `${path}.${name}`, node: child },
    ...fields(child, `${path}.${name}`),
  ]);
  const item = node.items ?? node.additionalProperties;
  return item ? [...inner, ...fields(item, `${path}[*]`)] : inner;
}

describe.each(KINDS)("the schema of %s", (kind) => {
  const all = fields(schemas[kind], kind);

  it("describes every field in a sentence", () => {
    const silent = all.filter(({ path, node }) => path !== `${kind}.metadata` && !node.description?.endsWith("."));
    expect(silent.map(({ path }) => path)).toEqual([]);
  });

  it("bounds every text and list that a person writes, so that the API server can afford the rules", () => {
    const unbounded = all.filter(({ path, node }) => {
      if (!path.startsWith(`${kind}.spec`)) return false;
      if (node.type === "string") return node.maxLength === undefined && node.enum === undefined;
      if (node.type === "array") return node.maxItems === undefined;
      return node.additionalProperties !== undefined && node.maxProperties === undefined;
    });
    expect(unbounded.map(({ path }) => path)).toEqual([]);
  });

  it("gives a fresh object a status that nobody takes for finished", () => {
    expect(schemas[kind].properties?.["status"]?.default).toEqual({ observedGeneration: -1 });
  });

  it("carries every rule at its place", () => {
    const validations = all.flatMap(({ node }) => [
      ...(node["x-kubernetes-validations"] ?? []),
      ...(node.items?.["x-kubernetes-validations"] ?? []),
      ...(node.additionalProperties?.["x-kubernetes-validations"] ?? []),
    ]);
    expect(validations.length).toBe(rulesOf(kind).length);
  });

  it("has the rule's sentence in the editor's schema, and no field of Kubernetes' own", () => {
    const text = JSON.stringify(editorSchema(kind));
    expect(text).not.toContain("x-kubernetes");
    const silent = rulesOf(kind).filter(
      ({ pattern, message }) => pattern !== undefined && !text.includes(JSON.stringify(message)),
    );
    expect(silent).toEqual([]);
  });
});

describe("the types", () => {
  it("are read with the same defaults as the API server fills in", () => {
    expect(tenantUserSpec.parse({ email: "ada@example.com", key: {}, secret: { keys: {} } })).toEqual({
      email: "ada@example.com",
      enabled: true,
      invitation: "None",
      deletionPolicy: "Delete",
      suspend: false,
      key: { generation: 0, overlap: "0s" },
      secret: { keys: { apiKey: "api-key", baseURL: "base-url" } },
    });
  });

  it("leave absent what absence says: not managed", () => {
    expect(tenantUserSpec.parse({ email: "ada@example.com" })).not.toHaveProperty("groups");
  });

  it("give a Tenant empty lists of what is allowed", () => {
    const spec = tenantSpec.parse({
      tenantID: "acme",
      namespaces: [],
      keycloak: { url: "https://keycloak.example.com", realm: "acme", credentialsSecretName: "a" },
      newapi: { url: "https://gateway.example.com", credentialsSecretName: "b" },
    });
    expect(spec.allow).toEqual({
      groups: [],
      realmRoles: [],
      attributes: [],
      tiers: [],
      emailDomains: [],
      secretPrefixes: [],
      secretMetadata: [],
      retain: false,
    });
    expect(spec.keycloak.defaultGroups).toEqual(["sme-users"]);
    expect(spec.newapi).toMatchObject({ dialect: "admin-v1", tier: "default", verifyKey: true });
  });

  it.each(cases.filter(({ verdict }) => verdict.length === 0))("can read what is accepted: $kind $name", (item) => {
    const object = JSON.parse(JSON.stringify(objectOf(item), (_, value: unknown) => value ?? undefined)) as unknown;
    expect((item.kind === "Tenant" ? tenant : tenantUser).safeParse(object).error).toBeUndefined();
  });

  it("take a status that another version wrote for none", () => {
    const object = objectOf({ name: "", kind: "TenantUser", patch: {}, verdict: [] });
    expect(tenantUser.parse({ ...object, status: { state: "unheard-of" } }).status).toBeUndefined();
    expect(tenantUser.parse({ ...object, status: { state: "done" } }).status).toEqual({ state: "done" });
  });

  it("drop a field that a newer schema may have", () => {
    const object = objectOf({ name: "", kind: "TenantUser", patch: { later: 1 }, verdict: [] });
    expect(tenantUser.parse(object).spec).not.toHaveProperty("later");
  });
});

describe("the CRDs", () => {
  it("show email, state, ready, reason and age, and more when asked", () => {
    const columns = crd("TenantUser").spec.versions[0]?.additionalPrinterColumns ?? [];
    expect(columns.filter(({ priority }) => priority === undefined).map(({ name }) => name)).toEqual([
      "Email",
      "State",
      "Ready",
      "Reason",
      "Age",
    ]);
    expect(columns.filter(({ priority }) => priority === 1).map(({ name }) => name)).toEqual([
      "UUID",
      "Keycloak",
      "NewAPI",
      "Secret",
      "Retries",
      "Message",
    ]);
  });
});

it("a reason's value is its name", () => {
  for (const words of [CONDITION, REASON]) {
    for (const [name, value] of Object.entries(words)) expect(value).toBe(name);
  }
});

it("the generated files are what src/api makes of them", async () => {
  expect((await dirtyFiles()).map(({ path }) => path)).toEqual([]);
});
