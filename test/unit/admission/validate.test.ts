import { describe, expect, test } from "vitest";
import { answerRequest } from "../../../src/admission/answer.ts";
import { parseReview } from "../../../src/admission/review.ts";
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT, LABEL_TENANT } from "../../../src/api/meta.ts";
import { candidateUUID } from "../../../src/api/names.ts";
import type { AdmissionCandidate, CandidateRecord } from "../../../src/store/admissions.ts";
import { knownTenant, type ReviewAnswer, type ReviewOptions, reviewOf, userObject } from "../../support/admission.ts";

const ACME = knownTenant("acme", { limits: { maxUsers: 3 } });
const CLEAN: CandidateRecord = { inserted: true, touched: false, heldBy: undefined, full: false };

interface World {
  readonly loaded?: boolean;
  readonly record?: CandidateRecord | "down";
}

async function validate(options: ReviewOptions, world: World = {}) {
  const recorded: AdmissionCandidate[] = [];
  const parsed = parseReview(
    { "content-type": "application/json" },
    { bytes: Buffer.from(JSON.stringify(reviewOf(options))) },
  );
  if ("refusal" in parsed) throw new Error(parsed.refusal.message);
  const answer = await answerRequest("validate", parsed.request, {
    tenants: {
      lookup: (namespace) => (namespace === "tenant-a" && world.loaded !== false ? ACME : undefined),
      loaded: world.loaded ?? true,
    },
    record: async (candidate) => {
      recorded.push(candidate);
      return world.record === "down" ? undefined : (world.record ?? CLEAN);
    },
  });
  const { response } = JSON.parse(answer.body) as ReviewAnswer;
  return { ...response, recorded, outcome: answer.outcome };
}

const PIN4 = "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90";
const EMAIL_FORM =
  "spec.email: must be one email address such as ada@example.com, in plain ASCII; write an international domain in its xn-- form";
const UUID_FORM = `spec.userUUID: must be a uuid in lower case, such as ${PIN4}; leave the field out unless a certain uuid is needed`;
const RESERVED =
  "spec.attributes: must not contain names beginning with sme_: they are reserved for the service's own marks";

describe("what can never be righted is denied, with 403 and one sentence", () => {
  test.each([
    ["a bad email", { email: "ada" }, EMAIL_FORM],
    ["a reserved attribute", { attributes: { sme_tenant_id: ["other"] } }, RESERVED],
    ["a malformed uuid", { userUUID: "42" }, UUID_FORM],
    ["two at once", { email: "ada", userUUID: "42" }, `${EMAIL_FORM}; ${UUID_FORM}`],
  ])("%s", async (_what, spec, message) => {
    const answer = await validate({ spec });
    expect(answer).toMatchObject({ allowed: false, status: { code: 403, message }, recorded: [], outcome: "denied" });
  });

  test("another value of the tenant's label", async () => {
    const answer = await validate({ metadata: { labels: { [LABEL_TENANT]: "globex" } } });
    expect(answer.status).toEqual({
      code: 403,
      message:
        "metadata.labels[catalyst.openova.io/sme-tenant]: must be acme, the tenant of this namespace; leave the label out, it is set by the service",
    });
    expect((await validate({ metadata: { labels: { [LABEL_TENANT]: "acme" } } })).allowed).toBe(true);
  });
});

