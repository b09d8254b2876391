import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

import { ask, type Ask } from "./prerequisites.ts";
import { atLeast, sameMinor, versionIn } from "./versions.ts";

/**
 * Programs that a machine may already have. Flux's controllers are not among
 * them: they cannot tell their version. Neither is Gitea, whose packages differ in where
 * they keep the templates.
 */
export const findable = {
  "kube-apiserver": { ask: ["--version"], fits: (version: string) => sameMinor(version, "1.37") },
  "kube-controller-manager": { ask: ["--version"], fits: (version: string) => sameMinor(version, "1.37") },
  kubectl: { ask: ["version", "--client"], fits: (version: string) => sameMinor(version, "1.37") },
  etcd: { ask: ["--version"], fits: (version: string) => atLeast(version, "3.5") },
  prometheus: { ask: ["--version"], fits: (version: string) => atLeast(version, "2.53") },
  promtool: { ask: ["--version"], fits: (version: string) => atLeast(version, "2.53") },
  "nats-server": { ask: ["--version"], fits: (version: string) => atLeast(version, "2.10") },
} as const;
export type Findable = keyof typeof findable;

const isFindable = (program: string): program is Findable => program in findable;

/** A fitting program from KUBEBUILDER_ASSETS (the folder that setup-envtest names), else from the PATH. */
export function findProgram(
  program: string,
  env: NodeJS.ProcessEnv = process.env,
  inquire: Ask = ask,
): string | undefined {
  if (!isFindable(program)) return undefined;
  const { ask: question, fits } = findable[program];
  const folders = [env["KUBEBUILDER_ASSETS"], ...(env["PATH"] ?? "").split(delimiter)];
  for (const folder of folders) {
    if (!folder) continue;
    const file = join(folder, program);
    if (!isExecutable(file)) continue;
    const version = versionIn(inquire(file, question) ?? "");
    if (version !== undefined && fits(version)) return file;
  }
  return undefined;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
