import { describe, expect, it } from "vitest";
import { classify } from "../../../src/kube/classify.ts";
import { TransientError } from "../../../src/lib/errors.ts";
import { status } from "./fakeApiserver.ts";

const DOING = "create secrets in tenant-a";
const NOW = Date.parse("2026-01-01T00:00:00Z");
const classified = (code: number, text: string, headers: Record<string, string> = {}, secrets: string[] = []) =>
  classify({ status: code, headers: new Headers(headers), text }, DOING, NOW, secrets);

const rbac =
  'secrets is forbidden: User "x" cannot create resource "secrets" in API group "" in the namespace "tenant-a"';
const quota = 'secrets "k" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=5, limited: secrets=5';
const terminating = {
  details: { causes: [{ reason: "NamespaceTerminating", message: "namespace tenant-a is being terminated" }] },
};

describe("an answer of the API server", () => {
  it.each([
    ["409 AlreadyExists", 409, status(409, "AlreadyExists"), "conflict", "AlreadyExists"],
    ["409 Conflict", 409, status(409, "Conflict"), "conflict", "Conflict"],
    ["409 without a Status", 409, "conflict", "conflict", "Conflict"],
    ["401", 401, status(401, "Unauthorized"), "transient", "UpstreamUnavailable"],
    ["403 of RBAC", 403, status(403, "Forbidden", rbac), "terminal", "MissingPermission"],
    ["403 of a quota", 403, status(403, "Forbidden", quota), "terminal", "RequestRefused"],
    ["403 without a Status", 403, "<html>", "terminal", "MissingPermission"],
    [
      "403 in a dying namespace",
      403,
      status(403, "Forbidden", "dying", terminating),
      "transient",
      "NamespaceTerminating",
    ],
    ["422", 422, status(422, "Invalid"), "terminal", "RequestRefused"],
    ["400", 400, status(400, "BadRequest"), "terminal", "RequestRefused"],
    ["404", 404, status(404, "NotFound"), "transient", "NotFound"],
    ["408", 408, "", "transient", "UpstreamUnavailable"],
    ["410", 410, status(410, "Expired"), "transient", "UpstreamUnavailable"],
    ["429", 429, status(429, "TooManyRequests"), "transient", "UpstreamUnavailable"],
    ["500", 500, status(500, "InternalError"), "transient", "UpstreamUnavailable"],
    ["503 of a proxy", 503, "<html>", "transient", "UpstreamUnavailable"],
    ["302", 302, "", "transient", "UpstreamUnavailable"],
  ] as const)("%s has its class", (_name, code, text, errorClass, errorCode) => {
    const error = classified(code, text);
    expect([error.class, error.code]).toEqual([errorClass, errorCode]);
    expect(error).toMatchObject({ upstream: "kubernetes", upstreamStatus: code });
  });

  it("names verb and resource when we may not", () => {
    expect(classified(403, status(403, "Forbidden", rbac)).message).toContain(DOING);
    expect(classified(401, status(401, "Unauthorized")).message).toContain(DOING);
  });

  it("carries Retry-After", () => {
    const error = classified(429, status(429, "TooManyRequests"), { "retry-after": "3" });
    expect(error).toBeInstanceOf(TransientError);
    expect(error).toHaveProperty("retryAfterMs", 3000);
  });

  it("quotes no secret", () => {
    const error = classified(422, status(422, "Invalid", "bad value geheim123"), {}, ["geheim123"]);
    expect(error.message).toContain("bad value");
    expect(`${error.message} ${error.body}`).not.toContain("geheim123");
  });
});
