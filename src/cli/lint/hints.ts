/** How to fix what the sentence alone does not tell. */
import { type Kind, KINDS } from "../../api/meta.ts";
import { schemas, type Structural } from "../../api/schema.ts";
import type { Violation } from "../../api/validate.ts";
import { METADATA_FIELDS } from "./metadata.ts";

const EXAMPLES: Readonly<Record<string, string>> = {
  "spec.email": "add email: name@example.com below spec",
  "metadata.name": "add name: below metadata; one name for one person, such as ada",
  spec: "add spec: with an email",
};

/** `value`: what stands there now. Undefined: the sentence says it all. */
export function hintFor(kind: Kind, { path, rule, message }: Violation, value: unknown): string | undefined {
  switch (rule) {
    case "unknown":
      return unknownField(kind, path);
    case "required":
      return EXAMPLES[path] ?? `add ${nameIn(path)}`;
    case "type":
      return otherType(message, value);
    case "enum":
      return path === "kind" ? oneOf(Object.keys(KINDS), value) : oneOf(wordsIn(message), value);
    case "set":
      return "remove one of the two";
    case "attributes-reserved":
      return "choose another name, or remove it";
    default:
      return undefined;
  }
}

function unknownField(kind: Kind, path: string): string {
  const name = nameIn(path);
  const siblings = fieldsBeside(kind, path);
  const near = nearest(name, siblings);
  if (near !== undefined) return `did you mean ${near}?`;
  return siblings.length === 0 ? "remove it" : `remove it; known here: ${siblings.join(", ")}`;
}

function fieldsBeside(kind: Kind, path: string): readonly string[] {
  const steps = path.split(".").slice(0, -1);
  if (steps[0] === "metadata") return METADATA_FIELDS;
  let node: Structural | undefined = schemas[kind];
  for (const step of steps) node = node?.properties?.[step];
  const names = Object.keys(node?.properties ?? {});
  return steps.length === 0 ? names.filter((name) => name !== "status") : names;
}

function otherType(message: string, value: unknown): string | undefined {
  const wanted = message.replace("must be ", "");
  if (value === null || value === undefined) return "give it a value, or remove the line";
  if (wanted === "text" && (typeof value === "number" || typeof value === "boolean")) {
    return "put it in quotes";
  }
  if (wanted === "a whole number" && typeof value === "string" && /^[0-9]+$/.test(value))
    return "write it without quotes";
  if (wanted === "true or false" && typeof value === "string") {
    if (/^(y|yes|on|true)$/i.test(value)) return "write true, without quotes";
    if (/^(n|no|off|false)$/i.test(value)) return "write false, without quotes";
  }
  if (wanted === "a list" && typeof value === "string") return `write it as a list: [${JSON.stringify(value)}]`;
  return undefined;
}

/** Of "must be one of Delete, Retain". */
const wordsIn = (message: string): string[] => message.replace(/^must be (one of )?/, "").split(", ");

function oneOf(words: readonly string[], value: unknown): string | undefined {
  const near = typeof value === "string" ? nearest(value, words) : undefined;
  return near === undefined || words.length === 1 ? undefined : `did you mean ${near}?`;
}

const nameIn = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

/** The word that one or two slips of the hand make of it; case is no slip. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const measured = words
    .map((each) => ({ each, far: distance(word.toLowerCase(), each.toLowerCase()) }))
    .filter(({ each, far }) => far <= Math.min(2, Math.floor(each.length / 3)));
  return measured.toSorted((a, b) => a.far - b.far)[0]?.each;
}

/** Letters added, left out, changed, or two beside each other exchanged. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const at = (r: number, c: number): number => (r === i ? row[c] : rows[r]?.[c]) ?? Infinity;
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, at(i - 2, j - 2) + 1);
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? Infinity;
}
