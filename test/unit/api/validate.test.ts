import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Kind } from "../../../src/api/meta.ts";
import { rulesOf } from "../../../src/api/rules/index.ts";
import { sentence, validateTenant, validateTenantUser, type Violation } from "../../../src/api/validate.ts";
import { cases, changes, objectOf } from "./cases.ts";

const KINDS: readonly Kind[] = ["TenantUser", "Tenant"];
const check = { TenantUser: validateTenantUser, Tenant: validateTenant };
const verdictOf = (violations: readonly Violation[]) =>
  violations.map(({ path, rule }) => `${path} ${rule}`).toSorted();

describe("the offline check", () => {
  it.each(cases)("$kind: judges $name", (item) => {
    expect(verdictOf(check[item.kind](objectOf(item)))).toEqual(item.verdict.toSorted());
  });

  it.each(changes)("judges the change to $name", ({ before, after, verdict }) => {
    expect(verdictOf(validateTenant(objectOf(after), objectOf(before)))).toEqual(verdict.toSorted());
  });

  it.each([undefined, null, 7, "text", [], {}, { spec: null }, { spec: [] }, { spec: { email: { a: 1 } } }])(
    "answers %j with violations, never with an exception",
    (input) => {
      expect(validateTenantUser(input)).not.toEqual([]);
      expect(validateTenant(input)).not.toEqual([]);
    },
  );

  it("takes no offence at metadata and status: they are not the person's to judge", () => {
    const object = { ...objectOf({ name: "", kind: "TenantUser", patch: {}, verdict: [] }), status: { state: 7 } };
    expect(validateTenantUser(object)).toEqual([]);
  });

  it("names another kind as the mistake", () => {
    const object = objectOf({ name: "", kind: "Tenant", patch: {}, verdict: [] });
    expect(validateTenantUser(object).map(sentence)).toContain("kind: must be TenantUser");
  });

  it("is not misled by fields named like parts of an object", () => {
    const input: unknown = JSON.parse(
      '{"apiVersion":"catalyst.openova.io/v1alpha1","kind":"TenantUser","spec":{"email":"ada@example.com","__proto__":{},"constructor":1}}',
    );
    expect(verdictOf(validateTenantUser(input))).toEqual(["spec.__proto__ unknown", "spec.constructor unknown"]);
  });

  it("says it in one sentence", () => {
    const object = objectOf({ name: "", kind: "TenantUser", patch: { attributes: { sme_x: [] } }, verdict: [] });
    expect(validateTenantUser(object).map(sentence)).toEqual([
      "spec.attributes: must not contain names beginning with sme_: they are reserved for the service's own marks",
    ]);
  });
});

describe("the rules", () => {
  it.each(KINDS)("of %s have names of their own", (kind) => {
    const names = rulesOf(kind).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it.each(KINDS.flatMap((kind) => rulesOf(kind).map(({ name }) => ({ kind, name }))))(
    "$kind $name is broken by a case of the table",
    ({ kind, name }) => {
      const verdicts = [...cases.filter((item) => item.kind === kind), ...(kind === "Tenant" ? changes : [])].flatMap(
        ({ verdict }) => verdict,
      );
      expect(verdicts.some((verdict) => verdict.endsWith(` ${name}`))).toBe(true);
    },
  );
});

describe("an address that the rules let in", () => {
  const rules = rulesOf("Tenant").filter(({ path }) => path === "spec.newapi.url");
  const recordAccepted = (text: string): boolean => rules.every(({ holds }) => holds(text));
  const piece = fc.constantFrom(
    ..."http:// https:// gw .example .com . - _ : :: 1 80 70000 65535 65536 0 255 256 0x1 [ ] [::1] / // .. %2e %41 % ? # @ \\ a Z f ffff".split(
      " ",
    ),
  );
  it("is read by every parser as it is written: scheme, host, port and path, and nothing else", () => {
    fc.assert(
      fc.property(fc.constantFrom("http://", "https://"), fc.array(piece, { maxLength: 8 }), (scheme, pieces) => {
        const text = scheme + pieces.join("");
        if (!recordAccepted(text)) return;
        const { protocol, username, password, search, hash, pathname, port } = new URL(text);
        expect({ protocol: `${protocol}//`, username, password, search, hash }).toEqual({
          protocol: scheme,
          username: "",
          password: "",
          search: "",
          hash: "",
        });
        const [, host = "", path = ""] = /^https?:\/\/([^/]*)(.*)$/u.exec(text) ?? [];
        expect(pathname).toBe(path === "" ? "/" : path);
        const written = /:([0-9]+)$/u.exec(host.replace(/^\[.*\]/u, ""))?.[1] ?? "";
        expect([written, ""]).toContain(port);
      }),
      { numRuns: 20_000 },
    );
    expect(recordAccepted("https://gw.example:70000")).toBe(false);
    expect(recordAccepted("https://[::1]:65535/a%41")).toBe(true);
  });
});
