/** What people copy: examples/, and the repository that a tenant begins with. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import * as z from "zod";
import { tenantUser } from "../../../src/api/tenantUser.ts";
import { projectManifest } from "../../../release/bundle.ts";
import { pathWithProgram } from "../../support/installed.ts";
import { lintFolder, lintWith, userYAML } from "../../support/lint.ts";
import { runShell } from "../../support/pages.ts";

const ROOT = join(import.meta.dirname, "../../..");
const EXAMPLES = join(ROOT, "examples");
const REPOSITORY = join(ROOT, "flux/tenant/repository");
const files = readdirSync(EXAMPLES).filter((file) => file.endsWith(".yaml"));
const textOf = (file: string) => readFileSync(join(EXAMPLES, file), "utf8");
const specs = (file: string) => parseAllDocuments(textOf(file)).map((each) => tenantUser.parse(each.toJS()).spec);

describe("the examples", () => {
  it("show one person, a team, rotation, suspension and Retain", () => {
    expect(files.toSorted()).toEqual(["person.yaml", "retain.yaml", "rotation.yaml", "suspension.yaml", "team.yaml"]);
    expect(specs("team.yaml").length).toBeGreaterThan(1);
    expect(specs("rotation.yaml")).toMatchObject([{ key: { generation: 1 } }]);
    expect(specs("suspension.yaml")).toMatchObject([{ suspend: true }]);
    expect(specs("retain.yaml")).toMatchObject([{ deletionPolicy: "Retain" }]);
  });

  it("are together without a finding", async () => {
    expect(await lintWith({}, "--strict", EXAMPLES)).toMatchObject({ code: 0, out: [] });
  });

  it.each(files)("%s begins with the schema for editors, which is there", (file) => {
    const [first = ""] = textOf(file).split("\n", 1);
    const [, path = ""] = /^# yaml-language-server: \$schema=(\S+)$/.exec(first) ?? [];
    expect(existsSync(resolve(EXAMPLES, path))).toBe(true);
    expect(basename(path)).toBe("tenantuser_v1alpha1.json");
  });
});

const workflow = z.object({
  on: z.object({ pull_request: z.null(), push: z.object({ branches: z.array(z.string()) }) }),
  jobs: z.object({
    lint: z.object({
      "runs-on": z.string(),
      env: z.object({ UNIFIED_RBAC: z.string(), AGAINST: z.string() }),
      steps: z.array(
        z.union([
          z.strictObject({ uses: z.string(), with: z.record(z.string(), z.unknown()) }),
          z.strictObject({ name: z.string(), run: z.string() }),
        ]),
      ),
    }),
  }),
});

describe("the workflow for Gitea Actions", () => {
  const read = workflow.parse(parse(readFileSync(join(REPOSITORY, ".gitea/workflows/lint.yaml"), "utf8")));
  const { steps } = read.jobs.lint;
  const script = steps.flatMap((step) => ("run" in step && step.name === "Lint" ? [step.run] : [])).join("\n");

  it("fetches the whole history, for there is a change to compare", () => {
    expect(steps).toContainEqual({ uses: "actions/checkout@v4", with: { "fetch-depth": 0 } });
  });

  it("passes a good change, and fails with place and sentence on a bad one", async () => {
    const made = lintFolder({ "users/ada.yaml": userYAML("ada") });
    const env = { PATH: pathWithProgram(), AGAINST: "origin/main" };
    const here = { cwd: made.dir, env };
    await runShell(
      `git init -q -b main && git add -A && git -c user.name=t -c user.email=t@t.example commit -qm before
       git update-ref refs/remotes/origin/main HEAD`,
      here,
    );
    expect(await runShell(script, here)).toMatchObject({ code: 0, output: "" });
    made.write("users/bob.yaml", userYAML("bob", { email: "bob" }));
    const { code, output } = await runShell(script, here);
    expect(code).toBe(1);
    expect(output).toMatch(/^::error::users\/bob\.yaml:6:10: spec\.email: must be one email address/);
  });
});

const preCommit = z.strictObject({
  repos: z.tuple([
    z.strictObject({
      // No clone of this repository: the hook installs the package.
      repo: z.literal("local"),
      hooks: z.tuple([
        z.strictObject({
          id: z.string(),
          name: z.string(),
          language: z.literal("node"),
          additional_dependencies: z.tuple([z.string()]),
          entry: z.string(),
          args: z.array(z.string()),
          files: z.string(),
          pass_filenames: z.literal(false),
        }),
      ]),
    }),
  ]),
});

describe("the pre-commit hook", () => {
  const { repos } = preCommit.parse(parse(readFileSync(join(REPOSITORY, ".pre-commit-config.yaml"), "utf8")));
  const [hook] = repos[0].hooks;

  it("runs, and sees the whole repository", async () => {
    expect(new RegExp(hook.files, "u").test("users/ada.yaml")).toBe(true);
    const made = lintFolder({
      "users/ada.yaml": userYAML("ada"),
      "users/other.yml": userYAML("bob", { email: "ADA@acme.example" }),
    });
    const { code, output } = await runShell([hook.entry, ...hook.args].join(" "), {
      cwd: made.dir,
      env: { PATH: pathWithProgram() },
    });
    expect(code).toBe(1);
    expect(output).toContain("is the address of TenantUser ada too");
  });

  it("and the workflow install the package of this version", () => {
    const asked = `unified-rbac@${projectManifest.version}`;
    expect(hook.additional_dependencies).toEqual([asked]);
    const { env } = workflow.parse(parse(readFileSync(join(REPOSITORY, ".gitea/workflows/lint.yaml"), "utf8"))).jobs
      .lint;
    expect(env.UNIFIED_RBAC).toBe(asked);
  });
});

it("a tenant's repository begins without a finding", async () => {
  expect(await lintWith({}, REPOSITORY)).toMatchObject({ code: 0, out: [] });
});
