/** From the text of a file to objects, each of which knows where its fields stand. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type YAMLError,
} from "yaml";
import { type JSONObject, isObject } from "../../lib/json.ts";
import type { LintFinding, SourcePlace } from "./finding.ts";
import { disputed, SCALARS } from "./scalars.ts";

export interface ParsedManifest {
  readonly file: string;
  readonly value: JSONObject;
  /**
   * Where the field at this path stands (as Kubernetes writes paths: spec.groups[0], spec.attributes[team]); the nearest
   * one above it where there is none. `key`: its name rather than its value.
   */
  at(path: string, part?: "key" | "value"): SourcePlace;
  /** The plain value that stands there; undefined for a list, a map or nothing. */
  scalar(path: string): unknown;
  /** The words without quotes that programs read differently, with their paths. */
  readonly disputed: readonly { readonly path: string; readonly source: string }[];
}

export interface FileContent {
  readonly manifests: readonly ParsedManifest[];
  /** Documents, and items of lists, that are something else than an object; what is empty is nothing. */
  readonly plain: readonly (SourcePlace & { readonly what: string })[];
  readonly findings: readonly LintFinding[];
}

/** Every document of a file, lists taken apart. What is no YAML becomes a finding. */
export function readDocuments(file: string, text: string): FileContent {
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, {
    schema: "failsafe",
    customTags: SCALARS,
    lineCounter,
    prettyErrors: false,
    merge: true,
  });
  if (!Array.isArray(documents)) return { manifests: [], plain: [], findings: [] };
  const place = placeIn(file, lineCounter);
  const findings: LintFinding[] = [];
  const manifests: ParsedManifest[] = [];
  const plain: (SourcePlace & { what: string })[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) {
      findings.push(malformed(error, place));
      continue;
    }
    const value = valueOf(document);
    if (value instanceof Error) {
      findings.push({ ...place(document.range ?? [0, 0]), ...NOT_YAML, message: `not YAML: ${value.message}` });
    } else {
      if (!isObject(value) && value !== null) plain.push({ ...place(rangeOf(document.contents)), what: kindOf(value) });
      manifests.push(...objectsOf(document.contents, value, document, place).map((each) => ({ file, ...each })));
    }
  }
  return { manifests, plain, findings };
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? "a list" : typeof value === "string" ? "a text" : `a ${typeof value}`;
}

const NOT_YAML = { severity: "error", rule: "yaml" } as const;

type PlaceOf = (range: readonly number[]) => SourcePlace;

function placeIn(file: string, counter: LineCounter): PlaceOf {
  return ([from = 0, to = from]) => {
    const start = counter.linePos(from);
    const end = counter.linePos(to);
    // Before the first line break the counter knows no line yet.
    return {
      file,
      line: Math.max(start.line, 1),
      column: Math.max(start.col, 1),
      endLine: Math.max(end.line, 1),
      endColumn: Math.max(end.col, 1),
    };
  };
}

function malformed(error: YAMLError, place: PlaceOf): LintFinding {
  const [from] = error.pos;
  return { ...place([from, from + 1]), ...NOT_YAML, message: `not YAML: ${error.message}` };
}

/** An alias to nothing, or aliases that multiply beyond all measure, are found only here. */
function valueOf(document: Document.Parsed): unknown {
  try {
    const value: unknown = document.toJS();
    return value;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function objectsOf(node: Node | null, value: unknown, document: Document.Parsed, place: PlaceOf) {
  if (!isObject(value)) return [];
  const { kind, items } = value;
  if (typeof kind === "string" && kind.endsWith("List") && Array.isArray(items)) {
    const list = isMap(node) ? node.get("items", true) : undefined;
    const all: readonly unknown[] = items;
    return all.flatMap((item, index): Omit<ParsedManifest, "file">[] => {
      const each = isSeq(list) ? list.items[index] : undefined;
      return isObject(item) && isNode(each) ? [objectAt(each, item, document, place)] : [];
    });
  }
  return [objectAt(node, value, document, place)];
}

function objectAt(
  root: Node | null,
  value: JSONObject,
  document: Document.Parsed,
  place: PlaceOf,
): Omit<ParsedManifest, "file"> {
  return {
    value,
    at: (path, part = "value") => {
      const found = locate(root, path, document);
      const node = part === "key" && found.key ? found.key : (found.value ?? found.key ?? root);
      return place(rangeOf(node));
    },
    scalar: (path) => {
      const { value: found } = locate(root, path, document);
      return isScalar(found) ? found.value : undefined;
    },
    disputed: disputedIn(root, ""),
  };
}

/** A map or list is pointed at by its beginning alone: its end is far away. */
function rangeOf(node: Node | null): readonly number[] {
  const [from = 0, to = from] = node?.range ?? [];
  return isMap(node) || isSeq(node) ? [from, from + 1] : [from, to];
}

interface FoundNode {
  readonly key: Node | undefined;
  readonly value: Node | null | undefined;
}

/** Follows the path as far as there are nodes. Keys may hold dots and brackets, so the nodes say where each step ends. */
function locate(root: Node | null, path: string, document: Document.Parsed): FoundNode {
  let found: FoundNode = { key: undefined, value: root };
  for (let rest = path; rest !== "";) {
    const node = isAlias(found.value) ? found.value.resolve(document) : found.value;
    const step = isMap(node) ? fieldStep(node.items, rest) : isSeq(node) ? itemStep(node.items, rest) : undefined;
    if (step === undefined) return found;
    found = step;
    rest = step.rest;
  }
  return found;
}

function fieldStep(
  pairs: readonly { key: unknown; value: unknown }[],
  rest: string,
): (FoundNode & { rest: string }) | undefined {
  let best: (FoundNode & { rest: string }) | undefined;
  for (const { key, value } of pairs) {
    if (!isNode(key) || !isScalar(key)) continue;
    const name = String(key.value);
    for (const written of [name, `.${name}`, `[${name}]`]) {
      const after = rest.slice(written.length);
      if (!rest.startsWith(written) || !/^($|[.[])/.test(after)) continue;
      if (best === undefined || after.length < best.rest.length) {
        best = { key, value: isNode(value) ? value : null, rest: after };
      }
    }
  }
  return best;
}

function itemStep(items: readonly unknown[], rest: string): (FoundNode & { rest: string }) | undefined {
  const [written, index] = /^\[(\d+)\]/.exec(rest) ?? [];
  const item = index === undefined ? undefined : items[Number(index)];
  return written !== undefined && isNode(item)
    ? { key: undefined, value: item, rest: rest.slice(written.length) }
    : undefined;
}

function disputedIn(node: unknown, path: string): { path: string; source: string }[] {
  if (isMap(node)) {
    return node.items.flatMap(({ key, value }) => {
      const name = isScalar(key) ? String(key.value) : "";
      return disputedIn(value, path === "" ? name : `${path}.${name}`);
    });
  }
  if (isSeq(node)) return node.items.flatMap((item, index) => disputedIn(item, `${path}[${index}]`));
  if (!isScalar(node) || node.type !== "PLAIN" || typeof node.source !== "string") return [];
  return disputed(node.source) && node.tag === undefined ? [{ path, source: node.source }] : [];
}
