import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answerRequest } from "../../../src/admission/answer.ts";
import { allow, deny, LARGEST_BODY, parseReview } from "../../../src/admission/review.ts";
import { knownTenant, type ReviewAnswer, reviewOf } from "../../support/admission.ts";

const JSON_TYPE = { "content-type": "application/json" };
const parse = (value: unknown) => parseReview(JSON_TYPE, { bytes: Buffer.from(JSON.stringify(value)) });
const message = (parsed: ReturnType<typeof parseReview>) => ("refusal" in parsed ? parsed.refusal : undefined);

describe("parseReview", () => {
  test("reads a request", () => {
    expect(parse(reviewOf({ uid: "u1", operation: "UPDATE", dryRun: true, object: { a: 1 } }))).toEqual({
      request: {
        uid: "u1",
        operation: "UPDATE",
        group: "catalyst.openova.io",
        kind: "TenantUser",
        subResource: "",
        namespace: "tenant-a",
        name: "ada",
        dryRun: true,
        object: { a: 1 },
        oldObject: undefined,
      },
    });
  });

  test.each([
    ["another kind", { ...reviewOf({ uid: "u1" }), kind: "Review" }, "u1"],
    ["another version", { ...reviewOf({ uid: "u1" }), apiVersion: "admission.k8s.io/v1beta1" }, "u1"],
    ["a list", [], ""],
    ["a number", 1, ""],
    ["null", null, ""],
  ])("refuses %s, with the uid where there is one", (_what, value, uid) => {
    expect(message(parse(value))).toEqual({
      uid,
      code: 400,
      message: "The body is not an AdmissionReview of admission.k8s.io/v1.",
    });
  });

  test("refuses a request without a uid", () => {
    const { request: _, ...review } = reviewOf();
    expect(message(parse(review))?.message).toBe("The AdmissionReview has no request with a uid.");
  });

  test("refuses a request that does not say what it is about", () => {
    const review = { ...reviewOf(), request: { uid: "u1" } };
    expect(message(parse(review))).toEqual({
      uid: "u1",
      code: 400,
      message: "The request of the AdmissionReview does not say its operation and kind.",
    });
  });

  test("finds the uid in a body that is cut off, or too large to read", () => {
    const start = Buffer.from(
      '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-7","ki',
    );
    expect(message(parseReview(JSON_TYPE, { bytes: start }))).toMatchObject({ uid: "u-7", code: 400 });
    expect(message(parseReview(JSON_TYPE, { start }))).toMatchObject({ uid: "u-7", code: 413 });
    expect(LARGEST_BODY).toBe(8_388_608);
  });

  test.each(["application/json", "application/json; charset=utf-8", "Application/JSON"])("takes %s", (type) => {
    const parsed = parseReview({ "content-type": type }, { bytes: Buffer.from(JSON.stringify(reviewOf())) });
    expect(parsed).toHaveProperty("request");
  });

  test("is total: any bytes, any headers", () => {
    const bodies = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
    );
    const text = fc.option(fc.oneof(fc.string(), fc.constant("application/json")), { nil: undefined });
    fc.assert(
      fc.property(bodies, text, text, (bytes, type, encoding) => {
        const parsed = parseReview({ "content-type": type, "content-encoding": encoding }, { bytes });
        const body = "refusal" in parsed ? deny(parsed.refusal.uid, 400, parsed.refusal.message) : allow("x");
        expect(JSON.parse(body)).toMatchObject({
          kind: "AdmissionReview",
          response: { uid: expect.any(String) as string },
        });
      }),
    );
  });
});

describe("answerRequest", () => {
  test("is total: any request gets a well-formed answer with its uid", async () => {
    const deps = {
      tenants: { lookup: () => knownTenant(), loaded: true },
      record: async () => ({ inserted: true, touched: false, heldBy: undefined, full: false }),
    };
    const junk = fc.jsonValue();
    const metadata = fc.oneof(
      junk,
      fc.record({ name: junk, uid: junk, labels: junk, finalizers: junk, deletionTimestamp: junk }),
    );
    const specs = fc.oneof(
      junk,
      fc.record({ email: junk, attributes: junk, userUUID: junk, groups: junk, secret: junk }),
    );
    const objects = fc.oneof(junk, fc.record({ metadata, spec: specs }));
    const requests = fc.record({
      uid: fc.string({ minLength: 1 }),
      kind: fc.constant({ group: "catalyst.openova.io", version: "v1alpha1", kind: "TenantUser" }),
      operation: fc.constantFrom("CREATE", "UPDATE", "DELETE", "CONNECT", "?"),
      namespace: junk,
      dryRun: junk,
      object: objects,
      oldObject: objects,
    });
    await fc.assert(
      fc.asyncProperty(requests, fc.constantFrom("mutate" as const, "validate" as const), async (request, path) => {
        const parsed = parse({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request });
        if ("refusal" in parsed) throw new Error(parsed.refusal.message);
        const { response, ...envelope } = JSON.parse(
          (await answerRequest(path, parsed.request, deps)).body,
        ) as ReviewAnswer;
        expect(envelope).toEqual({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" });
        expect(response.uid).toBe(request.uid);
        expect(response.allowed || /\S/.test(response.status?.message ?? "")).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
