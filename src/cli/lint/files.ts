/**
 * Which files a path stands for, as Flux would have it: a folder with a kustomization is what that names, any other one
 * is all YAML below it, also in files and folders whose names begin with a dot. What does not come into Flux's artifact is
 * left out: links, and what is ignored.
 */
import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, normalize, relative, resolve } from "node:path";
import { isObject } from "../../lib/json.ts";
import { type ParsedManifest, readDocuments } from "./documents.ts";
import type { LintFinding } from "./finding.ts";
import { type Ignored, ignoredBelow } from "./ignored.ts";
import { targetOf } from "./target.ts";
import { UsageError } from "./usage.ts";

export interface Files {
  /** Each once, in the order of the paths given. */
  readonly paths: readonly string[];
  /** About kustomizations. */
  readonly findings: readonly LintFinding[];
}

const KUSTOMIZATIONS = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
const YAML = /\.ya?ml$/;
/** Fields of a kustomization whose entries are manifests, or folders of such. */
const PARTS = ["resources", "bases", "components"];
const REMOTE = /:\/\/|^[^/]+\.[a-z]+\/|\?ref=|^git@/;

export function filesOf(given: readonly string[]): Files {
  const paths = new Map<string, string>();
  const add = (path: string): void => {
    const known = resolve(path);
    if (!paths.has(known)) paths.set(known, normalize(path));
  };
  const findings: LintFinding[] = [];
  const folders = new Set<string>();

  let ignored: Ignored = () => false;

  function walk(folder: string): void {
    if (folders.has(resolve(folder))) return;
    folders.add(resolve(folder));
    const kustomization = kustomizationIn(folder);
    if (kustomization !== undefined) return kustomize(folder, kustomization);
    for (const { path, isFolder } of entriesOf(folder, ignored)) {
      if (isFolder) walk(path);
      else if (YAML.test(path)) add(path);
    }
  }

  function kustomize(folder: string, file: string): void {
    const content = readDocuments(file, readText(file));
    findings.push(...content.findings);
    const [manifest] = content.manifests;
    if (manifest === undefined) return;
    for (const { entry, path } of entriesNamed(manifest)) {
      const target = join(folder, entry);
      if (REMOTE.test(entry) && !existsSync(target)) continue;
      if (!existsSync(target)) findings.push(missing(manifest, path, entry));
      else if (statSync(target).isDirectory()) walk(target);
      else if (relative(folder, target).startsWith("..")) findings.push(outside(manifest, path));
      else add(target);
    }
    const named = new Set(textsIn(manifest.value).map((text) => normalize(join(folder, text))));
    for (const path of yamlBelow(folder, ignored)) {
      if (!named.has(normalize(path)) && path !== file) findings.push(...forgotten(path, file));
    }
  }

  for (const path of given) {
    if (!existsSync(path)) throw new UsageError(`${path}: there is no such file or folder.`);
    ignored = ignoredBelow(statSync(path).isDirectory() ? path : dirname(path));
    if (statSync(path).isDirectory()) walk(path);
    else if (KUSTOMIZATIONS.includes(basename(path))) kustomize(dirname(path), path);
    else add(path);
  }
  return { paths: [...paths.values()], findings };
}

/** Throws a sentence. */
export function readText(file: string): string {
  return reading(file, () => readFileSync(file, "utf8"));
}

function reading<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new UsageError(`${path}: cannot be read (${why}).`);
  }
}

function kustomizationIn(folder: string): string | undefined {
  return KUSTOMIZATIONS.map((name) => join(folder, name)).find((path) => existsSync(path));
}

function entriesOf(folder: string, ignored: Ignored): { path: string; isFolder: boolean }[] {
  return reading(folder, () => readdirSync(folder, { withFileTypes: true }))
    .filter((entry) => entry.name !== ".git")
    .filter((entry) => entry.isDirectory() || (entry.isFile() && !ignored(join(folder, entry.name))))
    .map((entry) => ({ path: join(folder, entry.name), isFolder: entry.isDirectory() }))
    .toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function entriesNamed({ value }: ParsedManifest): { entry: string; path: string }[] {
  return PARTS.flatMap((part) => {
    const list = value[part];
    if (!Array.isArray(list)) return [];
    const items: readonly unknown[] = list;
    return items.flatMap((entry, index) => (typeof entry === "string" ? [{ entry, path: `${part}[${index}]` }] : []));
  });
}

/** Everything that could be the name of a file: patches, transformers, values, whatever kustomize learns next. */
function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return isObject(value) ? Object.values(value).flatMap(textsIn) : [];
}

function yamlBelow(folder: string, ignored: Ignored): string[] {
  return entriesOf(folder, ignored).flatMap(({ path, isFolder }) => {
    if (!isFolder) return YAML.test(path) ? [path] : [];
    return kustomizationIn(path) === undefined ? yamlBelow(path, ignored) : [];
  });
}

function missing(manifest: ParsedManifest, path: string, entry: string): LintFinding {
  return {
    ...manifest.at(path),
    severity: "error",
    rule: "kustomize-missing",
    message: `${path}: there is no ${entry} here, so nothing of this folder is applied`,
  };
}

function outside(manifest: ParsedManifest, path: string): LintFinding {
  return {
    ...manifest.at(path),
    severity: "error",
    rule: "kustomize-outside",
    message: `${path}: is a file outside of this folder, and kustomize takes none from there`,
    hint: "name a folder with a kustomization of its own",
  };
}

function forgotten(path: string, kustomization: string): LintFinding[] {
  if (!lstatSync(path).isFile()) return [];
  const first = readDocuments(path, readText(path)).manifests.find((each) => targetOf(each) !== undefined);
  if (first === undefined) return [];
  return [
    {
      ...first.at("kind"),
      severity: "warning",
      rule: "kustomize-forgotten",
      message: `this file is not named in ${kustomization}, so it is not applied`,
      hint: `add ${relative(dirname(kustomization), path)} to its resources`,
    },
  ];
}
