/** The CRDs on a real API server: accepted, documented, and of one mind with the TypeScript check. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, assert, beforeAll, describe, expect, it, vi } from "vitest";
import * as z from "zod";
import { KINDS, type Kind } from "../../src/api/meta.ts";
import { rulesOf } from "../../src/api/rules/index.ts";
import { readStackEnv, type StackEnv } from "../../stack/index.ts";
import { connectApiServer, type Answer, type ApiServer } from "../support/apiServer.ts";
import { cases, changes, objectOf, type Case } from "../unit/api/cases.ts";

const ALL: readonly Kind[] = ["TenantUser", "Tenant"];
const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

const crdStatus = z.object({
  status: z.object({ conditions: z.array(z.object({ type: z.string(), status: z.string(), message: z.string() })) }),
});
const refusal = z.object({
  message: z.string(),
  details: z
    .object({ causes: z.array(z.object({ field: z.string().default(""), message: z.string() })).default([]) })
    .prefault({}),
});

let env: StackEnv;
let api: ApiServer;

beforeAll(async () => {
  env = readStackEnv(process.env["STACK_NAME"] ?? "test");
  api = await connectApiServer(env.KUBECONFIG);
  await kubectl("apply", "--server-side", "--force-conflicts", "-k", join(ROOT, "manifests/crd"));
  for (const kind of ALL) await kubectl("wait", "--for=condition=Established", `crd/${crdName(kind)}`);
  // The kind is served a moment after it is established.
  await vi.waitFor(async () => {
    for (const kind of ALL) assert.equal((await api.send("GET", collection(kind))).status, 200);
  }, 10_000);
});

afterAll(() => api?.close());

async function kubectl(...args: string[]): Promise<string> {
  const { stdout } = await run(env.KUBECTL, args, { env: { ...process.env, KUBECONFIG: env.KUBECONFIG } });
  return stdout;
}

const crdName = (kind: Kind) => `${KINDS[kind].plural}.catalyst.openova.io`;
const collection = (kind: Kind) =>
  `/apis/catalyst.openova.io/v1alpha1/${kind === "Tenant" ? "" : "namespaces/default/"}${KINDS[kind].plural}`;

const DRY = "dryRun=All&fieldValidation=Strict&fieldManager=crd-test";

/** As `kubectl create --dry-run=server` does it. */
const create = (item: Case) => api.send("POST", `${collection(item.kind)}?${DRY}`, objectOf(item, freshName()));

/** As Flux does it. */
function applied(item: Case): Promise<Answer> {
  const name = freshName();
  return api.send(
    "PATCH",
    `${collection(item.kind)}/${name}?force=true&${DRY}`,
    objectOf(item, name),
    "application/apply-patch+yaml",
  );
}

const freshName = () => `crd-test-${randomUUID().slice(0, 8)}`;

/** Entries of a map stand in brackets with us, and with the API server only sometimes. */
const plainPath = (path: string) => path.replaceAll(/\[([^\]]*[^\]\d][^\]]*)\]/gu, ".$1");

/** What is wrong with the API server's answer, as seen from the table; empty when both agree. */
function disagreements({ kind, verdict }: Case, { status, body }: Answer): string[] {
  if (verdict.length === 0) return status < 300 ? [] : [`refused: ${JSON.stringify(body)}`];
  if (status < 300) return ["accepted"];
  const { message, details } = refusal.parse(body);
  const missing = verdict.filter((line) => {
    const at = line.lastIndexOf(" ");
    const [path, name] = [line.slice(0, at), line.slice(at + 1)];
    const sentence = rulesOf(kind).find((rule) => rule.name === name)?.message;
    // Not an object of this schema at all: one sentence without causes, the path with a dot before it or without.
    if (details.causes.length === 0) return !message.includes(plainPath(path).replace(/\[\d+\]$/u, ""));
    return !details.causes.some(
      (cause) => plainPath(cause.field) === plainPath(path) && cause.message.includes(sentence ?? ""),
    );
  });
  const expected = new Set(verdict.map((line) => plainPath(line.slice(0, line.lastIndexOf(" ")))));
  const surplus = details.causes
    .map(({ field }) => plainPath(field))
    .filter((field) => field !== "" && field !== "<nil>" && !expected.has(field));
  return [...missing, ...surplus.map((field) => `also ${field}`)].map((what) => `${what}; it said: ${message}`);
}

