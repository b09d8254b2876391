import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const projectRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where the pinned versions and checksums of a part live (committed). */
export function lockDir(part: string): string {
  return join(projectRoot, "stack", "lock", part);
}

/** Built parts are shared by all clones of one user; a fresh clone finds them. */
export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
  const base = env["XDG_CACHE_HOME"];
  // The XDG specification says that a relative path is to be ignored.
  return join(base?.startsWith("/") ? base : join(homedir(), ".cache"), "unified-rbac");
}

export function stackDir(name: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(name)) {
    throw new Error(`"${name}" cannot name a stack: use up to 31 lower-case letters, digits and dashes.`);
  }
  return join(projectRoot, ".stack", name);
}

export const logFile = (dir: string, part: string): string => join(dir, "logs", `${part}.log`);
