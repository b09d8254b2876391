import { NetworkError } from "@keycloak/keycloak-admin-client";
import { describe, expect, test } from "vitest";
import { classify, classifyRefusal, NOT_FOUND, notItsOwn } from "../../../src/keycloak/classify.ts";
import { TerminalError } from "../../../src/lib/errors.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");

function refused(status: number, data: unknown, headers: Record<string, string> = {}) {
  return classifyRefusal({ status, headers: new Headers(headers), data }, "creating a user", NOW);
}

describe("classify", () => {
  test.each([
    [409, { errorMessage: "User exists with same username" }, "conflict", "Conflict"],
    [
      400,
      { field: "email", errorMessage: "error-invalid-email", params: ["email", "x"] },
      "terminal",
      "RequestRefused",
    ],
    [500, { error: "unknown_error" }, "transient", "UpstreamUnavailable"],
    [503, "", "transient", "UpstreamUnavailable"],
    [429, { error: "slow down" }, "transient", "UpstreamUnavailable"],
    [404, { error: "Realm not found." }, "terminal", "RealmNotFound"],
    [404, { error: "Realm does not exist" }, "terminal", "RealmNotFound"],
    [404, { error: "User not found" }, "conflict", NOT_FOUND],
    [404, { error: "Could not find group by id" }, "conflict", NOT_FOUND],
    [404, { error: "Could not find role" }, "conflict", NOT_FOUND],
    [404, { error: "Unable to find matching target resource method" }, "terminal", "RequestRefused"],
    [404, { error: "HTTP 404 Not Found" }, "terminal", "RequestRefused"],
    [404, "<html>404</html>", "transient", "UpstreamUnavailable"],
    [404, "", "transient", "UpstreamUnavailable"],
    [401, { error: "HTTP 401 Unauthorized" }, "terminal", "CredentialsRefused"],
    [403, { error: "HTTP 403 Forbidden" }, "terminal", "CredentialsRefused"],
    [400, { error: "unauthorized_client" }, "terminal", "CredentialsRefused"],
    [403, "<html>blocked</html>", "transient", "UpstreamUnavailable"],
    [302, "", "transient", "UpstreamUnavailable"],
  ])("%i %j is %s %s", (status, data, kind, code) => {
    expect(refused(status, data)).toMatchObject({ class: kind, code, upstream: "keycloak", upstreamStatus: status });
  });

  test.each(["Could not create user.", "Could not update user! See server logs for more details."])(
    "400 %s is the realm's user storage that failed: tried again",
    (errorMessage) => {
      expect(refused(400, { errorMessage })).toMatchObject({ class: "transient", code: "RequestRefused" });
    },
  );

  test("says which field is wrong, one or several", () => {
    expect(refused(400, { field: "email", errorMessage: "error-invalid-email" }).message).toBe(
      "keycloak refused creating a user: email is not an address that Keycloak takes.",
    );
    const several = {
      errors: [
        { field: "username", errorMessage: "error-invalid-length" },
        { field: "team", errorMessage: "error-odd" },
      ],
    };
    expect(refused(400, several).message).toBe(
      "keycloak refused creating a user: username has a length that the realm does not allow; team (error-odd).",
    );
  });

  test("tells a client without service account and a disabled realm from a wrong secret", () => {
    const noAccount = {
      error: "unauthorized_client",
      error_description: "Client not enabled to retrieve service account",
    };
    expect(refused(401, noAccount).message).toContain("Service accounts roles");
    expect(refused(403, { error: "access_denied", error_description: "Realm not enabled" }).message).toContain(
      "disabled",
    );
    expect(refused(401, { error: "invalid_client" }).message).toContain("credential Secret");
  });

  test("obeys Retry-After", () => {
    expect(refused(429, {}, { "retry-after": "7" })).toMatchObject({ retryAfterMs: 7000 });
  });

  test("keeps what is classified already, and reads the library's error", () => {
    const known = new TerminalError({ code: "X", message: "x" });
    expect(classify(known, "y", NOW)).toBe(known);
    const error = new NetworkError("x", {
      response: new Response(null, { status: 409 }),
      responseData: { errorMessage: "User exists with same email" },
    });
    expect(classify(error, "creating a user", NOW)).toMatchObject({ class: "conflict", upstreamStatus: 409 });
  });

  test("takes everything else for no answer", () => {
    expect(classify(new TypeError("fetch failed", { cause: new Error("ECONNREFUSED") }), "x", NOW)).toMatchObject({
      class: "transient",
      message: expect.stringContaining("ECONNREFUSED"),
    });
    expect(classify(new DOMException("", "TimeoutError"), "x", NOW).message).toContain("within 10 s");
    expect(classify("odd", "x", NOW).class).toBe("transient");
    expect(notItsOwn("x", "<html>").class).toBe("transient");
  });

  test("shows no secret", () => {
    const error = refused(400, { error: "bad", error_description: "Bearer abcdefgh.123", client_secret: "hush" });
    expect(`${error.message} ${error.body}`).not.toMatch(/abcdefgh|hush/);
  });
});
