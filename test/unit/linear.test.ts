/**
 * What looks at others' text takes time in proportion to it: every regular expression and every rule of the sources, each at a
 * hundred times the length that it is meant for. Growth is measured, not speed: a slow machine is no mistake.
 */
/* oxlint-disable vitest/expect-expect -- expectLinear does */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseAst } from "rolldown/parseAst";
import { describe, expect, it } from "vitest";
import { validate } from "../../src/admission/validate.ts";
import * as duration from "../../src/api/duration.ts";
import { rulesOf } from "../../src/api/rules/index.ts";
import * as patterns from "../../src/api/rules/patterns.ts";
import { validateTenant, validateTenantUser } from "../../src/api/validate.ts";
import { redact } from "../../src/lib/errors.ts";
import { cutBytes, mark, plainText } from "../../src/lib/text.ts";

const SRC = resolve(import.meta.dirname, "../../src");
/** A hundred times the 256 bytes that are shown of a foreign text. */
const LENGTH = 25_600;
/** What is over sooner is linear enough: at this length something quadratic takes hundreds of millions of steps. */
const INSTANT_MS = 20;
/** Four times the text. Linear: 4; quadratic: 16. */
const MOST_GROWTH = 9;
/** The same for eight times as much, where much else is measured with it. Linear: 8; quadratic: 64. */
const FAR_TOO_MUCH = 32;
const SOON_MS = 250;

interface Expression {
  readonly where: string;
  readonly pattern: string;
  readonly flags: string;
}

