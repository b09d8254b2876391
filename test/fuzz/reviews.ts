/** AdmissionReviews of every kind: as the API server sends them, with one thing or many not as they should be, and broken bytes. */
import { schemas, type Structural } from "../../src/api/schema.ts";
import { reviewOf } from "../support/admission.ts";

export type Draw = () => number;

/** The same numbers for the same seed (mulberry32). */
export function drawing(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const below = (draw: Draw, n: number): number => Math.floor(draw() * n);
const one = <T>(draw: Draw, of: readonly T[]): T => of[below(draw, of.length)] as T;

const TEXTS = [
  "",
  "a",
  "ada@example.com",
  " Ada@Example.COM ",
  "a'b&c@example.com",
  "\u0000",
  "\\",
  "%_",
  "\ud800",
  "\u202eevil",
  "${jndi:x}",
  "'; drop table x; --",
  "__proto__",
  "constructor",
  "toString",
  "catalyst.openova.io/x",
  "newapi-key-a",
  "0b000000-0000-4000-8000-000000000001",
  "7d",
  "1e999",
  "😀",
];
const NUMBERS = [0, -0, 1, -1, 0.5, 2 ** 31, 2 ** 53, -(2 ** 53), 1e308];

function text(draw: Draw): string {
  const base = one(draw, TEXTS);
  const kind = draw();
  if (kind < 0.6) return base;
  if (kind < 0.9) return base + one(draw, TEXTS);
  return (base || "x").repeat(1 + below(draw, 400));
}

/** Anything that JSON can say, a few levels deep. */
function nonsense(draw: Draw, depth = 0): unknown {
  switch (below(draw, depth > 3 ? 5 : 7)) {
    case 0:
      return null;
    case 1:
      return draw() < 0.5;
    case 2:
      return one(draw, NUMBERS);
    case 3:
    case 4:
      return text(draw);
    case 5:
      return Array.from({ length: below(draw, 5) }, () => nonsense(draw, depth + 1));
    default:
      return Object.fromEntries(
        Array.from({ length: below(draw, 5) }, () => [text(draw), nonsense(draw, depth + 1)] as const),
      );
  }
}

/** A value for this place of the schema, which nearly fits; at and beyond its limits. */
function fitting(schema: Structural, draw: Draw): unknown {
  if (draw() < 0.02) return nonsense(draw);
  switch (schema.type) {
    case "string":
      if (schema.enum !== undefined && draw() < 0.9) return one(draw, schema.enum);
      return draw() < 0.05 ? "x".repeat((schema.maxLength ?? 64) + below(draw, 3) - 1) : text(draw);
    case "integer":
      return draw() < 0.9 ? below(draw, 5) : one(draw, NUMBERS);
    case "boolean":
      return draw() < 0.5;
    case "array": {
      const { items, maxItems = 4 } = schema;
      const length = draw() < 0.02 ? maxItems + below(draw, 3) : below(draw, 4);
      return Array.from({ length }, () => (items === undefined ? nonsense(draw) : fitting(items, draw)));
    }
    case "object": {
      const { properties, additionalProperties } = schema;
      if (properties === undefined) {
        return Object.fromEntries(
          Array.from({ length: below(draw, 4) }, () => [
            text(draw),
            additionalProperties === undefined ? nonsense(draw) : fitting(additionalProperties, draw),
          ]),
        );
      }
      return Object.fromEntries(
        Object.entries(properties)
          .filter(([name]) => schema.required?.includes(name) === true || draw() < 0.3)
          .map(([name, child]) => [name, fitting(child, draw)]),
      );
    }
    default:
      return schema.type satisfies never;
  }
}

const { spec: SPEC } = schemas.TenantUser.properties ?? {};

function spec(draw: Draw): Record<string, unknown> {
  const made = SPEC === undefined ? {} : fitting(SPEC, draw);
  const object = typeof made === "object" && made !== null && !Array.isArray(made) ? { ...made } : {};
  return draw() < 0.6 ? { ...object, email: `p${below(draw, 1000)}@example.com` } : object;
}

function structured(draw: Draw): Record<string, unknown> {
  const metadata = draw() < 0.2 ? { labels: nonsense(draw), finalizers: nonsense(draw) } : {};
  const gone = draw() < 0.03 ? { deletionTimestamp: text(draw) } : {};
  const updates = draw() < 0.4;
  const namespace = draw() < 0.95 ? "tenant-a" : text(draw);
  const common = { namespace, name: draw() < 0.9 ? `p${below(draw, 1000)}` : text(draw), dryRun: draw() < 0.1 };
  return reviewOf({
    ...common,
    operation: updates ? "UPDATE" : draw() < 0.95 ? "CREATE" : text(draw),
    spec: spec(draw),
    metadata: { ...metadata, ...gone },
    ...(updates ? { oldObject: reviewOf({ ...common, spec: spec(draw) }).request.object } : {}),
  });
}

/** One thing in it becomes something else, is missing, or comes on top. */
function disturb(value: unknown, draw: Draw): unknown {
  if (typeof value !== "object" || value === null || draw() < 0.15) return nonsense(draw);
  if (Array.isArray(value)) {
    const items: unknown[] = [...value];
    if (items.length === 0 || draw() < 0.2) return [...items, nonsense(draw)];
    const at = below(draw, items.length);
    items[at] = disturb(items[at], draw);
    return items;
  }
  const entries = Object.entries(value);
  if (entries.length === 0 || draw() < 0.1) return { ...value, [text(draw)]: nonsense(draw) };
  const [name, child] = one(draw, entries);
  if (draw() < 0.1) return Object.fromEntries(entries.filter(([other]) => other !== name));
  return { ...value, [name]: disturb(child, draw) };
}

/** Bytes turned, cut out, doubled. */
function damage(bytes: Buffer, draw: Draw): Buffer {
  const damaged = Buffer.from(bytes);
  for (let n = 1 + below(draw, 6); n > 0 && damaged.length > 0; n -= 1) {
    damaged[below(draw, damaged.length)] = below(draw, 256);
  }
  const [from, to] = [below(draw, damaged.length), below(draw, damaged.length)];
  const kind = draw();
  if (kind < 0.5) return damaged;
  if (kind < 0.7) return damaged.subarray(0, from);
  return Buffer.concat([damaged.subarray(0, to), damaged.subarray(from)]);
}

/** The body of one request. */
export function reviewBody(draw: Draw): Buffer {
  let review: unknown = structured(draw);
  const kind = draw();
  if (kind > 0.5) for (let n = 1 + below(draw, 3); n > 0; n -= 1) review = disturb(review, draw);
  const bytes = Buffer.from(JSON.stringify(review) ?? "");
  return kind > 0.8 ? damage(bytes, draw) : bytes;
}
