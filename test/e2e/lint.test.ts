/** Lint and the cluster are of one mind: generated manifests, asked of both. SEED repeats a run, RUNS makes it longer. */
import fc from "fast-check";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import * as z from "zod";

import { API_VERSION, LABEL_TENANT } from "../../src/api/meta.ts";
import { objectPath } from "../../src/kube/objects.ts";
import type { Answer } from "../support/apiServer.ts";
import { lintFolder, lintWith } from "../support/lint.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import type { TestTenant } from "../support/tenant.ts";
import { cases, objectOf } from "../unit/api/cases.ts";

const SEED = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
const RUNS = Number(process.env["RUNS"] ?? 300);

let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("lint");
});
afterAll(() => platform?.close());

type Manifest = Readonly<Record<string, unknown>>;

const users = cases.filter(({ kind }) => kind === "TenantUser");
const well = users.filter(({ verdict }) => verdict.length === 0);
const wrong = users.filter(({ verdict }) => verdict.length > 0);
const one = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...well) },
  { weight: 1, arbitrary: fc.constantFrom(...wrong) },
);

const anything: fc.Arbitrary<unknown> = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.boolean(),
  fc.constant(null),
  fc.constantFrom("true", "5", "7d", "ada@example.com", "newapi-key-x", [], {}, ["a"], { a: "b" }, { a: null }, [null]),
);
const PLACES = `
  spec spec.email spec.displayName spec.enabled spec.userUUID spec.groups spec.attributes spec.newapi spec.newapi.quota
  spec.newapi.tier spec.secret spec.secret.keys spec.secret.labels spec.key spec.key.generation spec.key.overlap
  spec.colour metadata.labels metadata.labels.a metadata.annotations metadata.annotations.a metadata.finalizers
  metadata.colour colour`;
const somewhere = fc.constantFrom(...PLACES.trim().split(/\s+/));
const keys = fc.constantFrom("team", "example.com/team", "a..b/c", "A/b", "EXAMPLE.com/x", "a/b/c", "", "a b", "x_y.z");
const metadata = fc.record(
  {
    name: fc.constantFrom("ada", "ada", "ada-2.x", "Ada", "a_b", "a..b", "-a", "1", "a".repeat(253), "a".repeat(254)),
    labels: fc.dictionary(keys, fc.constantFrom("", "x", "a b", "-", "a".repeat(63), "a".repeat(64)), { maxKeys: 1 }),
    annotations: fc.dictionary(keys, fc.constantFrom("", "x y\nz"), { maxKeys: 1 }),
    finalizers: fc.constantFrom(["example.com/x"], ["a/b/c"], []),
  },
  { requiredKeys: ["name"] },
);

function merged(base: unknown, patch: unknown): unknown {
  const both = z.record(z.string(), z.unknown()).array().safeParse([base, patch]).data;
  if (both === undefined) return patch;
  const [left = {}, right = {}] = both;
  return {
    ...left,
    ...Object.fromEntries(Object.entries(right).map(([key, value]) => [key, merged(left[key], value)])),
  };
}

const put = (path: string, value: unknown): Manifest =>
  z
    .record(z.string(), z.unknown())
    .parse(path.split(".").reduceRight<unknown>((inner, key) => ({ [key]: inner }), value));

const manifests: fc.Arbitrary<Manifest> = fc
  .record({
    patches: fc.array(one, { maxLength: 3 }),
    metadata: fc.oneof({ weight: 3, arbitrary: fc.constant({ name: "ada" }) }, { weight: 1, arbitrary: metadata }),
    stray: fc.option(fc.tuple(somewhere, anything), { freq: 2 }),
    label: fc.constantFrom(undefined, undefined, undefined, "ours", "theirs"),
  })
  .map(({ patches, metadata: meta, stray, label }) => {
    const labels = label === undefined ? {} : { labels: { [LABEL_TENANT]: label } };
    const start: unknown = {
      ...objectOf({ name: "", kind: "TenantUser", patch: {}, verdict: [] }),
      metadata: merged(meta, labels),
    };
    const spec = patches.reduce((all, { patch }) => merged(all, { spec: patch }), start);
    const whole = stray === null ? spec : merged(spec, put(...stray));
    // As a file has it: nothing is undefined.
    return z.record(z.string(), z.unknown()).parse(JSON.parse(JSON.stringify(whole)));
  });

