import { spawnSync } from "node:child_process";
import { join } from "node:path";

import { atLeast, versionIn } from "./versions.ts";

/** What a program says about its version, or nothing when it is not installed. */
export type Ask = (file: string, args: readonly string[]) => string | undefined;

export const ask: Ask = (file, args) => {
  const answer = spawnSync(file, args, { encoding: "utf8" });
  return answer.error || answer.status !== 0 ? undefined : `${answer.stdout}${answer.stderr}`;
};

export const neededGo = "1.26.2";
export const neededJava = "17";

export const javaBinary = (env: NodeJS.ProcessEnv = process.env): string =>
  env["JAVA_HOME"] ? join(env["JAVA_HOME"], "bin", "java") : "java";

export interface Wanted {
  /** The parts that Go has to build, in words; empty when all are there already. */
  readonly goFor: readonly string[];
}

/** One sentence for each thing that has to be installed first. */
export function missingPrerequisites(wanted: Wanted, inquire: Ask = ask): string[] {
  const sentences: string[] = [];
  if (inquire("git", ["--version"]) === undefined) {
    sentences.push('git is not installed: install the package "git" of your distribution.');
  }
  if (wanted.goFor.length > 0) sentences.push(...goSentence(wanted.goFor.join(", "), inquire));
  const java = inquire(javaBinary(), ["-version"]);
  const javaVersion = java === undefined ? undefined : versionIn(java);
  if (javaVersion === undefined || !atLeast(javaVersion, neededJava)) {
    const found = javaVersion === undefined ? 'no "java" was found on the PATH' : `found is ${javaVersion}`;
    sentences.push(
      `Java ${neededJava} or newer is needed to run Keycloak, and ${found}: ` +
        `install your distribution's package, such as openjdk-${neededJava}-jre-headless, or set JAVA_HOME.`,
    );
  }
  return sentences;
}

function goSentence(parts: string, inquire: Ask): string[] {
  const remedy = `install it from https://go.dev/dl or with your package manager.`;
  const version = inquire("go", ["env", "GOVERSION"]);
  const found = version === undefined ? undefined : versionIn(version);
  if (found === undefined) {
    return [`Go ${neededGo} or newer is needed to build ${parts}, and no "go" was found on the PATH: ${remedy}`];
  }
  // Since 1.21 Go fetches the toolchain that a go.mod asks for, unless told not to.
  const fetches = atLeast(found, "1.21") && inquire("go", ["env", "GOTOOLCHAIN"])?.trim() !== "local";
  if (atLeast(found, neededGo) || fetches) return [];
  return [`Go ${neededGo} or newer is needed to build ${parts}, and found is ${found}: ${remedy}`];
}
