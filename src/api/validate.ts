/**
 * The check that the API server makes, made anywhere: in admission, in lint, in an editor's hook. Schema first; the rules
 * run only when the schema is content, as in the cluster, and say what the cluster says, word for word.
 */
import { API_VERSION, type Kind } from "./meta.ts";
import { rulesOf } from "./rules/index.ts";
import type { Rule } from "./rules/rule.ts";
import { schemas, stepsOf, type Structural } from "./schema.ts";
import { isObject } from "../lib/json.ts";

export interface Violation {
  /** As Kubernetes writes it: spec.groups[0], spec.secret.labels[team]. */
  readonly path: string;
  /** The name of the rule, or of the schema's word for it: required, type, maxLength, ... */
  readonly rule: string;
  /** To be read after the path: "must be ...". */
  readonly message: string;
}

/** One sentence for people. */
export function sentence({ path, message }: Violation): string {
  return `${path}: ${message}`;
}

/** What is wrong with a TenantUser by itself; empty when nothing is. `old`: what it replaces, for rules about changes. */
export function validateTenantUser(input: unknown, old?: unknown): Violation[] {
  return validate("TenantUser", input, old);
}

/** The same for a Tenant. */
export function validateTenant(input: unknown, old?: unknown): Violation[] {
  return validate("Tenant", input, old);
}

function validate(kind: Kind, input: unknown, old: unknown): Violation[] {
  if (!isObject(input)) return [{ path: "", rule: "type", message: "must be an object" }];
  const found: Violation[] = [];
  for (const [field, wanted] of [
    ["apiVersion", API_VERSION],
    ["kind", kind],
  ] as const) {
    if (input[field] !== wanted) found.push({ path: field, rule: "enum", message: `must be ${wanted}` });
  }
  // Metadata is checked by the API server for every kind alike; a status in a manifest is dropped unread.
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, status: _status, ...body } = input;
  const schema = schemas[kind];
  const complete = withDefaults(schema, body);
  inspect(schema, complete, "", found);
  if (found.length > 0) return found;
  const before = isObject(old) ? withDefaults(schema, { spec: old["spec"] }) : undefined;
  for (const rule of rulesOf(kind)) apply(rule, stepsOf(rule.path), complete, before, "", found);
  return found;
}

/** What the API server makes of it before it looks: a default stands where nothing or null was. A copy. */
function withDefaults(schema: Structural, value: unknown): unknown {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : value.map((item: unknown) => withDefaults(items, item));
  }
  if (!isObject(value)) return value;
  // Without a prototype, so that a field named __proto__ is one like all others.
  const result = Object.create(null) as Record<string, unknown>;
  for (const name of Object.keys(value)) {
    const child = childOf(schema, name);
    if (value[name] !== undefined) result[name] = child === undefined ? value[name] : withDefaults(child, value[name]);
  }
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    // A person who left `status` out means nothing by it.
    if (name !== "status" && child.default !== undefined) result[name] ??= withDefaults(child, child.default);
  }
  return result;
}

function childOf(schema: Structural, name: string): Structural | undefined {
  if (!schema.properties) return schema.additionalProperties;
  return Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
}

/** Nobody reads more, and a manifest can have a million. */
const MOST_FOUND = 100;
const SHOWN = 64;

function shown(value: unknown): unknown {
  return typeof value === "string" && value.length > SHOWN ? `${value.slice(0, SHOWN).toWellFormed()}...` : value;
}

