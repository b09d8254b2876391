import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { candidateUUID } from "../../../../src/api/names.ts";
import { lintFiles, lintFolder, type LintFolder, tenantYAML, userYAML } from "../../../support/lint.ts";

describe("--against", () => {
  const PIN = "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90";
  const OTHER = "1b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90";

  /** A repository whose branch main holds these files. */
  function repository(files: Readonly<Record<string, string>>): LintFolder & { git(...args: string[]): void } {
    const made = lintFolder(files);
    const git = (...args: string[]): void => {
      const env = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@t.example", ...args], { cwd: made.dir, env });
    };
    git("init", "--quiet", "--initial-branch=main");
    git("add", "--all");
    git("commit", "--quiet", "--message=before");
    return { ...made, git };
  }

  it("finds a uuid that was changed, also when the file has another name by now", async () => {
    const made = repository({ "users/a.yaml": userYAML("ada", { userUUID: PIN }), "users/keep.yaml": "# nothing\n" });
    made.git("mv", "users/a.yaml", "users/b.yaml");
    made.write("users/b.yaml", userYAML("ada", { userUUID: OTHER, displayName: "Ada" }));
    expect(await made.lint("--against=main", "./users")).toMatchObject({
      code: 1,
      out: [
        `users/b.yaml:7:13: spec.userUUID: is immutable, and was ${PIN} in main:users/a.yaml (put it back; another person gets a manifest of another name)`,
      ],
    });
  });

  it("warns of a uuid that was added, unless it is the person's own", async () => {
    const made = repository({ "a.yaml": userYAML("ada"), "tenant.yaml": tenantYAML() });
    made.write("a.yaml", userYAML("ada", { userUUID: PIN }));
    const { code, out } = await made.lint("--against=main", "./a.yaml");
    expect(code).toBe(0);
    expect(out).toEqual([expect.stringContaining("a.yaml:7:13: warning: spec.userUUID: was added to a user")]);
    made.write("a.yaml", userYAML("ada", { userUUID: candidateUUID("acme", "ada@acme.example") }));
    expect((await made.lint("--against=main", "--tenant=./tenant.yaml", "./a.yaml")).out).toEqual([]);
  });

  it("is content with a new person, a removed one, a pin that is taken away, and every other change", async () => {
    const made = repository({ "a.yaml": userYAML("ada", { userUUID: PIN }), "b.yaml": userYAML("bob") });
    made.git("rm", "--quiet", "b.yaml");
    made.write("a.yaml", userYAML("ada", { email: "lovelace@acme.example", enabled: false }));
    made.write("c.yaml", userYAML("carl", { userUUID: OTHER }));
    expect((await made.lint("--against=main", ".")).out).toEqual([]);
  });

  it("compares with where the branch began, not with what others did since", async () => {
    const made = repository({ "a.yaml": userYAML("ada", { userUUID: PIN }), "b.yaml": "" });
    made.git("checkout", "--quiet", "-b", "mine");
    made.git("checkout", "--quiet", "main");
    made.write("a.yaml", userYAML("ada"));
    made.git("commit", "--quiet", "--all", "--message=theirs");
    made.git("checkout", "--quiet", "mine");
    made.write("b.yaml", userYAML("bob"));
    expect((await made.lint("--against=main", ".")).out).toEqual([]);
  });

  it("finds what a Tenant may not change, and what it may not while it has users", async () => {
    const made = repository({ "t.yaml": tenantYAML() });
    made.write("t.yaml", tenantYAML({ tenantID: "globex" }));
    expect((await made.lint("--against=main", ".")).out).toEqual([
      "t.yaml:6:13: spec.tenantID: is immutable: it is part of every user's identity (put it back; another tenant gets a manifest of another name)",
    ]);
    made.write("t.yaml", tenantYAML({ namespaces: [] }));
    expect(await made.lint("--against=main", ".")).toMatchObject({
      code: 0,
      out: [expect.stringContaining('t.yaml:7:15: warning: Namespace "tenant-acme" cannot leave while it has users;')],
    });
  });

  it("says in a sentence what git does not know", async () => {
    const made = repository({ "a.yaml": userYAML("ada") });
    expect(await made.lint("--against=origin/main", ".")).toEqual({
      code: 2,
      out: [],
      err: "--against origin/main: there is no such ref in this repository; fetch it first (in CI with fetch-depth: 0).\n",
    });
    expect((await made.lint("--against=--output=x", ".")).code).toBe(2);
    expect((await lintFiles({ "a.yaml": userYAML("ada") }, "--against=main", ".")).err).toBe(
      "--against needs a git repository, and . is in none.\n",
    );
  });
});