/** The label's value is the tenant's own id, which is made up at the start. */
const named = (manifest: Manifest): Manifest =>
  z
    .record(z.string(), z.unknown())
    .parse(
      JSON.parse(JSON.stringify(manifest).replaceAll(`"${LABEL_TENANT}":"ours"`, `"${LABEL_TENANT}":"${tenant.id}"`)),
    );

/** As Flux asks before it applies. */
function dryRun(manifest: Manifest, namespace: string): Promise<Answer> {
  const name = z.looseObject({ metadata: z.looseObject({ name: z.coerce.string() }) }).safeParse(manifest).data
    ?.metadata.name;
  const path = objectPath("TenantUser", { namespace, name: encodeURIComponent(name ?? "ada") });
  const query = "dryRun=All&fieldManager=kustomize-controller&force=true";
  return platform.api.send("PATCH", `${path}?${query}`, manifest, "application/apply-patch+yaml");
}

const findings = z.array(z.object({ severity: z.enum(["error", "warning"]), rule: z.string(), message: z.string() }));

/** What lint says to the same text; what the Tenant does not allow is the reconciler's, no dry-run knows it. */
async function linted(manifest: Manifest, ...args: readonly string[]) {
  const { out } = await lintWith({ stdin: JSON.stringify(manifest) }, "-", "--format=json", ...args);
  const found = findings.parse(JSON.parse(out.join("\n"))).filter(({ rule }) => rule !== "NotAllowed");
  const of = (wanted: string) => found.filter(({ severity }) => severity === wanted).map(({ message }) => message);
  return { errors: of("error"), warnings: of("warning") };
}

async function tenantFile(): Promise<string> {
  const { spec } = await tenant.tenant();
  const text = stringify({ apiVersion: API_VERSION, kind: "Tenant", metadata: { name: tenant.id }, spec });
  const made = lintFolder({ "tenant.yaml": text });
  return `--tenant=${made.dir}/tenant.yaml`;
}

describe("a manifest", () => {
  it("that lint passes the cluster takes, and what lint finds it refuses", async () => {
    console.log(`SEED=${SEED} RUNS=${RUNS}`);
    const file = await tenantFile();
    const seen = { taken: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(manifests, async (generated) => {
        const manifest = named(generated);
        const answer = await dryRun(manifest, tenant.namespace);
        const { errors, warnings } = await linted(manifest, file, `--namespace=${tenant.namespace}`);
        seen[answer.status < 300 ? "taken" : "refused"] += 1;
        const taken = answer.status < 300;
        assert.deepEqual(
          { taken, warnings: answer.warnings },
          { taken: errors.length === 0, warnings },
          JSON.stringify([errors, answer.body]),
        );
      }),
      { seed: SEED, numRuns: RUNS },
    );
    // Neither side of it by chance.
    expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(RUNS / 10);
  }, 600_000);

  it("in a namespace that no Tenant claims gets the same warning from both", async () => {
    const manifest = objectOf({ name: "", kind: "TenantUser", patch: {}, verdict: [] }, "ada");
    const { warnings, status } = await dryRun(manifest, "default");
    expect(status).toBeLessThan(300);
    expect(warnings).toEqual([
      "no Tenant claims namespace default: this user waits until the platform's operator adds it to one",
    ]);
    expect((await linted(manifest, await tenantFile(), "--namespace=default")).warnings).toEqual(warnings);
  });
});
