/** `unified-rbac` on the PATH, as npm would link it. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A PATH that begins with a folder with the program; it goes with the test. */
export function pathWithProgram(): string {
  const dir = mkdtempSync(join(tmpdir(), "unified-rbac-bin-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const program = join(import.meta.dirname, "../../src/main.ts");
  writeFileSync(join(dir, "unified-rbac"), `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
  chmodSync(join(dir, "unified-rbac"), 0o755);
  return `${dir}:${process.env["PATH"] ?? ""}`;
}
