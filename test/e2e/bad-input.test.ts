/** What a tenant can get wrong, and the very sentence that they read. Nothing here may reach an upstream. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";

import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import { reviewOf, type WebhookClient } from "../support/admission.ts";
import type { Answer } from "../support/apiServer.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import { connectWebhook } from "../support/stackWebhook.ts";
import type { TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("input", { patch: { allow: { emailDomains: ["allowed.example"] } } });
});
afterAll(() => platform?.close());

const messageOf = (answer: Answer): string => z.object({ message: z.string() }).parse(answer.body).message;
const email = "ada@allowed.example";

const notAllowed = (what: string, list: string): string =>
  `${what} is not allowed for this tenant; remove it, or ask the platform to add it to ${list} of the Tenant.`;

describe("the API server refuses", () => {
  const refused = (path: string, value: string, message: string): string =>
    `TenantUser.catalyst.openova.io "bad" is invalid: ${path}: Invalid value: ${value}${message}`;

  it.each<[what: string, spec: Record<string, unknown>, sentence: string]>([
    [
      "an email that is none",
      { email: "ada at example" },
      refused(
        "spec.email",
        '"ada at example": ',
        "must be one email address such as ada@example.com, in plain ASCII; write an international domain in its xn-- form",
      ),
    ],
    [
      "an attribute that is reserved",
      { email, attributes: { sme_tenant_id: ["other"] } },
      refused(
        "spec.attributes",
        "",
        "must not contain names beginning with sme_: they are reserved for the service's own marks",
      ),
    ],
    [
      "a uuid that is none",
      { email, userUUID: "42" },
      refused(
        "spec.userUUID",
        '"42": ',
        "must be a uuid in lower case, such as 0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90; leave the field out unless a certain uuid is needed",
      ),
    ],
    [
      "a field that does not exist",
      { email, emial: "x" },
      `failed to create typed patch object (/bad; catalyst.openova.io/v1alpha1, Kind=TenantUser): .spec.emial: field not declared in schema`,
    ],
  ])("%s, in one sentence", async (_what, spec, sentence) => {
    for (const dryRun of [true, false]) {
      const answer = await tenant.apply("bad", spec, { dryRun });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(messageOf(answer)).toBe(sentence);
    }
    expect(await tenant.user("bad")).toBeUndefined();
  });
});

describe("the reconciler refuses what the Tenant does not allow", () => {
  it.each<[what: string, spec: Record<string, unknown>, sentence: string]>([
    ["a group", { groups: ["/realm-admins"] }, notAllowed('Group "/realm-admins"', "allow.groups")],
    ["a realm role", { realmRoles: ["admin"] }, notAllowed('Realm role "admin"', "allow.realmRoles")],
    ["a tier", { newapi: { tier: "gold" } }, notAllowed('Tier "gold"', "allow.tiers")],
    [
      "a Secret name",
      { secret: { name: "database-password" } },
      notAllowed('Secret name "database-password"', "allow.secretPrefixes"),
    ],
    [
      "an email domain",
      { email: "ada@elsewhere.example" },
      notAllowed('Email domain "elsewhere.example"', "allow.emailDomains"),
    ],
    ["an attribute", { attributes: { role: ["root"] } }, notAllowed('Attribute "role"', "allow.attributes")],
    ["a quota", { newapi: { quota: 1_000_000 } }, notAllowed('Quota "1000000"', "limits.maxQuota")],
    [
      "an annotation of the Secret",
      { secret: { annotations: { "reflector.v1.k8s.emberstack.com/reflection-allowed": "true" } } },
      notAllowed(
        'Secret label or annotation "reflector.v1.k8s.emberstack.com/reflection-allowed"',
        "allow.secretMetadata",
      ),
    ],
  ])("%s: Stalled NotAllowed, in one sentence, and nobody is made", async (what, spec, sentence) => {
    const name = `refused-${what.replaceAll(/[^a-z]/gi, "-").toLowerCase()}`;
    expect((await tenant.apply(name, { email: `${name}@allowed.example`, ...spec })).status).toBe(201);
    const stalled = await tenant.says(name, "Stalled", "True", "NotAllowed");
    expect(stalled.message).toBe(sentence);
    const ready = await tenant.says(name, "Ready", "False", "NotAllowed");
    expect(ready.message).toBe(sentence);
    const uuid = (await tenant.user(name))?.status?.userUUID ?? "";
    expect(await tenant.keycloakUsers(uuid)).toEqual([]);
    expect(await tenant.accounts(uuid)).toEqual([]);
  });
});

describe("admitted with a warning, and waiting", () => {
  it("an email that another object holds: the second waits, and is Ready when the first is gone", async () => {
    await tenant.apply("first", { email: "shared@allowed.example" });
    const first = await tenant.person("first");
    const answer = await tenant.apply("second", { email: "Shared@Allowed.example" });
    expect(answer.status).toBe(201);
    // In the tenant's own namespace its name is enough.
    expect(answer.warnings).toEqual([
      "shared@allowed.example still belongs to TenantUser first: this user waits until it is free",
    ]);
    const { message } = await tenant.says("second", "Ready", "False", "EmailInUse");
    expect(message).toBe(
      "shared@allowed.example belongs to TenantUser first; this one takes its place when that one is deleted or changes its email.",
    );
    await tenant.says("second", "Reconciling", "True", "EmailInUse");
    await tenant.remove("first");
    expect(await tenant.person("second")).toEqual(first);
  });

  it("more people than the Tenant allows: the last one waits, and is Ready when one is gone", async () => {
    const small = await platform.tenant("quota", { patch: { limits: { maxUsers: 1 } } });
    await small.apply("first");
    await small.ready("first");
    const answer = await small.apply("second");
    expect(answer.status).toBe(201);
    expect(answer.warnings).toEqual([
      "the tenant has all 1 users that it may have: this user waits until one is removed or the limit is raised",
    ]);
    const { message } = await small.says("second", "Ready", "False", "QuotaFull");
    expect(message).toBe("This tenant has its 1 users; delete one, or ask the platform to raise limits.maxUsers.");
    await small.says("second", "Reconciling", "True", "QuotaFull");
    await small.remove("first");
    await small.person("second");
  });

  it("a namespace that no Tenant claims: the person waits, and is Ready when one does", async () => {
    const late = await platform.tenant("late");
    const { apiVersion, kind, metadata, spec } = await late.tenant();
    const path = objectPath("Tenant", { name: metadata.name });
    await platform.api.send("DELETE", path);
    const sentence = `no Tenant claims namespace ${late.namespace}: this user waits until the platform's operator adds it to one`;
    // The webhook hears of it a moment later.
    await soon(async () => assert.deepEqual((await late.apply("early", {}, { dryRun: true })).warnings, [sentence]));

    const answer = await late.apply("early");
    expect(answer.status).toBe(201);
    expect(answer.warnings).toEqual([sentence]);
    const { message } = await late.says("early", "Ready", "False", "NoTenant");
    expect(message).toBe(`No Tenant claims namespace "${late.namespace}". Ask the platform to add it to one.`);
    await late.says("early", "Reconciling", "True", "NoTenant");

    const again = { apiVersion, kind, metadata: { name: metadata.name }, spec };
    expect((await platform.api.send("POST", collectionPath("Tenant"), again)).status).toBe(201);
    await late.person("early");
  });
});

describe("the webhook's own door", () => {
  let webhook: WebhookClient;

  beforeAll(async () => {
    webhook = await connectWebhook(platform, "admission");
  });
  afterAll(() => webhook?.close());

  it("answers a body of 8 MB and more with a denial that bears its uid", async () => {
    const review = reviewOf({ spec: { displayName: "x".repeat(8 * 1024 * 1024) } });
    const { status, answer } = await webhook.send("/validate", review);
    expect(status).toBe(200);
    expect(answer).toEqual({
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      response: {
        uid: review.request.uid,
        allowed: false,
        status: { code: 413, message: "The request is larger than 8 MiB; make the object smaller." },
      },
    });
  });

  it.each<[what: string, body: unknown, sentence: string]>([
    [
      "that is not JSON",
      "kind: AdmissionReview",
      "The body is not JSON; send an AdmissionReview of admission.k8s.io/v1.",
    ],
    [
      "of another kind",
      { kind: "Pod", apiVersion: "v1" },
      "The body is not an AdmissionReview of admission.k8s.io/v1.",
    ],
    [
      "without a request",
      { kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1" },
      "The AdmissionReview has no request with a uid.",
    ],
  ])("answers a body %s with a denial that says so", async (_what, body, message) => {
    for (const path of ["/mutate", "/validate"]) {
      const { status, answer } = await webhook.send(path, body);
      expect(status).toBe(200);
      expect(answer.response).toEqual({ uid: "", allowed: false, status: { code: 400, message } });
    }
  });

  it("answers a wrong content type with a denial that says so", async () => {
    const review = reviewOf();
    const { status, answer } = await webhook.send("/validate", review, { headers: { "content-type": "text/plain" } });
    expect(status).toBe(200);
    expect(answer.response).toEqual({
      uid: review.request.uid,
      allowed: false,
      status: { code: 415, message: 'The content type must be application/json, it is "text/plain".' },
    });
  });
});
