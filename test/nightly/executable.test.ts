/** The single executables of this platform: made, unpacked, and run where there is no Node. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { projectManifest } from "../../release/bundle.ts";
import { sha256 } from "../../release/checksums.ts";
import { buildExecutables } from "../../release/executable.ts";
import { where } from "../support/where.ts";

const ROOT = join(import.meta.dirname, "../..");
const { version } = projectManifest;
const HERE = process.platform === "linux" && process.arch === "x64";
let folder: string;

/** An empty PATH: no Node can help. */
const unpacked = (program: string, ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(join(folder, "bin", program), args, {
    env: { PATH: "/nowhere", HOME: folder },
    cwd: folder,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "unified-rbac-executables-"));
  if (!HERE) return;
  const downloadURL = "https://git.example.com/releases";
  await buildExecutables(
    { version, platforms: ["linux-x64"], downloadURL, epochSeconds: 1, directory: join(folder, "made") },
    () => {},
  );
  mkdirSync(join(folder, "bin"));
  execFileSync("tar", [
    "-xzf",
    join(folder, "made", `unified-rbac-${version}-linux-x64.tar.gz`),
    "-C",
    join(folder, "bin"),
  ]);
}, 900_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("an executable for Linux", () => {
  test.each(where(HERE))("knows its version and lints the examples", () => {
    expect(unpacked("unified-rbac", "--version")).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
    expect(unpacked("unified-rbac", "lint", "--strict", join(ROOT, "examples"))).toMatchObject({
      status: 0,
      stderr: expect.stringContaining(": 0 errors, 0 warnings"),
    });
  });

  test.each(where(HERE))("writes the onboarding of a tenant from the files inside", () => {
    const urls = ["--git-url=https://git.example.com/a", "--keycloak-url=https://sso.example.com"];
    const args = ["tenant", "init", "acme", ...urls, "--newapi-url=https://llm.example.com", "--out=acme"];
    expect(unpacked("unified-rbac", ...args)).toMatchObject({ status: 0, stderr: "" });
    expect(readdirSync(join(folder, "acme"))).toContain("tenant.yaml");
  });

  test.each(where(HERE))("is the kubectl plugin too, which Krew installs by its checksum", () => {
    expect(unpacked("kubectl-tenantuser", "--help")).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^Usage: kubectl tenantuser/),
    });
    const manifest = parse(readFileSync(join(folder, "made", "krew-tenantuser.yaml"), "utf8")) as {
      spec: { platforms: [{ sha256: string }] };
    };
    const archive = readFileSync(join(folder, "made", `unified-rbac-${version}-linux-x64.tar.gz`));
    expect(manifest.spec.platforms[0].sha256).toBe(sha256(archive));
  });
});
