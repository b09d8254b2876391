/** The light part of a release; test/nightly/release.test.ts makes a whole one. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { writeArchive } from "../../../release/archive.ts";
import { releaseArguments, verifyArguments } from "../../../release/arguments.ts";
import { bundledIntoImage, bundleProgram, projectManifest } from "../../../release/bundle.ts";
import { CHECKSUMS, checksumProblems, writeChecksums } from "../../../release/checksums.ts";
import { obstacles, type SourceState } from "../../../release/preflight.ts";
import { npmBOM } from "../../../release/sbom.ts";

function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-release-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

describe("checksums", () => {
  const files = { "install.yaml": "a: 1\n", "release.json": "{}\n" };

  it("are what sha256sum checks", () => {
    const folder = folderOf(files);
    writeChecksums(folder);
    expect(checksumProblems(folder)).toEqual([]);
    execFileSync("sha256sum", ["--check", "--strict", "--quiet", CHECKSUMS], { cwd: folder });
  });

  it("tell a file that was changed, one that is missing, and one too many", () => {
    const folder = folderOf(files);
    writeChecksums(folder);
    writeFileSync(join(folder, "install.yaml"), "a: 2\n");
    rmSync(join(folder, "release.json"));
    writeFileSync(join(folder, "more.yaml"), "");
    expect(checksumProblems(folder)).toEqual([
      "install.yaml is not the file that was signed",
      "release.json is missing",
      "more.yaml is no part of the release",
    ]);
  });
});

it("an archive is the same whenever and in whichever order its files were written", async () => {
  const archives = await Promise.all(
    [["b.yaml", "a.yaml"] as const, ["a.yaml", "b.yaml"] as const].map(async (order, index) => {
      const from = folderOf({});
      mkdirSync(join(from, "manifests"));
      for (const name of order) {
        writeFileSync(join(from, "manifests", name), name, { mode: index === 0 ? 0o600 : 0o644 });
        utimesSync(join(from, "manifests", name), index * 1000, index * 1000);
      }
      const to = join(from, "out.tar.gz");
      await writeArchive({ from, members: ["manifests"], to, epochSeconds: 1 });
      return readFileSync(to, "base64");
    }),
  );
  expect(archives[0]).toBe(archives[1]);
});

describe("the bill of materials of the npm package", () => {
  it("names what is bundled, by version and hash, and is the same when it is made again", async () => {
    const { version } = projectManifest;
    const { packages } = await bundleProgram("unified-rbac", version);
    const made = await npmBOM({ version, packages, epochSeconds: 1 });
    expect(await npmBOM({ version, packages, epochSeconds: 1 })).toEqual(made);
    expect(made.metadata.component).toMatchObject({ name: "unified-rbac", version });
    const names = made.components.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["commander", "yaml", "zod"]));
    expect(names).not.toContain("pg");
    expect(made.components.filter((each) => !Array.isArray(each["hashes"]))).toEqual([]);
  });

  it("leaves out no package of the image that a development tool needs too", async () => {
    const folders = await bundledIntoImage();
    expect(folders).toEqual(expect.arrayContaining(["node_modules/pg", "node_modules/yaml", "node_modules/express"]));
    const { components } = await npmBOM({ version: "1.0.0", packages: folders, epochSeconds: 1 });
    expect(components).toHaveLength(folders.length);
  });
});

describe("before a release", () => {
  const ready: SourceState = {
    version: "0.1.0",
    changelog: "# Changes\n\n## Unreleased\n\n## v0.1.0\n",
    commit: "0".repeat(40),
    commitTime: 1,
    changes: "",
  };

  it("finds nothing in the way of the version that the sources have", () => {
    expect(obstacles("0.1.0", ready)).toEqual([]);
  });

  it.each<[string, string, Partial<SourceState>, string]>([
    ["what is no version", "v0.1", { version: "v0.1", changelog: "## vv0.1\n" }, "VERSION=v0.1 is no version"],
    ["another version than package.json has", "0.2.0", { changelog: "## v0.2.0\n" }, "package.json says 0.1.0"],
    ["a version without its changes", "0.1.0", { changelog: "## v0.1.01\n" }, "CHANGELOG.md has no section"],
    ["a tree that is no commit", "0.1.0", { changes: " M Makefile\n" }, "The working tree differs"],
  ])("refuses %s", (_what, version, changes, sentence) => {
    expect(obstacles(version, { ...ready, ...changes })).toEqual([expect.stringContaining(sentence)]);
  });
});

describe("the arguments", () => {
  const common = ["--version=0.1.0", "--registry=127.0.0.1:5000/platform/", "--directory="];

  it("of a release name a registry, an image and who signs", () => {
    expect(releaseArguments([...common, "--key=cosign.key", "--image=image.tar", "--plain-http"])).toMatchObject({
      version: "0.1.0",
      registry: { path: "127.0.0.1:5000/platform", plainHTTP: true },
      identity: { kind: "key", file: "cosign.key" },
      layout: "image.tar",
    });
    const keyless = releaseArguments([...common, "--key=", "--image=image.tar", "--keyless"]);
    expect(keyless).toMatchObject({ identity: { kind: "keyless" }, registry: { plainHTTP: false } });
  });

  it.each([
    ["nobody to sign", ["--image=image.tar"], "KEY=cosign.key, or KEYLESS=1"],
    ["two to sign", ["--image=image.tar", "--key=a", "--keyless"], "not both"],
    ["no image", ["--key=a"], "IMAGE is missing"],
  ])("of a release are refused with %s", (_what, args, sentence) => {
    expect(() => releaseArguments([...common, ...args])).toThrow(sentence);
  });

  it("of a verification name the key, or the identity and its issuer", () => {
    expect(verifyArguments([...common, "--key=cosign.pub"]).expected).toEqual({ kind: "key", file: "cosign.pub" });
    const ci = ["--key=", "--identity=^https://github.com/example/", "--issuer=https://token.example.com"];
    expect(verifyArguments([...common, ...ci]).expected).toEqual({
      kind: "keyless",
      identity: "^https://github.com/example/",
      issuer: "https://token.example.com",
    });
    expect(() => verifyArguments([...common, "--identity=a"])).toThrow("IDENTITY= and ISSUER=");
    expect(() => verifyArguments(common)).toThrow("KEY=cosign.pub");
  });
});
