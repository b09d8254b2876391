/** The programs as one file each that needs no Node: a Node with the bundle inside (single executable application). */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { obtainNode, PLATFORMS, type Platform } from "../stack/obtain/node.ts";
import { projectRoot } from "../stack/paths.ts";
import { run } from "../stack/process.ts";
import { writeArchive } from "./archive.ts";
import { bundleProgram, type Program, programNames } from "./bundle.ts";
import { sha256 } from "./checksums.ts";
import { krewManifest, type KrewArchive } from "./krew.ts";

export interface ExecutableRequest {
  readonly program: Program;
  readonly platform: Platform;
  readonly version: string;
  /** The file to write. */
  readonly to: string;
}

/** Throws with what Node said. Runs on linux-x64 for every platform. */
export async function buildExecutable(request: ExecutableRequest, detail: (text: string) => void): Promise<void> {
  const { program, platform, version, to } = request;
  const builder = await obtainNode("linux-x64", detail);
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-executable-"));
  try {
    const main = join(folder, "main.js");
    writeFileSync(main, (await bundleProgram(program, version)).text);
    const config = {
      main,
      mainFormat: "module",
      executable: await obtainNode(platform, detail),
      output: to,
      disableExperimentalSEAWarning: true,
      // Both hold machine code of the platform that builds.
      useSnapshot: false,
      useCodeCache: false,
    };
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    await run({ file: builder, args: ["--build-sea", join(folder, "config.json")], cwd: folder });
    chmodSync(to, 0o755);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface ExecutablesRequest {
  readonly version: string;
  readonly platforms?: readonly Platform[];
  /** Where the archives can be downloaded, without a slash at the end. */
  readonly downloadURL: string;
  readonly epochSeconds: number;
  /** The folder for the archives. It is emptied first. */
  readonly directory: string;
}

/** One archive a platform with both programs and the license, and the manifest for Krew. */
export async function buildExecutables(request: ExecutablesRequest, detail: (text: string) => void): Promise<void> {
  const { version, platforms = PLATFORMS, downloadURL, epochSeconds, directory } = request;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const archives: KrewArchive[] = [];
  for (const platform of platforms) {
    const staging = mkdtempSync(join(tmpdir(), "unified-rbac-archive-"));
    try {
      for (const program of programNames)
        await buildExecutable({ program, platform, version, to: join(staging, program) }, detail);
      copyFileSync(join(projectRoot, "LICENSE"), join(staging, "LICENSE"));
      const name = `unified-rbac-${version}-${platform}.tar.gz`;
      const to = join(directory, name);
      await writeArchive({ from: staging, members: [...programNames, "LICENSE"], to, epochSeconds });
      archives.push({ platform, uri: `${downloadURL}/${name}`, sha256: sha256(readFileSync(to)) });
      detail(`made ${name}`);
    } finally {
      rmSync(staging, { recursive: true, force: true });
    }
  }
  writeFileSync(join(directory, "krew-tenantuser.yaml"), krewManifest(version, archives));
}
