/**
 * From zod to the OpenAPI v3 structural schema that Kubernetes wants: every field has one type and a description, no
 * unions, no additionalProperties beside properties; our rules stand at their nodes as x-kubernetes-validations.
 */
import * as z from "zod";
import { rulesOf } from "./rules/index.ts";
import type { Rule } from "./rules/rule.ts";
import type { Kind } from "./meta.ts";
import { tenantSpec, tenantStatus } from "./tenant.ts";
import { tenantUserSpec, tenantUserStatus } from "./tenantUser.ts";

const scalar = z.union([z.string(), z.number(), z.boolean()]);
/** What a structural schema can say of one node itself. */
const nodeKeys = z.strictObject({
  description: z.string().min(1).optional(),
  type: z.enum(["object", "array", "string", "integer", "boolean"]),
  format: z.string().optional(),
  default: z.union([scalar, z.array(scalar), z.strictObject({}), z.object({ observedGeneration: z.int() })]).optional(),
  enum: z.array(z.string()).optional(),
  minLength: z.int().optional(),
  maxLength: z.int().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  maxItems: z.int().optional(),
  maxProperties: z.int().optional(),
  required: z.array(z.string()).optional(),
  "x-kubernetes-list-type": z.enum(["set", "map", "atomic"]).optional(),
  "x-kubernetes-list-map-keys": z.array(z.string()).optional(),
  "x-kubernetes-preserve-unknown-fields": z.literal(true).optional(),
});
const structuralKeys = nodeKeys.extend({
  pattern: z.string().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  additionalProperties: z.unknown().optional(),
  items: z.unknown().optional(),
});

/** One node of a structural schema. */
export interface Structural extends z.infer<typeof nodeKeys> {
  properties?: Record<string, Structural>;
  additionalProperties?: Structural;
  items?: Structural;
  "x-kubernetes-validations"?: { readonly rule: string; readonly message: string }[];
}

/** Throws, naming the field, on anything that a structural schema cannot say: nothing is lost in silence. */
function structural(input: unknown, path: string): Structural {
  const parsed = structuralKeys.safeParse(input);
  if (!parsed.success) {
    const what = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
    throw new TypeError(`${path} is not structural: ${what}`);
  }
  if (parsed.data.description === undefined && !path.endsWith("[*]")) throw new TypeError(`${path} has no description`);
  // A date's pattern says no more than its format.
  const { pattern, properties, additionalProperties, items, minimum, maximum, format, ...node } = parsed.data;
  if (pattern !== undefined && format !== "date-time") throw new TypeError(`${path}: make the pattern a rule`);
  if (properties && additionalProperties) throw new TypeError(`${path}: additionalProperties beside properties`);

  const result: Structural = { ...node };
  if (format !== undefined) result.format = format;
  if (node.type === "integer") result.format = "int64";
  // What JavaScript cannot hold exactly is refused; below zero nothing of ours goes that far.
  if (minimum !== undefined && minimum !== Number.MIN_SAFE_INTEGER) result.minimum = minimum;
  if (maximum !== undefined) result.maximum = maximum;
  // Keeps whatever stands in it, so its fields are not listed a second time.
  if (result["x-kubernetes-preserve-unknown-fields"]) {
    delete result.required;
    return result;
  }
  if (properties) {
    result.properties = Object.fromEntries(
      Object.entries(properties).map(([name, child]) => [name, structural(child, `${path}.${name}`)]),
    );
  }
  if (additionalProperties) result.additionalProperties = structural(additionalProperties, `${path}[*]`);
  if (items) result.items = structural(items, `${path}[*]`);
  return result;
}

/** The steps of a rule's path: field names, and "*" for every item or value. */
export function stepsOf(path: string): string[] {
  return path.replaceAll("[*]", ".*").split(".");
}

function nodeAt(root: Structural, path: string): Structural {
  let node: Structural | undefined = root;
  for (const step of stepsOf(path)) {
    node = step === "*" ? (node.items ?? node.additionalProperties) : node.properties?.[step];
    if (!node) throw new TypeError(`no such place in the schema: ${path}`);
  }
  return node;
}

function attach(root: Structural, rules: readonly Rule[]): void {
  for (const { path, cel, message } of rules) {
    const node = nodeAt(root, path);
    (node["x-kubernetes-validations"] ??= []).push({ rule: cel, message });
  }
}

const DESCRIPTIONS: Readonly<Record<Kind, string>> = {
  TenantUser:
    "One person of one tenant. Committing it gives the person a Keycloak user, an account and API key at the LLM gateway, and a Secret with that key in this namespace; removing it undoes all three.",
  Tenant:
    "One tenant, as the platform's operator sets it up: its namespaces, its Keycloak realm, its LLM gateway, and what its own manifests may ask for.",
};

const SOURCES = {
  TenantUser: { spec: tenantUserSpec, status: tenantUserStatus },
  Tenant: { spec: tenantSpec, status: tenantStatus },
} as const;

function convert(schema: z.ZodType, path: string): Structural {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { target: "openapi-3.0", io: "input" });
  return structural(json, path);
}

function build(kind: Kind): Structural {
  const { spec, status } = SOURCES[kind];
  const root: Structural = {
    description: DESCRIPTIONS[kind],
    type: "object",
    required: ["spec"],
    properties: {
      apiVersion: { description: "The version of this schema: catalyst.openova.io/v1alpha1.", type: "string" },
      kind: { description: `The kind of object: ${kind}.`, type: "string" },
      // Kubernetes describes it by itself, and forbids to do it here.
      metadata: { type: "object" },
      spec: convert(spec, "spec"),
      // Flux takes a custom object without status for finished. This default says: nobody has looked yet.
      status: { ...convert(status, "status"), default: { observedGeneration: -1 } },
    },
  };
  attach(root, rulesOf(kind));
  return root;
}

/** The structural schema of both kinds, rules included. */
export const schemas: Readonly<Record<Kind, Structural>> = {
  TenantUser: build("TenantUser"),
  Tenant: build("Tenant"),
};
