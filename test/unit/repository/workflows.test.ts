/** The workflow files of CI: they parse, call targets that exist, and hold no right or secret that they do not need. */
import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import * as z from "zod";

const ROOT = join(import.meta.dirname, "../../..");
const FILES = globSync(".{github,gitea}/workflows/*.{yaml,yml}", { cwd: ROOT }).toSorted();
const makefile = readFileSync(join(ROOT, "Makefile"), "utf8");
const TARGETS = new Set(Array.from(makefile.matchAll(/^([a-z][a-z-]*):/gm), ([, name = ""]) => name));

const texts = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
const permissions = z.record(z.string(), z.enum(["read", "write", "none"]));
const step = z
  .strictObject({
    name: z.string().optional(),
    uses: z
      .string()
      .regex(/^(https:\/\/[\w./-]+|[\w-]+\/[\w-]+)@[\w.]+$/)
      .optional(),
    with: texts.optional(),
    env: texts.optional(),
    run: z.string().optional(),
  })
  .refine(({ uses, run }) => (uses === undefined) !== (run === undefined), "a step uses an action or runs a script");
const workflow = z.strictObject({
  name: z.string(),
  on: z.record(z.enum(["pull_request", "push", "schedule", "workflow_dispatch"]), z.unknown().optional()),
  permissions: permissions.optional(),
  concurrency: z.unknown().optional(),
  jobs: z.record(
    z.string(),
    z.strictObject({
      "runs-on": z.string(),
      "timeout-minutes": z.int(),
      permissions: permissions.optional(),
      env: texts.optional(),
      steps: z.array(step),
    }),
  ),
});
type Workflow = z.infer<typeof workflow>;

const read = (file: string): Workflow => workflow.parse(parse(readFileSync(join(ROOT, file), "utf8")));
const jobsOf = (file: string) => Object.values(read(file).jobs);
const scriptsOf = (file: string): string[] =>
  jobsOf(file).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));
/** Each `make target A=... B=...` of the scripts. */
const callsOf = (file: string) =>
  scriptsOf(file).flatMap((script) =>
    Array.from(script.replaceAll("\\\n", " ").matchAll(/\bmake ([^\n]+)/g), ([, rest = ""]) => ({
      target: rest.split(" ", 1)[0] ?? "",
      variables: Array.from(rest.matchAll(/\b([A-Z_]+)=/g), ([, name = ""]) => name),
    })),
  );

it("there are the same three on both forges", () => {
  const names = ["nightly", "release", "test"].map((name) => `workflows/${name}.yaml`);
  expect(FILES).toEqual([...names.map((name) => `.gitea/${name}`), ...names.map((name) => `.github/${name}`)]);
});

describe.each(FILES)("%s", (file) => {
  it("is a workflow whose make targets and variables exist", () => {
    const calls = callsOf(file);
    expect(calls.length).toBeGreaterThan(0);
    expect(calls.filter(({ target }) => !TARGETS.has(target))).toEqual([]);
    const unknown = calls.flatMap(({ variables }) => variables.filter((name) => !makefile.includes(`$(${name})`)));
    expect(unknown.filter((name) => !makefile.includes(`$(if $(${name})`))).toEqual([]);
  });

  it("puts nothing that an event says into a script, where it could become a command", () => {
    expect(scriptsOf(file).filter((script) => script.includes("${{"))).toEqual([]);
  });

  it("has scripts that bash can parse", () => {
    const broken = scriptsOf(file).filter((input) => spawnSync("bash", ["-n"], { input }).status !== 0);
    expect(broken).toEqual([]);
  });
});

describe("the release", () => {
  const github = ".github/workflows/release.yaml";
  const gitea = ".gitea/workflows/release.yaml";

  it("runs for a tag only, and makes and verifies the same on both forges", () => {
    for (const file of [github, gitea]) {
      expect(read(file).on).toEqual({ push: { tags: ["v*"] } });
      expect(callsOf(file).map(({ target }) => target)).toEqual(["release", "verify-release"]);
    }
  });

  it("is signed by the workflow's identity on GitHub, and by a key on Gitea", () => {
    expect(callsOf(github)[0]?.variables).toContain("KEYLESS");
    expect(callsOf(github)[1]?.variables).toEqual(expect.arrayContaining(["IDENTITY", "ISSUER"]));
    expect(jobsOf(github)[0]?.permissions).toEqual({ contents: "write", packages: "write", "id-token": "write" });
    for (const { variables } of callsOf(gitea)) expect(variables).toContain("KEY");
  });

  it("alone may write or take an identity", () => {
    const others = FILES.filter((name) => name.startsWith(".github/"));
    for (const file of others) expect(read(file).permissions).toEqual({ contents: "read" });
    const widened = others.filter((file) => jobsOf(file).some((job) => job.permissions !== undefined));
    expect(widened).toEqual([github]);
  });

  it("alone sees secrets", () => {
    const seeing = FILES.filter((file) => readFileSync(join(ROOT, file), "utf8").includes("secrets."));
    expect(seeing).toEqual([gitea, github]);
  });
});
