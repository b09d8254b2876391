/** TenantUsers as somebody writes them who means harm: every field and annotation at its limit, in every kind of text. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT, API_VERSION } from "../../src/api/meta.ts";
import type { Random } from "./random.ts";

interface Schema {
  readonly type?: string | undefined;
  readonly properties?: Readonly<Record<string, Schema>> | undefined;
  readonly items?: Schema | undefined;
  readonly additionalProperties?: Schema | boolean | undefined;
  readonly enum?: readonly unknown[] | undefined;
  readonly maxLength?: number | undefined;
  readonly maxItems?: number | undefined;
  readonly maxProperties?: number | undefined;
}

const schema: z.ZodType<Schema> = z.lazy(() =>
  z.object({
    type: z.string().optional(),
    properties: z.record(z.string(), schema).optional(),
    items: schema.optional(),
    additionalProperties: z.union([z.boolean(), schema]).optional(),
    enum: z.array(z.unknown()).optional(),
    maxLength: z.number().optional(),
    maxItems: z.number().optional(),
    maxProperties: z.number().optional(),
  }),
);

const FILE = join(import.meta.dirname, "../../schemas/tenantuser_v1alpha1.json");

/** What is woven into a text, beside the mark by which it is found again. */
const PIECES: readonly [string, ...string[]] = [
  "\u0000",
  "\u0001\u0008\u001b[2J\u007f\u0085",
  "\u202e\u2066\u200f",
  "\ud800",
  "\\",
  "\\\\' or 1=1; --",
  `"'\``,
  "%_%",
  "{{ .Values.x }}",
  "${jndi:ldap://127.0.0.1:1/x}",
  "$(id)",
  "-eyJ",
  "../..",
  "\r\n\r\nx: y",
  "<script>alert(1)</script>",
  "\u{1f4a3}\u0301\u0301",
  "constructor",
  "__proto__",
];

export interface Manifests {
  /** One that breaks what it can in one field or all of them; most are refused, and that is well. */
  hostile(name: string): object;
  /** One that is valid, and as large as may be. */
  atTheLimit(name: string, email: string): object;
  /** Valid, with `bytes` of annotations that mean nothing to us. */
  heavy(name: string, email: string, bytes: number): object;
}

export function makeManifests(random: Random, mark: string): Manifests {
  const spec = schema.parse(JSON.parse(readFileSync(FILE, "utf8"))).properties?.["spec"] ?? {};

  const text = (length: number): string => {
    let made = mark;
    while (made.length < length && made.length < 70_000) made += random.pick(PIECES);
    return made.slice(0, Math.max(length, mark.length));
  };

  /** A value of the schema's shape whose texts are hostile; `over`: also beyond its limits. */
  const value = (of: Schema, over: boolean): unknown => {
    const more = over ? 2 : 1;
    if (of.enum !== undefined) return over ? text(20) : of.enum[random.below(of.enum.length)];
    switch (of.type) {
      case "boolean":
        return random.next() < 0.5;
      case "integer":
      case "number":
        return random.pick([0, -1, 1, 2 ** 31, 2 ** 53, Number.MAX_SAFE_INTEGER]);
      case "array":
        return Array.from({ length: Math.min((of.maxItems ?? 20) * more, 2_000) }, () => value(of.items ?? {}, over));
      case "object": {
        if (of.properties !== undefined) {
          return Object.fromEntries(Object.entries(of.properties).map(([key, each]) => [key, value(each, over)]));
        }
        const each = typeof of.additionalProperties === "object" ? of.additionalProperties : { type: "string" };
        const count = Math.min((of.maxProperties ?? 20) * more, 500);
        return Object.fromEntries(Array.from({ length: count }, (_, n) => [`${mark}${n}`, value(each, over)]));
      }
      case undefined:
      default:
        return text(Math.min((of.maxLength ?? 200) * more, 70_000));
    }
  };

  const annotations = (): Record<string, string> => ({
    [ANNOTATION_REQUESTED_AT]: `${mark}${random.pick(["\u0000", "\\", "%", "_", "\ud800", text(5_000)])}`,
    [ANNOTATION_ROTATE_REQUESTED_AT]: `${mark}${random.pick(["\\", "\u0000", text(2_000)])}`,
    [`${mark}.example/filler`]: text(1_000),
  });

  const object = (name: string, made: object, noted: object) => ({
    apiVersion: API_VERSION,
    kind: "TenantUser",
    metadata: { name, annotations: noted },
    spec: made,
  });

  return {
    hostile(name) {
      const fields = Object.entries(spec.properties ?? {});
      const over = random.next() < 0.5;
      const [first = "email"] = fields[random.below(fields.length)] ?? [];
      const made = Object.fromEntries(
        fields.filter(([key]) => key === first || random.next() < 0.3).map(([key, each]) => [key, value(each, over)]),
      );
      return object(name, { email: `${name}@${mark}.example`, ...made }, annotations());
    },
    atTheLimit(name, email) {
      const longest = "\u{1f4a3}".repeat(Math.floor((spec.properties?.["displayName"]?.maxLength ?? 100) / 2));
      return object(name, { email, displayName: longest }, annotations());
    },
    heavy(name, email, bytes) {
      return object(name, { email }, { ...annotations(), [`${mark}.example/heavy`]: "h".repeat(bytes) });
    },
  };
}
