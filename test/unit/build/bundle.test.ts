/** What `npm run build` makes: each file runs by itself, and holds what it needs and nothing more. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transform } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle, LAUNCHERS, type Metafiles, NOTICES, type ProgramName } from "../../../build/bundle.ts";
import { packagesOf } from "../../../build/notices.ts";
import { OLDEST_NODE } from "../../../src/lib/nodeVersion.ts";
import { readMigrations } from "../../../src/store/migrate.ts";
import { projectRoot } from "../../../stack/paths.ts";

const folder = mkdtempSync(join(tmpdir(), "unified-rbac-bundle-"));
/** Somewhere else, so that nothing beside the built files can be found. */
const moved = join(folder, "moved", "to", "app");
let metafiles: Metafiles;

beforeAll(async () => {
  metafiles = await bundle(join(folder, "dist"));
  cpSync(join(folder, "dist"), moved, { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const read = (file: string): string => readFileSync(join(moved, file), "utf8");
const inputsOf = (name: ProgramName): string[] => Object.keys(metafiles[name].inputs);

function run(file: string, args: readonly string[], { env = {}, flags = [] as readonly string[] } = {}) {
  const command = [...flags, join(moved, file), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: "utf8", env, cwd: folder });
  return { status, stdout, stderr };
}

describe("a built program", () => {
  it.each([
    ["main.js", "Usage: unified-rbac [options] [command]"],
    ["kubectl-tenantuser.js", "Usage: kubectl tenantuser [options] [command]"],
  ])("%s answers --help", (file, usage) => {
    expect(run(file, ["--help"])).toMatchObject({ status: 0, stdout: expect.stringContaining(usage), stderr: "" });
  });

  it("knows its version, and the templates of a tenant", () => {
    const { version } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as { version: string };
    expect(run("main.js", ["--version"])).toMatchObject({ status: 0, stdout: `${version}\n` });
    const values = ["--git-url", "https://git.example.com/acme/users", "--keycloak-url", "https://sso.example.com"];
    const init = ["tenant", "init", "acme", ...values, "--newapi-url", "https://llm.example.com", "--out", "acme"];
    expect(run("main.js", init)).toMatchObject({ status: 0, stderr: "" });
    expect(readdirSync(join(folder, "acme"))).toContain("tenant.yaml");
  });

  it.each(["webhook", "reconciler", "migrate"])("%s ends with 2 and names the variables that are missing", (role) => {
    const { status, stderr } = run("main.js", [role]);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining("DATABASE_URL: is required") });
  });

  it.each(["webhook", "reconciler", "migrate"])("%s takes no arguments", (role) => {
    expect(run("main.js", [role, "--port"])).toMatchObject({ status: 2, stderr: expect.stringContaining("arguments") });
  });

  it("migrate holds every migration", () => {
    for (const { name, sql } of readMigrations()) {
      expect(read("migrate.js")).toContain(name);
      expect(read("migrate.js")).toContain(JSON.stringify(sql).slice(1, 60));
    }
  });

  it("holds nothing of the machine that built it", () => {
    const texts = readdirSync(moved).filter((file) => /\.(js|map|json)$/.test(file) || file === NOTICES);
    expect(texts.filter((file) => read(file).includes(projectRoot) || read(file).includes(folder))).toEqual([]);
  });
});

describe("what a bundle is made of", () => {
  const packages = (name: ProgramName): string[] => packagesOf(inputsOf(name));

  it("the roles hold nothing of OpenTelemetry but its API, which prom-client needs", () => {
    const ours = (name: ProgramName) => packages(name).filter((path) => path.includes("@opentelemetry/"));
    for (const role of ["webhook", "reconciler"] as const) {
      expect(ours(role)).toEqual([expect.stringMatching(/@opentelemetry\/api$/)]);
      expect(read(`${role}.js`)).toContain('import("./openTelemetry.js")');
    }
    expect(ours("openTelemetry").length).toBeGreaterThan(3);
  });

  it("the webhook has no Kubernetes client, and nothing of the reconciler or of the commands", () => {
    expect(packages("webhook")).not.toContain("node_modules/@kubernetes/client-node");
    expect(
      inputsOf("webhook").filter((path) => /^src\/(kube|keycloak|gateway|steps|reconciler|cli)\//.test(path)),
    ).toEqual([]);
    expect(inputsOf("webhook")).toContain("src/admission/server.ts");
    expect(packages("reconciler")).toContain("node_modules/@kubernetes/client-node");
  });

  it("the commands and the plugin have nothing of the service", () => {
    for (const name of ["cli", "plugin"] as const) {
      for (const server of ["express", "pg", "pino", "prom-client", "selfsigned"])
        expect(packages(name)).not.toContain(`node_modules/${server}`);
    }
  });

  it("no role has zod's translations: `import * as z` is what lets them be left out", () => {
    for (const name of ["webhook", "reconciler", "migrate"] as const) {
      const { inputs = {} } = metafiles[name].outputs[`${name}.js`] ?? {};
      const languages = Object.entries(inputs).filter(
        ([path, { bytesInOutput }]) => /zod\/v4\/locales\/(?!en\.)/.test(path) && bytesInOutput > 0,
      );
      expect(languages.map(([path]) => path)).toEqual([]);
    }
  });

  it("the licenses name each of its packages, with its text", () => {
    const all = [...new Set((Object.keys(metafiles) as ProgramName[]).flatMap(packages))].map((path) =>
      path.replace(/^.*node_modules\//, ""),
    );
    expect(all.length).toBeGreaterThan(50);
    const text = read(NOTICES);
    const named = Array.from(text.matchAll(/^(\S+) \d+\.\d+\.\d+\S* \([^)]+\)$/gm), ([, name]) => name);
    expect(all.filter((name) => !named.includes(name))).toEqual([]);
    expect(text).toContain("Permission is hereby granted, free of charge");
  });

  it("is the same a second time", async () => {
    const again = join(folder, "elsewhere", "dist");
    await bundle(again);
    const files = readdirSync(again).toSorted();
    expect(files).toEqual(readdirSync(join(folder, "dist")).toSorted());
    expect(files.filter((file) => readFileSync(join(again, file), "utf8") !== read(file))).toEqual([]);
  });
});

describe("a stack trace", () => {
  const map = (name: ProgramName) => new SourceMap(JSON.parse(read(`${name}.js.map`)) as SourceMapPayload);
  const entryAt = (name: ProgramName, text: string) => {
    const at = read(`${name}.js`)
      .split("\n")
      .findIndex((line) => line.includes(text));
    return map(name).findEntry(at, 10);
  };

  it.each(["webhook", "reconciler", "migrate"] as const)("of %s names file and line of the source", (name) => {
    const entry = entryAt(name, "takes no arguments: everything is configured by the environment");
    if (!("originalSource" in entry)) throw new Error("it is not mapped");
    const source = readFileSync(join(projectRoot, entry.originalSource), "utf8").split("\n")[entry.originalLine];
    expect(entry.originalSource).toBe("src/entries/role.ts");
    expect(source).toContain("takes no arguments");
  });

  it("keeps the line of the bundle for a package", () => {
    expect(entryAt("webhook", "client.connect(")).toMatchObject({ originalSource: undefined });
    expect((JSON.parse(read("webhook.js.map")) as SourceMapPayload).sources.length).toBeGreaterThan(20);
  });
});

describe("on a Node that is too old", () => {
  /** What such a Node says of itself; the file itself stays one that it can read (below). */
  const pretend = (version: string): string[] => {
    const code = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${version}" } })`;
    return [`--import=data:text/javascript,${encodeURIComponent(code)}`];
  };
  const files = [
    ["main.js", "unified-rbac"],
    ["kubectl-tenantuser.js", "kubectl tenantuser"],
  ] as const;

  it.each(files)("%s says which Node it needs, and nothing else", (file, program) => {
    for (const version of ["20.20.2", "22.18.9", "8.17.0"]) {
      expect(run(file, ["--help"], { flags: pretend(version) })).toEqual({
        status: 2,
        stdout: "",
        stderr: `${program} needs Node ${OLDEST_NODE} or newer, and this is Node ${version}: install a newer one from https://nodejs.org.\n`,
      });
    }
  });

  it.each(files)("%s runs on the oldest that it needs", (file) => {
    for (const version of [`${OLDEST_NODE}.0`, "23.0.0", "100.0.0"])
      expect(run(file, ["--help"], { flags: pretend(version) })).toMatchObject({ status: 0, stderr: "" });
  });

  it.each(LAUNCHERS)("%s.js has no syntax of its time, and imports nothing before it has looked", async (name) => {
    const text = read(`${name}.js`);
    const settings = { format: "esm", supported: { "dynamic-import": true } } as const;
    const [old, current] = await Promise.all([
      transform(text, { ...settings, target: "es2015" }),
      transform(text, { ...settings, target: "esnext" }),
    ]);
    expect(old.code).toBe(current.code);
    expect(text).not.toMatch(/^\s*(import|export)\s/m);
  });

  it("the package states the same version", () => {
    const { engines } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as {
      engines: { node: string };
    };
    expect(engines.node).toBe(`>=${OLDEST_NODE}`);
  });
});
