import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lintWith, userYAML } from "../../../support/lint.ts";

const ROOT = join(import.meta.dirname, "../../../..");

describe("the command", () => {
  it.each([
    [["lint"], "error: missing required argument 'PATH'"],
    [["lint", "--format=xml", "a"], "error: option '--format <FORMAT>' argument 'xml' is invalid."],
    [["lint", "nowhere"], "nowhere: there is no such file or folder."],
    [["lnt"], "error: unknown command 'lnt'"],
    [["webhook", "now"], "webhook takes no arguments: everything is configured by the environment."],
    [[], "Usage: unified-rbac"],
  ])("%j is a usage error: exit code 2 and a sentence", (args, message) => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [join(ROOT, "src/main.ts"), ...args], {
      encoding: "utf8",
    });
    expect(stderr).toContain(message);
    expect([status, stdout]).toEqual([2, ""]);
  });

  it("reads standard input, and ends with 1 on a finding", () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, "src/main.ts"), "lint", "-"], {
      encoding: "utf8",
      input: userYAML("ada", { email: "ada" }),
    });
    expect([status, stderr]).toEqual([1, "1 manifest checked: 1 error, 0 warnings\n"]);
    expect(stdout).toMatch(/^<stdin>:6:10: spec\.email: .*\n$/);
  });

  it("--help has an example and the exit codes", async () => {
    const { out, code } = await lintWith({}, "--help");
    expect(out.join("\n")).toContain("$ unified-rbac lint --against=origin/main --format=gitea users");
    expect(out.join("\n")).toMatch(/Exit codes:\n {2}0 .*\n {2}1 .*\n {2}2 /);
    expect(code).toBe(0);
  });
});
