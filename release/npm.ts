/**
 * The package that npm installs: two programs without a dependency, their licenses, and a page. Its package.json is made
 * here, because the project's own names what the service and its tests need.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { projectRoot } from "../stack/paths.ts";
import { bundleProgram, programNames, projectManifest, type Program } from "./bundle.ts";

/** Where the package is made. */
export const packageDirectory = join(projectRoot, "dist-package");

const LIB = "lib";
const THIRD_PARTY = "THIRD-PARTY-LICENSES";

export interface BuiltPackage {
  /** Names, in order. */
  readonly files: readonly string[];
  /** Folders of the packages that the bundles contain. */
  readonly packages: readonly string[];
}

/** Makes the directory again, from nothing. */
export async function buildPackage(version: string, directory = packageDirectory): Promise<BuiltPackage> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const bundles = await Promise.all(programNames.map((program) => bundleProgram(program, version)));
  mkdirSync(join(directory, LIB));
  for (const { program, text } of bundles) {
    writeFileSync(join(directory, `${program}.js`), starter(program), { mode: 0o755 });
    writeFileSync(join(directory, LIB, `${program}.js`), text);
  }
  const packages = [...new Set(bundles.flatMap((bundle) => bundle.packages))].toSorted();
  writeFileSync(join(directory, THIRD_PARTY), packages.map(licenseOf).join("\n"));
  copyFileSync(join(projectRoot, "LICENSE"), join(directory, "LICENSE"));
  copyFileSync(join(projectRoot, "release/npm-readme.md"), join(directory, "README.md"));
  writeFileSync(join(directory, "package.json"), `${JSON.stringify(publishedManifest(version), null, 2)}\n`);
  return { files: readdirSync(directory, { recursive: true, encoding: "utf8" }).toSorted(), packages };
}

/** npm adds package.json, README.md and LICENSE to `files` by itself. */
export function publishedManifest(version: string): Readonly<Record<string, unknown>> {
  const { description, license, engines } = projectManifest;
  const bin = Object.fromEntries(programNames.map((program) => [program, `${program}.js`]));
  const files = [...Object.values(bin), LIB, THIRD_PARTY];
  return { name: "unified-rbac", version, description, license, type: "module", engines, bin, files };
}

const installed = z.object({ name: z.string(), version: z.string(), license: z.string() });

/** An old Node does not get as far as the bundle, whose imports it may not have. */
function starter(program: Program): string {
  const [major, minor] = projectManifest.engines.node.slice(2).split(".");
  const sentence = JSON.stringify(`${program} needs Node ${major}.${minor} or newer, and this is `);
  return `#!/usr/bin/env node
const [a, b] = process.versions.node.split(".").map(Number);
if (a > ${major} || (a === ${major} && b >= ${minor})) {
  import("./${LIB}/${program}.js");
} else {
  process.stderr.write(${sentence} + process.versions.node + ": https://nodejs.org\\n");
  process.exitCode = 2;
}
`;
}

/** Throws when a package does not name its license. A few name one and ship no text of it. */
function licenseOf(folder: string): string {
  const home = join(projectRoot, folder);
  const { name, version, license } = installed.parse(JSON.parse(readFileSync(join(home, "package.json"), "utf8")));
  const file = readdirSync(home).find((each) => /^licen[cs]e/i.test(each));
  const text =
    file === undefined ? "The package contains no text of its license." : readFileSync(join(home, file), "utf8");
  return `${name} ${version} (${license})\n\n${text.trim()}\n`;
}
