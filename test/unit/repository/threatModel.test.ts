/** The threat model keeps its promise: every threat has a control, a test that is there, and a word on what stays open. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const page = readFileSync(join(ROOT, "docs/threat-model.md"), "utf8");

const rows = page
  .split("\n")
  .filter((line) => line.startsWith("| "))
  .map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  )
  .filter((cells) => cells.length === 4 && cells[0] !== "Threat" && !/^-+$/.test(cells[0] ?? ""));
const testsIn = (cell: string): string[] => Array.from(cell.matchAll(/`([^`]+)`/g), ([, path = ""]) => path);

describe("the threat model", () => {
  it("has threats of every kind", () => {
    expect(rows.length).toBeGreaterThan(20);
  });

  it.each(rows)("%s", (_threat, control, tests, open) => {
    expect(control).not.toBe("");
    expect(open).not.toBe("");
    const named = testsIn(tests ?? "");
    expect(named).not.toEqual([]);
    expect(named.filter((path) => !path.startsWith("test/") || !existsSync(join(ROOT, path)))).toEqual([]);
  });
});
