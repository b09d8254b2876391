import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** Writes by rename, so that a reader or a kill never meets half a file. */
export function writeAtomically(path: string, content: string, mode = 0o644): void {
  const draft = `${path}.${process.pid}.tmp`;
  writeFileSync(draft, content, { mode });
  renameSync(draft, path);
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export function lastLines(path: string, count: number): string {
  return (readIfThere(path) ?? "").trimEnd().split("\n").slice(-count).join("\n");
}