/** Walks value and schema together; adds what does not fit, as far as it is worth reading. Beyond a limit nothing is checked. */
function inspect(schema: Structural, value: unknown, path: string, found: Violation[]): void {
  const say = (rule: string, message: string) => found.push({ path, rule, message });
  const { type, minLength, maxLength, minimum, maximum, maxItems, maxProperties } = schema;
  switch (type) {
    case "string": {
      if (typeof value !== "string") return void say("type", "must be text");
      if (schema.enum && !schema.enum.includes(value)) say("enum", `must be one of ${schema.enum.join(", ")}`);
      // No character has more than two code units: what is far too long is not counted.
      const isFarTooLong = maxLength !== undefined && value.length > 2 * maxLength;
      const length = isFarTooLong ? value.length : codePoints(value);
      if (minLength !== undefined && length < minLength) {
        say("minLength", length === 0 ? "must not be empty" : `must have at least ${minLength} characters`);
      }
      if (maxLength !== undefined && length > maxLength) say("maxLength", `must have at most ${maxLength} characters`);
      return;
    }
    case "integer":
      if (typeof value !== "number" || !Number.isInteger(value)) return void say("type", "must be a whole number");
      if (minimum !== undefined && value < minimum) say("minimum", `must be at least ${minimum}`);
      if (maximum !== undefined && value > maximum) say("maximum", `must be at most ${maximum}`);
      return;
    case "boolean":
      if (typeof value !== "boolean") say("type", "must be true or false");
      return;
    case "array": {
      if (!Array.isArray(value)) return void say("type", "must be a list");
      const items: readonly unknown[] = value;
      if (maxItems !== undefined && items.length > maxItems) say("maxItems", `must have at most ${maxItems} items`);
      const isSet = schema["x-kubernetes-list-type"] === "set";
      const seen = new Set<unknown>();
      for (const [index, item] of items.slice(0, maxItems).entries()) {
        if (found.length >= MOST_FOUND) return;
        if (isSet && seen.has(item)) {
          const message = `stands there twice: ${JSON.stringify(shown(item))}`;
          found.push({ path: `${path}[${index}]`, rule: "set", message });
        }
        seen.add(item);
        if (schema.items) inspect(schema.items, item, `${path}[${index}]`, found);
      }
      return;
    }
    case "object": {
      if (!isObject(value)) return void say("type", "must be an object");
      const names = Object.keys(value);
      if (maxProperties !== undefined && names.length > maxProperties) {
        say("maxProperties", `must have at most ${maxProperties} entries`);
      }
      for (const name of schema.required ?? []) {
        if (!Object.hasOwn(value, name)) {
          found.push({ path: join(schema, path, name), rule: "required", message: "is required" });
        }
      }
      // Of a map with too many entries the first ones are checked; fields that are none are named as long as they are few.
      for (const name of names.slice(0, maxProperties)) {
        if (found.length >= MOST_FOUND) return;
        const child = childOf(schema, name);
        if (child) inspect(child, value[name], join(schema, path, name), found);
        else found.push({ path: join(schema, path, name), rule: "unknown", message: "is no field of this kind" });
      }
      return;
    }
    default:
      return type satisfies never;
  }
}

/** Characters as the API server counts them. */
function codePoints(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at += 1) {
    // The second half of a pair is no character of its own.
    if ((text.codePointAt(at) ?? 0) > 0xffff) at += 1;
    count += 1;
  }
  return count;
}

/** Fields are joined by a dot, entries of a map stand in brackets. */
function join(schema: Structural, path: string, name: string): string {
  if (schema.additionalProperties) return `${path}[${name}]`;
  return path === "" ? name : `${path}.${name}`;
}

/** Follows the steps of the rule's path; where the way ends early there is nothing to judge. */
function apply(
  rule: Rule,
  [step, ...rest]: readonly string[],
  self: unknown,
  oldSelf: unknown,
  path: string,
  found: Violation[],
): void {
  if (self === undefined) return;
  if (step === undefined) {
    if (!rule.holds(self, oldSelf)) found.push({ path, rule: rule.name, message: rule.message });
    return;
  }
  if (step !== "*") {
    const at = path === "" ? step : `${path}.${step}`;
    return apply(rule, rest, fieldOf(self, step), fieldOf(oldSelf, step), at, found);
  }
  if (Array.isArray(self)) {
    // Items of a list are not followed from the old object to the new one; neither does the API server.
    self.forEach((item: unknown, index) => apply(rule, rest, item, undefined, `${path}[${index}]`, found));
  } else if (isObject(self)) {
    for (const [name, item] of Object.entries(self)) {
      apply(rule, rest, item, fieldOf(oldSelf, name), `${path}[${name}]`, found);
    }
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}
