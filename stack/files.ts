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

/** The end of a log, and of it nothing from before the last line that begins with `since`. */
export function lastLines(path: string, count: number, since?: string): string {
  const lines = (readIfThere(path) ?? "").trimEnd().split("\n");
  const start = since === undefined ? 0 : lines.findLastIndex((line) => line.startsWith(since)) + 1;
  return lines.slice(Math.max(start, lines.length - count)).join("\n");
}
