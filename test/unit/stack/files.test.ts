import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { lastLines } from "../../../stack/files.ts";

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "stack-files-"))));
afterEach(() => rmSync(dir, { recursive: true }));

describe("the last lines of a log", () => {
  it("do not hold what an earlier start said", () => {
    const log = join(dir, "log");
    writeFileSync(log, "--- start\nold trouble\n--- start\nnew trouble\n");
    expect(lastLines(log, 20, "--- start")).toBe("new trouble");
  });

  it("are not more than asked for", () => {
    const log = join(dir, "log");
    writeFileSync(log, "--- start\n1\n2\n3\n");
    expect(lastLines(log, 2, "--- start")).toBe("2\n3");
  });

  it("are empty where there is no log", () => {
    expect(lastLines(join(dir, "none"), 20, "--- start")).toBe("");
  });
});