function literals(): Expression[] {
  const found: Expression[] = [];
  for (const file of readdirSync(SRC, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts")) continue;
    const visit = (node: unknown): void => {
      if (Array.isArray(node)) for (const each of node) visit(each);
      if (typeof node !== "object" || node === null) return;
      if ("regex" in node && isExpression(node.regex)) found.push({ where: file, ...node.regex });
      for (const child of Object.values(node)) if (typeof child === "object") visit(child);
    };
    visit(parseAst(readFileSync(join(SRC, file), "utf8"), { lang: "ts" }).body);
  }
  return found;
}

function isExpression(value: unknown): value is { readonly pattern: string; readonly flags: string } {
  return typeof value === "object" && value !== null && "pattern" in value && "flags" in value;
}

/** Those that are made of a text that has a name of its own. */
function named(): Expression[] {
  return [...Object.entries(patterns), ...Object.entries(duration)].flatMap(([where, pattern]) =>
    typeof pattern === "string" && pattern.startsWith("^") ? [{ where, pattern, flags: "u" }] : [],
  );
}

const SAMPLES = ["a", "0", "-", ".", " ", "\n", "/", ":", "=", '"', "\\"];
const MORE = ["A", "_", "\t", "@", "*", "~", "\ufffd", "ä"];

/** What it can get lost in: single characters, its own words, and some of these after another. */
function pumps({ pattern }: Expression): string[] {
  const found = pattern.replaceAll(/\\[bBdDsSwW]|\\[pP]\{\w+\}/g, " ").match(/[A-Za-z0-9_:/@."-]{2,}/g) ?? [];
  const words = [...new Set(found)].filter((word) => !SAMPLES.includes(word)).slice(0, 8);
  const pairs = [
    ...SAMPLES.flatMap((one) => SAMPLES.map((other) => one + other)),
    ...words.flatMap((word) => SAMPLES.flatMap((sample) => [word + sample, sample + word])),
  ];
  return [...new Set([...SAMPLES, ...MORE, ...words, ...pairs])];
}

function run({ pattern, flags }: Expression, text: string): number {
  const expression = new RegExp(pattern, flags);
  const began = performance.now();
  if (expression.global) text.replace(expression, "");
  else expression.exec(text);
  return performance.now() - began;
}

/** The best of some runs: what something else does meanwhile only makes them longer. */
const best = (work: () => number): number => Math.min(work(), work(), work());

const filled = (pump: string, length: number, end: string): string =>
  pump.repeat(Math.ceil(length / pump.length)) + end;

function lostIn(expression: Expression): string[] {
  return pumps(expression).flatMap((pump) =>
    // The second end is one that nothing matches, so that what was walked through must be given back.
    ["", "\u0001"].flatMap((end) => {
      const text = filled(pump, LENGTH, end);
      if (run(expression, text) < INSTANT_MS || best(() => run(expression, text)) < INSTANT_MS) return [];
      const [short, long] = [LENGTH / 4, LENGTH].map((length) =>
        best(() => run(expression, filled(pump, length, end))),
      );
      return (long ?? 0) / (short ?? 1) < MOST_GROWTH
        ? []
        : [`${expression.where}: /${expression.pattern}/ in ${JSON.stringify(pump)}`];
    }),
  );
}

describe("every regular expression of the sources", () => {
  const all = [...literals(), ...named()];

  it("is found", () => {
    expect(all.length).toBeGreaterThan(80);
    expect(named().length).toBeGreaterThan(10);
  });

  it("takes time in proportion to the text, however it is made", { timeout: 240_000 }, () => {
    const different = new Map(all.map((one) => [`${one.pattern}/${one.flags}`, one]));
    expect([...different.values()].flatMap(lostIn)).toEqual([]);
  });
});

/** What is made of `prepare` is not what is timed. */
function expectLinear<T>(prepare: (size: number) => T, work: (input: T) => void, size: number): void {
  const timed = (input: T): number => {
    const began = performance.now();
    work(input);
    return performance.now() - began;
  };
  const [small, large] = [prepare(size), prepare(8 * size)];
  const [short, long] = [best(() => timed(small)), best(() => timed(large))];
  // Over at once, whatever it grew by; else eight times as much takes about eight times as long.
  expect(Math.min(long / SOON_MS, long / short / FAR_TOO_MUCH)).toBeLessThan(1);
}

describe("what is quoted of an upstream", () => {
  it.each(["-eyJ", "eyJa.", "sk-", "bearer ", "key", "key=", "://a:", "token: ", "\ufffd", "\u0000", "\ud800", "x"])(
    "is cut before it is looked through: %j",
    (pump) => {
      for (const look of [redact, (text: string) => redact(text, ["secret", "x-eyJ"]), plainText, mark]) {
        expectLinear(
          (size) => filled(pump, size, "\u0001"),
          (text) => void look(text),
          60_000,
        );
      }
      expectLinear(
        (size) => filled(pump, size, ""),
        (text) => void cutBytes(text, 256),
        60_000,
      );
    },
  );
});

const request = (spec: Readonly<Record<string, unknown>>, old?: Readonly<Record<string, unknown>>) => ({
  uid: "u",
  operation: old === undefined ? "CREATE" : "UPDATE",
  group: "catalyst.openova.io",
  kind: "TenantUser",
  subResource: "",
  namespace: "tenant-a",
  dryRun: false,
  object: object(spec),
  oldObject: old === undefined ? undefined : object(old),
});
const object = (spec: Readonly<Record<string, unknown>>) => ({
  apiVersion: "catalyst.openova.io/v1alpha1",
  kind: "TenantUser",
  metadata: { name: "ada", namespace: "tenant-a", uid: "0b000000-0000-4000-8000-000000000001" },
  spec,
});

const many = (count: number, make: (n: number) => unknown): unknown[] =>
  Array.from({ length: count }, (_, n) => make(n));
const map = (count: number, value: unknown): unknown =>
  Object.fromEntries(many(count, (n) => [`name-${String(n)}`, value]) as [string, unknown][]);

/** Of each kind of place one that is a hundred times as large as its limit. */
const OVERSIZED: Readonly<Record<string, (size: number) => Readonly<Record<string, unknown>>>> = {
  "different groups": (size) => ({ groups: many(size, (n) => `group-${String(n)}`) }),
  "the same group": (size) => ({ groups: many(size, () => "group") }),
  "groups that are none": (size) => ({ groups: many(size, (n) => ({ n })) }),
  attributes: (size) => ({ attributes: map(size, ["value"]) }),
  "an attribute's values": (size) => ({ attributes: { a: many(size, (n) => String(n)) } }),
  labels: (size) => ({ secret: { labels: map(size, "value") } }),
  "fields that are none": (size) => map(size, 7) as Record<string, unknown>,
  "an email": (size) => ({ email: filled("a.", size, "@example.com") }),
  "a domain": (size) => ({ email: `a@${filled("a-", size, ".com")}` }),
  "spaces before an email": (size) => ({ email: filled(" ", size, "a@example.com") }),
  "a name": (size) => ({ displayName: filled("\u{1f600}", size, " ") }),
  "a pin": (size) => ({ userUUID: "0".repeat(size) }),
  "a Secret's name": (size) => ({ secret: { name: filled("a-", size, "-") } }),
  "a span of time": (size) => ({ key: { overlap: filled("1h", size, "x") } }),
};

describe("a manifest far beyond its limits", () => {
  it.each(Object.entries(OVERSIZED))("is judged in proportion to it: %s", (_what, make) => {
    const tenant = { tenant: undefined, loaded: true };
    for (const judge of [
      (spec: Readonly<Record<string, unknown>>) =>
        void validateTenantUser(object({ email: "ada@example.com", ...spec })),
      (spec: Readonly<Record<string, unknown>>) =>
        void validate(request({ email: "ada@example.com", ...spec }), tenant),
      (spec: Readonly<Record<string, unknown>>) =>
        void validate(request({ email: "a@b.example", ...spec }, spec), tenant),
    ]) {
      expectLinear(make, judge, 5_000);
    }
  });

  it("is answered in a few sentences", () => {
    for (const make of Object.values(OVERSIZED)) {
      const found = validateTenantUser(object({ email: "ada@example.com", ...make(40_000) }));
      expect(found.length).toBeLessThanOrEqual(110);
      expect(Math.max(0, ...found.map(({ message }) => message.length))).toBeLessThan(2_000);
    }
  });

  it.each([...rulesOf("TenantUser"), ...rulesOf("Tenant")].map((rule) => [rule.name, rule] as const))(
    "is judged in proportion to it by rule %s",
    (_name, rule) => {
      for (const pump of ["a", "a-", "a.", "-", " ", "1h", "/", "a/", "\u0001", "é"]) {
        expectLinear(
          (size) => {
            const text = filled(pump, size, "\u0001");
            return /^attributes|^secret-(labels-|annotations-|keys-distinct)/.test(rule.name)
              ? [{ [text]: text }, { apiKey: text, baseURL: text }]
              : [text];
          },
          (selves) => {
            for (const self of selves) {
              try {
                rule.holds(self, self);
              } catch (error) {
                // A rule sees only what the schema lets pass: what is of another type is not its business.
                if (!(error instanceof TypeError)) throw error;
              }
            }
          },
          LENGTH,
        );
      }
    },
  );

  it("is a Tenant's too", () => {
    const tenant = (size: number) => ({
      apiVersion: "catalyst.openova.io/v1alpha1",
      kind: "Tenant",
      metadata: { name: "acme" },
      spec: {
        tenantID: "acme",
        namespaces: many(size, (n) => `ns-${String(n)}`),
        allow: { groups: many(size, (n) => `g${String(n)}`) },
      },
    });
    expectLinear(tenant, (object) => void validateTenant(object), 5_000);
  });
});
