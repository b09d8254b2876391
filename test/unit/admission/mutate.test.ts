import fc from "fast-check";
import jsonPatch, { type Operation } from "fast-json-patch";
import { describe, expect, test } from "vitest";
import { mutate } from "../../../src/admission/mutate.ts";
import { type JSONObject, isObject } from "../../../src/lib/json.ts";
import { FINALIZER, LABEL_TENANT } from "../../../src/api/meta.ts";
import { userObject } from "../../support/admission.ts";

function patched(object: JSONObject, tenant: string | undefined): JSONObject {
  const copy = structuredClone(object);
  return jsonPatch.applyPatch(copy, mutate(object, tenant) as Operation[]).newDocument;
}

const words = fc.stringMatching(/^[a-z]{1,8}([/.~-][a-z]{1,5})?$/);
const metadata = fc.record(
  {
    name: words,
    labels: fc.option(fc.dictionary(fc.oneof(words, fc.constant(LABEL_TENANT)), words)),
    annotations: fc.dictionary(words, fc.string()),
    finalizers: fc.option(fc.array(fc.oneof(words, fc.constant(FINALIZER)), { maxLength: 4 })),
    deletionTimestamp: fc.option(fc.constant("2026-01-01T00:00:00Z")),
  },
  { requiredKeys: ["name"] },
);
const objects = fc.record({ metadata, spec: fc.record({ email: fc.emailAddress() }), status: fc.jsonValue() });
const tenants = fc.option(fc.stringMatching(/^[a-z]{1,10}$/), { nil: undefined });

/** Every path of `before` that is not the same in `after`. Finalizers count as a set, as the API server takes them. */
function changes(before: unknown, after: unknown, path = ""): string[] {
  if (path === "/metadata/finalizers" && Array.isArray(before) && Array.isArray(after)) {
    return before.every((item) => after.includes(item)) ? [] : [path];
  }
  if (isObject(before) && isObject(after)) {
    return Object.entries(before).flatMap(([key, value]) => changes(value, after[key], `${path}/${key}`));
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [path];
}

describe("mutate", () => {
  test("gives a bare object the finalizer and its tenant's label", () => {
    expect(mutate(userObject(), "acme")).toEqual([
      { op: "add", path: "/metadata/finalizers", value: [FINALIZER] },
      { op: "add", path: "/metadata/labels", value: { [LABEL_TENANT]: "acme" } },
    ]);
  });

  test("adds beside what is there", () => {
    const object = userObject({ metadata: { finalizers: ["x/y"], labels: { team: "red" } } });
    expect(mutate(object, "acme")).toEqual([
      { op: "add", path: `/metadata/labels/${LABEL_TENANT.replace("/", "~1")}`, value: "acme" },
      { op: "add", path: "/metadata/finalizers/1", value: FINALIZER },
    ]);
  });

  test("leaves the label out while the tenant is unknown", () => {
    expect(mutate(userObject(), undefined).map((operation) => operation.path)).toEqual(["/metadata/finalizers"]);
  });

  test("is idempotent", () => {
    fc.assert(
      fc.property(objects, tenants, (object, tenant) => {
        expect(mutate(patched(object, tenant), tenant)).toEqual([]);
      }),
    );
  });

  test("is deterministic and leaves its input alone", () => {
    fc.assert(
      fc.property(objects, tenants, (object, tenant) => {
        const before = structuredClone(object);
        expect(mutate(object, tenant)).toEqual(mutate(structuredClone(object), tenant));
        expect(object).toEqual(before);
      }),
    );
  });

  test("never changes what Git wrote", () => {
    fc.assert(
      fc.property(objects, tenants, (object, tenant) => {
        // null where a list or a map belongs is nothing at all to the API server.
        const bare = { finalizers: object.metadata.finalizers ?? [], labels: object.metadata.labels ?? {} };
        const before = { ...object, metadata: { ...object.metadata, ...bare } };
        expect(changes(before, patched(before, tenant))).toEqual([]);
      }),
    );
  });

  test("never adds the finalizer to an object that is being deleted", () => {
    fc.assert(
      fc.property(objects, tenants, (object, tenant) => {
        const deleting = { ...object, metadata: { ...object.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } };
        expect(mutate(deleting, tenant)).toEqual([]);
      }),
    );
  });

  test("always leaves a living object with the finalizer", () => {
    fc.assert(
      fc.property(objects, tenants, (object, tenant) => {
        const { deletionTimestamp: _, ...living } = object.metadata;
        expect(patched({ ...object, metadata: living }, tenant)).toMatchObject({
          metadata: { finalizers: expect.arrayContaining([FINALIZER]) as string[] },
        });
      }),
    );
  });

  test("takes anything for an object without failing", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), tenants, (object, tenant) => {
        expect(mutate(object, tenant)).toBeInstanceOf(Array);
        expect(mutate({ ...object, metadata: object }, tenant)).toBeInstanceOf(Array);
      }),
    );
  });
});
