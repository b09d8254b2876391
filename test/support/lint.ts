/** Lint as people call it, on files of a folder of its own. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";

import { API_VERSION } from "../../src/api/meta.ts";
import { runCLI } from "./cli.ts";
import { toYAML } from "../../src/lib/yaml.ts";

export interface Outcome {
  readonly code: number;
  /** Lines on standard output; paths as they are within the folder. */
  readonly out: readonly string[];
  readonly err: string;
}

export interface LintFolder {
  readonly dir: string;
  write(path: string, text: string): void;
  /** Runs `unified-rbac lint`; an argument that begins with ./ is within the folder. */
  lint(...args: readonly string[]): Promise<Outcome>;
}

/** Goes with the test that made it. */
export function lintFolder(files: Readonly<Record<string, string>> = {}): LintFolder {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "unified-rbac-lint-")));
  const folder: LintFolder = {
    dir,
    write(path, text) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), text);
    },
    lint: (...args) => lintWith({ dir }, ...args),
  };
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) folder.write(path, text);
  return folder;
}

/** These files, and lint on all of them or as the arguments say. */
export function lintFiles(files: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Outcome> {
  return lintFolder(files).lint(...(args.length === 0 ? ["."] : args));
}

/** Standard input. */
export function lintText(stdin: string, ...args: readonly string[]): Promise<Outcome> {
  return lintWith({ stdin }, "-", ...args);
}

export async function lintWith(given: { dir?: string; stdin?: string }, ...args: readonly string[]): Promise<Outcome> {
  const { dir = "", stdin = "" } = given;
  const inFolder = (text: string): string =>
    text.replace(/(^|=)\.\/?(?=$|\w)/, (_, before: string) => `${before}${dir}/`);
  const { code, out, err } = await runCLI(["lint", ...args.map(inFolder)], { stdin });
  const plain = (text: string): string => (dir === "" ? text : text.replaceAll(`${dir}/`, "").replaceAll(dir, "."));
  return { code, out: plain(out).split("\n").slice(0, -1), err: plain(err) };
}

/** YAML of one person. */
export function userYAML(name: string, spec: object = {}, metadata: object = {}): string {
  return toYAML({
    apiVersion: API_VERSION,
    kind: "TenantUser",
    metadata: { name, ...metadata },
    spec: { email: `${name}@acme.example`, ...spec },
  });
}

/** YAML of a Tenant `acme` with one namespace. */
export function tenantYAML(spec: object = {}): string {
  return toYAML({
    apiVersion: API_VERSION,
    kind: "Tenant",
    metadata: { name: "acme" },
    spec: {
      tenantID: "acme",
      namespaces: ["tenant-acme"],
      keycloak: { url: "https://sso.example", realm: "acme", credentialsSecretName: "acme-keycloak" },
      newapi: { url: "https://llm.example", credentialsSecretName: "acme-newapi" },
      ...spec,
    },
  });
}
