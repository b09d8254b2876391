import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { happeningOfCall, happeningOfStatement } from "../../crash/effects.ts";

const STORE = join(import.meta.dirname, "../../../src/store");
/** A statement as it stands in the code: its name, and its text to the end of the string. */
const STATEMENT = /name: "([a-z-]+)",\s*text:\s*(`[^`]*`|"[^"]*")/g;
/** A role other than the reconciler's, or a command, runs it. */
const ELSEWHERE = /^(admissions|operator|migrate)\.ts$/;

/** A change of a locked row, or of several, by the name that its statement begins with. */
const CHANGE = /(?:(?:writeRow|insertRow)\(\w+, |name: )"([a-z-]+)"(?:, \w+\.uuid|, uuid|, \{ uuid|,\s*condition:)/g;

const statements = readdirSync(STORE)
  .filter((file) => file.endsWith(".ts") && !ELSEWHERE.test(file))
  .flatMap((file) => {
    const source = readFileSync(join(STORE, file), "utf8");
    return [
      ...[...source.matchAll(STATEMENT)].map(([, name = "", text = ""]) => ({ name, text })),
      ...[...source.matchAll(CHANGE)].map(([, name = ""]) => ({ text: `/* ${name} */ update`, name: undefined })),
    ];
  });

describe("the registry of kill points", () => {
  it("knows every statement of the store by its name", () => {
    expect(statements.length).toBeGreaterThan(60);
    const unnamed = statements.filter((statement) => happeningOfStatement(statement, []) === undefined);
    expect(unnamed.map(({ name, text }) => name ?? text)).toEqual([]);
  });

  it("has a point where an event is marked as sent", () => {
    const sent = statements.find(({ text }) => text.includes("outbox set sent_at"));
    expect(sent && happeningOfStatement(sent, [])).toBe("postgres.sent");
  });

  it.each([
    ["DELETE", "/credentials/c1", "keycloak.removeCredential"],
    ["DELETE", "/federated-identity/google", "keycloak.unlinkProvider"],
    ["DELETE", "/consents/admin-cli", "keycloak.revokeConsent"],
    ["POST", "/logout", "keycloak.endSessions"],
    ["POST", "/impersonation", undefined],
  ])("calls %s .../users/id%s %s", (method, path, happening) => {
    expect(happeningOfCall(method, new URL(`http://k/admin/realms/r/users/id${path}`), "")).toBe(happening);
  });
});
