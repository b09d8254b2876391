/** What is generated into the charts from their values: values.yaml, values.schema.json, and the page for people. */
import * as z from "zod";
import { toYAML } from "../../lib/yaml.ts";
import { table } from "../reference.ts";

/** The part of a JSON Schema that values have. */
interface Node {
  readonly type?: string | undefined;
  readonly description?: string | undefined;
  readonly default?: unknown;
  readonly enum?: readonly string[] | undefined;
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly properties?: Readonly<Record<string, Node>> | undefined;
}

const node: z.ZodType<Node> = z.lazy(() =>
  z.looseObject({
    type: z.string().optional(),
    description: z.string().optional(),
    default: z.unknown().optional(),
    enum: z.array(z.string()).optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    properties: z.record(z.string(), node).optional(),
  }),
);

const WIDTH = 118;

/** What Helm validates values with: unknown keys are refused. */
export function valuesSchema(values: z.ZodObject): object {
  return z.toJSONSchema(values, { io: "input" });
}

/** values.yaml: every value with its default and its meaning; a value without a default is a comment. */
export function valuesFile(values: z.ZodObject): string {
  return linesOf(node.parse(valuesSchema(values)), values.parse({}), "").join("\n");
}

function linesOf(schema: Node, defaults: Readonly<Record<string, unknown>>, indent: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const comment = wrap(property.description, WIDTH - indent.length - 2).map((line) => `${indent}# ${line}`);
    const held = defaults[name];
    const blank = indent === "" ? [""] : [];
    if (property.properties !== undefined) {
      return [...blank, ...comment, `${indent}${name}:`, ...linesOf(property, record.parse(held), `${indent}  `)];
    }
    if (held === undefined) return [...comment, `${indent}# ${entry(name, property.default ?? "")}`];
    return [
      ...blank,
      ...comment,
      ...entry(name, held)
        .split("\n")
        .map((line) => `${indent}${line}`),
    ];
  });
}

const record = z.record(z.string(), z.unknown());
const entry = (name: string, value: unknown): string => toYAML({ [name]: value }).trimEnd();

function wrap(text: string | undefined, width: number): string[] {
  const lines: string[] = [];
  for (const word of text?.split(" ") ?? []) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Markdown: one table of every value. */
export function valuesTable(values: z.ZodObject): string {
  return table(["Value", "Type", "Default", "Meaning"], rowsOf(node.parse(valuesSchema(values)), ""));
}

function rowsOf(schema: Node, path: string): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const at = path === "" ? name : `${path}.${name}`;
    if (property.properties !== undefined)
      return [[`\`${at}\``, "", "", property.description ?? ""], ...rowsOf(property, at)];
    return [[`\`${at}\``, typeOf(property), code(property.default), property.description ?? ""]];
  });
}

function typeOf({ type, enum: choices, minimum, maximum }: Node): string {
  if (choices !== undefined)
    return choices
      .filter((choice) => choice !== "")
      .map((choice) => `\`${choice}\``)
      .join(", ");
  if (type === "integer" && minimum !== undefined) return `${minimum} to ${maximum ?? "any"}`;
  return type ?? "integer or percentage";
}

const code = (value: unknown): string => (value === undefined || value === "" ? "" : `\`${JSON.stringify(value)}\``);
