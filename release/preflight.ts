/** What has to hold before a version is released. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../stack/paths.ts";
import { run } from "../stack/process.ts";
import { projectManifest } from "./bundle.ts";

export interface SourceState {
  /** Of package.json. */
  readonly version: string;
  readonly changelog: string;
  readonly commit: string;
  readonly commitTime: number;
  /** As `git status --porcelain` prints it. */
  readonly changes: string;
}

export async function readSourceState(): Promise<SourceState> {
  const git = (...args: string[]): Promise<string> => run({ file: "git", args: ["-C", projectRoot, ...args] });
  return {
    version: projectManifest.version,
    changelog: readFileSync(join(projectRoot, "CHANGELOG.md"), "utf8"),
    commit: (await git("rev-parse", "HEAD")).trim(),
    commitTime: Number(await git("log", "-1", "--format=%ct")),
    changes: await git("status", "--porcelain"),
  };
}

/** One sentence for each reason not to release `version`. */
export function obstacles(version: string, state: SourceState): string[] {
  const found: string[] = [];
  if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) found.push(`VERSION=${version} is no version: write it as 0.1.0.`);
  if (version !== state.version) found.push(`package.json says ${state.version}, and VERSION is ${version}.`);
  if (!state.changelog.split("\n").some((line) => line === `## v${version}` || line.startsWith(`## v${version} `)))
    found.push(`CHANGELOG.md has no section "## v${version}".`);
  if (state.changes !== "") found.push(`The working tree differs from the commit:\n${state.changes.trimEnd()}`);
  return found;
}