describe("the CRDs", () => {
  it.each(ALL)("%s is structural, its rules are compiled and affordable, its names are free", async (kind) => {
    const { body } = await api.send("GET", `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crdName(kind)}`);
    const conditions = crdStatus.parse(body).status.conditions;
    expect(conditions).toContainEqual(expect.objectContaining({ type: "Established", status: "True" }));
    expect(conditions).toContainEqual(expect.objectContaining({ type: "NamesAccepted", status: "True" }));
    expect(conditions).not.toContainEqual(expect.objectContaining({ type: "NonStructuralSchema", status: "True" }));
  });

  it("are stored as they are written: a second apply changes nothing", async () => {
    const version = async (kind: Kind) =>
      kubectl("get", "crd", crdName(kind), "-o", "jsonpath={.metadata.generation}/{.metadata.resourceVersion}");
    const before = await Promise.all(ALL.map(version));
    await kubectl("apply", "--server-side", "--force-conflicts", "-k", join(ROOT, "manifests/crd"));
    expect(await Promise.all(ALL.map(version))).toEqual(before);
  });

  it.each(ALL)("kubectl explain %s has a description for every field", async (kind) => {
    expect(await kubectl("explain", KINDS[kind].plural, "--recursive")).toContain("observedGeneration");
    const { body } = await api.send("GET", "/openapi/v3/apis/catalyst.openova.io/v1alpha1");
    const schemas = z.object({ components: z.object({ schemas: z.record(z.string(), z.unknown()) }) }).parse(body);
    const entry = Object.entries(schemas.components.schemas).find(([name]) => name.endsWith(`.${kind}`));
    expect(silentFields(entry?.[1], kind)).toEqual([]);
  });

  it("kubectl explain says what an email is", async () => {
    expect(await kubectl("explain", "tenantuser.spec.email")).toContain("The person's address, kept as written.");
  });

  it("give a fresh object its defaults, and a status that Flux does not take for finished", async () => {
    const { body } = await create({ name: "", kind: "TenantUser", patch: {}, verdict: [] });
    expect(body).toMatchObject({
      spec: { enabled: true, invitation: "None", deletionPolicy: "Delete", suspend: false },
      status: { observedGeneration: -1 },
    });
    expect(body["spec"]).not.toHaveProperty("groups");
  });

  it("find users by email and by state", async () => {
    const query = `${collection("TenantUser")}?fieldSelector=status.state%3Dfailed,spec.email%3Dnobody@example.com`;
    expect((await api.send("GET", query)).body).toMatchObject({ items: [] });
  });
});

describe("the API server and the TypeScript check agree", () => {
  it.each(cases.filter(({ appliedOnly }) => !appliedOnly))("on $kind created with $name", async (item) => {
    expect(disagreements(item, await create(item))).toEqual([]);
  });

  it.each(cases)("on $kind applied with $name", async (item) => {
    expect(disagreements(item, await applied(item))).toEqual([]);
  });

  it.each(changes)("on the change to $name", async ({ before, after, verdict }) => {
    const name = freshName();
    const path = `${collection("Tenant")}/${name}`;
    const own = (item: Case) => {
      const object = objectOf(item, name);
      const spec = z.record(z.string(), z.unknown()).parse(object["spec"]);
      // Claims nothing that a tenant of this cluster could want.
      return {
        ...object,
        spec: { ...spec, namespaces: [], tenantID: `${String(spec["tenantID"])}-${name}`, suspend: true },
      };
    };
    try {
      expect((await api.send("POST", collection("Tenant"), own(before))).status).toBe(201);
      const answer = await api.send("PATCH", `${path}?${DRY}`, own(after), "application/merge-patch+json");
      expect(disagreements({ ...after, verdict }, answer)).toEqual([]);
    } finally {
      await api.send("DELETE", path);
      await api.send("PATCH", path, { metadata: { finalizers: null } }, "application/merge-patch+json");
    }
  });
});

/** Fields without a description; Kubernetes' own metadata is not looked into. */
function silentFields(input: unknown, path: string): string[] {
  const node = z
    .object({
      properties: z.record(z.string(), z.unknown()).optional(),
      items: z.unknown().optional(),
      additionalProperties: z.unknown().optional(),
    })
    .safeParse(input).data;
  if (!node) return [];
  const inner = Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const at = `${path}.${name}`;
    const said = z.object({ description: z.string().min(1) }).safeParse(child).success;
    return [...(said ? [] : [at]), ...(name === "metadata" ? [] : silentFields(child, at))];
  });
  return [...inner, ...silentFields(node.items, path), ...silentFields(node.additionalProperties, path)];
}