describe("what passes by itself is admitted", () => {
  test("with a warning while another object has the email", async () => {
    const record = { ...CLEAN, heldBy: { namespace: "tenant-a", name: "ada-old" } };
    const answer = await validate({ spec: { email: " Ada@Example.com" } }, { record });
    expect(answer).toMatchObject({ allowed: true, outcome: "warned" });
    expect(answer.warnings).toEqual([
      "ada@example.com still belongs to TenantUser ada-old: this user waits until it is free",
    ]);
  });

  test("with a warning while the tenant is full", async () => {
    expect((await validate({}, { record: { ...CLEAN, full: true } })).warnings).toEqual([
      "the tenant has all 3 users that it may have: this user waits until one is removed or the limit is raised",
    ]);
  });

  test("with a warning where no Tenant claims the namespace, and nothing is recorded", async () => {
    const answer = await validate({ namespace: "elsewhere" });
    expect(answer).toMatchObject({ allowed: true, recorded: [] });
    expect(answer.warnings).toEqual([
      "no Tenant claims namespace elsewhere: this user waits until the platform's operator adds it to one",
    ]);
  });

  test.each<[string, World]>([
    ["Postgres is down", { record: "down" }],
    ["the tenants were never read", { loaded: false }],
  ])("with a warning while %s", async (_when, world) => {
    const answer = await validate({}, world);
    expect(answer).toMatchObject({ allowed: true, outcome: "unrecorded" });
    expect(answer.warnings).toEqual([
      "the request was not recorded yet, its database does not answer: it is carried out as soon as that is back",
    ]);
  });

  test("however wrong, while it is being deleted", async () => {
    const metadata = { deletionTimestamp: "2026-01-01T00:00:00Z" };
    const answer = await validate({ operation: "UPDATE", metadata, spec: { email: "ada" } });
    expect(answer).toMatchObject({ allowed: true, recorded: [] });
  });

  test("with an old mistake that this update leaves as it was, not with a new one", async () => {
    const old = userObject({ spec: { email: "ada", displayName: "Ada" } });
    const edited = { ...old, spec: { ...old.spec, displayName: "Ada L." } };
    expect((await validate({ operation: "UPDATE", object: edited, oldObject: old })).allowed).toBe(true);
    const worse = { ...old, spec: { ...old.spec, email: "eve" } };
    expect((await validate({ operation: "UPDATE", object: worse, oldObject: old })).status?.message).toBe(EMAIL_FORM);
  });

  test("with a field that a newer CRD has and this program does not know", async () => {
    expect((await validate({ spec: { inTheFuture: true } })).allowed).toBe(true);
  });

  test.each(["DELETE", "CONNECT"])("on %s, and nothing is done", async (operation) => {
    expect(await validate({ operation })).toMatchObject({ allowed: true, recorded: [], outcome: "allowed" });
  });

  test("when it is another kind", async () => {
    expect(await validate({ kind: "Tenant" })).toMatchObject({ allowed: true, recorded: [] });
  });
});

describe("what is recorded", () => {
  const uid = "7b1f2c3d-0000-4000-8000-000000000001";

  test("the uuid that follows from tenant and email, and whose it is", async () => {
    const requestUID = "7b1f2c3d-0000-4000-8000-0000000000aa";
    const { recorded } = await validate({ uid: requestUID, metadata: { uid }, spec: { email: "Ada@Example.com" } });
    expect(recorded).toEqual([
      {
        uuid: candidateUUID("acme", "ada@example.com"),
        tenantID: "acme",
        email: "ada@example.com",
        objectUID: uid,
        namespace: "tenant-a",
        name: "ada",
        isNew: true,
        maxUsers: 3,
        cause: { requestUID },
      },
    ]);
  });

  test.each([
    ["another spec", { spec: { displayName: "Ada" } }, true],
    ["a request to reconcile", { metadata: { annotations: { [ANNOTATION_REQUESTED_AT]: "now" } } }, true],
    ["a request to rotate", { metadata: { annotations: { [ANNOTATION_ROTATE_REQUESTED_AT]: "now" } } }, true],
    ["metadata of others", { metadata: { labels: { team: "a" }, annotations: { note: "x" } } }, false],
  ])("of an update with %s, whether it asks for work", async (_what, change, asks) => {
    const { recorded } = await validate({ operation: "UPDATE", oldObject: userObject(), ...change });
    expect(recorded).toHaveLength(1);
    expect(recorded[0]?.cause !== undefined).toBe(asks);
  });

  test("no request uid that the API server would not give", async () => {
    expect((await validate({ uid: "'; drop table" })).recorded).toMatchObject([{ cause: undefined }]);
  });

  test("the pin, where it is a version-4 uuid", async () => {
    expect((await validate({ spec: { userUUID: PIN4 } })).recorded[0]?.uuid).toBe(PIN4);
  });

  test("no new row under a uuid that must be somebody's already", async () => {
    const userUUID = candidateUUID("globex", "eve@example.com");
    expect((await validate({ spec: { userUUID } })).recorded[0]?.uuid).toBeUndefined();
  });

  test("nothing in a dry-run, whose verdict is the same", async () => {
    const down = { record: "down" } as const;
    expect(await validate({ dryRun: true }, down)).toMatchObject({ allowed: true, recorded: [], outcome: "allowed" });
    expect((await validate({ dryRun: true, spec: { email: "ada" } })).status?.message).toBe(EMAIL_FORM);
  });

  test("the size of the tenant is asked for only when an object is new", async () => {
    const answer = await validate({ operation: "UPDATE", oldObject: userObject() });
    expect(answer.recorded[0]?.maxUsers).toBeUndefined();
  });
});
