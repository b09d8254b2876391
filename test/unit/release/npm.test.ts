/** What `npm install --global unified-rbac` gives people: packed, installed without a network, and run. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { projectManifest } from "../../../release/bundle.ts";
import { buildPackage } from "../../../release/npm.ts";
import { runCLI } from "../../support/cli.ts";
import { userYAML } from "../../support/lint.ts";

const ROOT = join(import.meta.dirname, "../../..");
const run = promisify(execFile);

let folder: string;
let files: readonly string[];
const inFolder = (...parts: string[]): string => join(folder, ...parts);
const readInstalled = (name: string): string =>
  readFileSync(inFolder("prefix/lib/node_modules/unified-rbac", name), "utf8");

/** Only this Node and the system's own programs: nothing of this project is on the PATH. */
const env = () => ({ PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, HOME: folder });

async function npm(...args: string[]): Promise<string> {
  const quiet = ["--offline", "--no-audit", "--no-fund", "--loglevel=error", `--cache=${inFolder("cache")}`];
  return (await run("npm", [...args, ...quiet], { cwd: folder })).stdout;
}

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function installed(program: string, ...args: string[]): Promise<Ended> {
  return run(inFolder("prefix/bin", program), args, { env: env(), cwd: folder }).then(
    ({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      out: error.stdout,
      err: error.stderr,
    }),
  );
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unified-rbac-npm-"));
  ({ files } = await buildPackage(projectManifest.version, inFolder("package")));
  await npm("pack", inFolder("package"));
  await npm(
    "install",
    "--global",
    "--prefix",
    inFolder("prefix"),
    inFolder(`unified-rbac-${projectManifest.version}.tgz`),
  );
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the package", () => {
  it("contains the two programs, licenses and a page, and nothing else", () => {
    const expected = [
      "LICENSE",
      "README.md",
      "THIRD-PARTY-LICENSES",
      "kubectl-tenantuser.js",
      "lib",
      "lib/kubectl-tenantuser.js",
      "lib/unified-rbac.js",
      "package.json",
      "unified-rbac.js",
    ];
    expect(files).toEqual(expected);
    const home = inFolder("prefix/lib/node_modules/unified-rbac");
    expect(readdirSync(home, { recursive: true, encoding: "utf8" }).toSorted()).toEqual(expected);
  });

  it("depends on nothing and may be published", () => {
    const manifest = JSON.parse(readInstalled("package.json")) as Record<string, unknown>;
    expect(manifest).toMatchObject({ name: "unified-rbac", version: projectManifest.version, license: "Apache-2.0" });
    expect(Object.keys(manifest).filter((key) => /depend|private|scripts/i.test(key))).toEqual([]);
    expect(existsSync(inFolder("prefix/lib/node_modules/unified-rbac/node_modules"))).toBe(false);
  });

  it("bundles nothing of the server, and names the license of what it bundles", () => {
    const licenses = readInstalled("THIRD-PARTY-LICENSES");
    const names = Array.from(licenses.matchAll(/^(\S+) \d+\.\d+\.\d+ \([\w.-]+\)$/gm), ([, name]) => name);
    expect(names).toEqual(expect.arrayContaining(["commander", "yaml", "zod"]));
    for (const server of ["express", "pg", "pino", "prom-client", "selfsigned", "@nats-io/transport-node"])
      expect(names).not.toContain(server);
  });

  it("holds nothing of the machine that built it", () => {
    for (const program of ["unified-rbac", "kubectl-tenantuser"])
      expect(readInstalled(`lib/${program}.js`)).not.toContain(ROOT);
  });
});

describe("the installed programs", () => {
  it.each(["unified-rbac", "kubectl-tenantuser"])("%s answers --help", async (program) => {
    const { code, out } = await installed(program, "--help");
    expect({ code, usage: out.split("\n")[0] }).toEqual({ code: 0, usage: expect.stringMatching(/^Usage: /) });
  });

  it("know their version", async () => {
    expect(await installed("unified-rbac", "--version")).toMatchObject({
      code: 0,
      out: `${projectManifest.version}\n`,
    });
  });

  it("lint the examples, and find what is wrong", async () => {
    expect(await installed("unified-rbac", "lint", "--strict", join(ROOT, "examples"))).toMatchObject({ code: 0 });
    writeFileSync(inFolder("bob.yaml"), userYAML("bob", { email: "bob" }));
    expect(await installed("unified-rbac", "lint", "bob.yaml")).toMatchObject({
      code: 1,
      out: expect.stringContaining("spec.email: must be one email address"),
    });
  });

  it("write the onboarding of a tenant from the files inside", async () => {
    const values = ["--git-url", "https://git.example.com/acme/users", "--keycloak-url", "https://sso.example.com"];
    const args = ["tenant", "init", "acme", ...values, "--newapi-url", "https://llm.example.com"];
    const ours = await installed("unified-rbac", ...args, "--out", inFolder("acme"));
    expect(ours).toMatchObject({ code: 0 });
    expect(await runCLI([...args, "--out", inFolder("acme-source")])).toMatchObject({ code: 0 });
    for (const name of readdirSync(inFolder("acme-source")))
      expect(readFileSync(inFolder("acme", name), "utf8")).toBe(readFileSync(inFolder("acme-source", name), "utf8"));
  });

  it("say that the image runs the roles", async () => {
    const { code, err } = await installed("unified-rbac", "webhook");
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("the image runs it") });
  });
});
