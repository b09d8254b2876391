/** JSON Schema (draft 7) for editors: what the API server checks, as far as JSON Schema can say it; unknown fields are errors. */
import { API_VERSION, type Kind } from "./meta.ts";
import { rulesOf } from "./rules/index.ts";
import { schemas, type Structural } from "./schema.ts";

export type JSONSchema = Readonly<Record<string, unknown>>;

export function editorSchema(kind: Kind): JSONSchema {
  const root = schemas[kind];
  const spec = root.properties?.["spec"];
  if (!spec) throw new TypeError(`${kind} has no spec`);
  const text = { type: "string" };
  const texts = { type: "object", additionalProperties: text };
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    $comment: "Generated from src/api by `npm run generate`. Do not edit.",
    title: kind,
    description: root.description,
    type: "object",
    required: ["apiVersion", "kind", "metadata", "spec"],
    additionalProperties: false,
    properties: {
      apiVersion: { const: API_VERSION, description: root.properties?.["apiVersion"]?.description },
      kind: { const: kind, description: root.properties?.["kind"]?.description },
      metadata: {
        type: "object",
        description: "Standard object metadata.",
        required: ["name"],
        properties: { name: text, namespace: text, labels: texts, annotations: texts },
      },
      spec: convert(kind, spec, "spec"),
    },
  };
}

/** `path` is in the words of the rules: they are found by it. */
function convert(kind: Kind, node: Structural, path: string): JSONSchema {
  const { properties, additionalProperties, items, format: _format, ...rest } = node;
  const plain = Object.entries(rest).filter(([key]) => !key.startsWith("x-kubernetes-"));
  const patterns = rulesOf(kind)
    .filter((rule) => rule.path === path && rule.pattern !== undefined)
    .map(({ pattern, message }) => ({ pattern, patternErrorMessage: message }));
  return {
    ...Object.fromEntries(plain),
    ...(patterns.length > 1 ? { allOf: patterns } : patterns[0]),
    ...(node["x-kubernetes-list-type"] === "set" && { uniqueItems: true }),
    ...(properties && {
      additionalProperties: false,
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, child]) => [name, convert(kind, child, `${path}.${name}`)]),
      ),
    }),
    ...(additionalProperties && { additionalProperties: convert(kind, additionalProperties, `${path}[*]`) }),
    ...(items && { items: convert(kind, items, `${path}[*]`) }),
  };
}
