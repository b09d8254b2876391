/** The product's image, built from the Dockerfile. */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { cached, cacheKey } from "../obtain/cache.ts";
import { loadImages } from "../node/images.ts";
import { missingPackages } from "../obtain/nodePackages.ts";
import { projectRoot } from "../paths.ts";
import { run } from "../process.ts";
import { BUILD_CGROUP, type Docker, withDocker } from "./dockerd.ts";
import { IMAGE } from "./install.ts";

const SUITE = "bookworm";

/** Builds the image and writes it, as `docker save` does, to this file. A minute and a half the first time. */
export async function buildImage(archive: string, detail: (text: string) => void): Promise<void> {
  const missing = missingForImage();
  if (missing.length > 0) throw new Error(missing.join("\n"));
  await withDocker(async (docker) => {
    for (const base of basesOf(readFileSync(join(projectRoot, "Dockerfile"), "utf8")))
      await ensureBase(docker, base, detail);
    detail("building");
    await docker("build", "--network=host", `--cgroup-parent=/${BUILD_CGROUP}`, `--tag=${IMAGE}`, projectRoot);
    detail("saving");
    await docker("save", `--output=${archive}`, IMAGE);
  });
}

/** What keeps the image from being built here, in at most one sentence. */
export const missingForImage = (): string[] =>
  missingPackages("Building the image", { docker: "docker.io", dockerd: "docker.io" });

/** The images that a Dockerfile begins its stages with, without its own stages; each once. An ARG counts with its default. */
export function basesOf(dockerfile: string): string[] {
  const defaults = new Map(
    [...dockerfile.matchAll(/^ARG\s+(\w+)=(\S+)/gim)].map(([, name = "", value = ""]) => [name, value]),
  );
  const filled = (text: string): string =>
    text.replaceAll(
      /\$(?:\{(\w+)\}|(\w+))/g,
      (whole, braced?: string, bare?: string) => defaults.get(braced ?? bare ?? "") ?? whole,
    );
  const stages = [...dockerfile.matchAll(/^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/gim)];
  // An empty image, which Docker has without a registry.
  const own = new Set(["scratch", ...stages.map(([, , name]) => name)]);
  return [...new Set(stages.flatMap(([, base = ""]) => (own.has(base) ? [] : [filled(base)])))];
}

/** On a stand-in: the entry of the cache that it was made from. */
const LABEL = "unified-rbac.stand-in";

/** Pulled where there is a registry. Else a stand-in is made: the same Debian, with the project's own Node. */
async function ensureBase(docker: Docker, name: string, detail: (text: string) => void): Promise<void> {
  const standIn = async (): Promise<string | undefined> => {
    const format = `--format={{index .Config.Labels "${LABEL}"}}`;
    return docker("image", "inspect", format, name).then(
      (label) => label.trim(),
      () => undefined,
    );
  };
  const found = await standIn();
  if (found === "" || found === baseKey()) return;
  detail(`pulling ${name}`);
  await docker("pull", name).catch(() => undefined);
  if ((await standIn()) === "") return;
  const base = await obtainBase(detail);
  detail(`making ${name}`);
  await docker("import", `--change=LABEL ${LABEL}=${baseKey()}`, join(base, "base.tar"), name);
}

const baseKey = (): string => cacheKey("image-base", { suite: SUITE, node: process.version, layout: "2" });

/** A minimal Debian, Node and npm in one archive; kept in the cache. */
async function obtainBase(detail: (text: string) => void): Promise<string> {
  const missing = missingPackages("A base image without a registry", { debootstrap: "debootstrap" });
  if (missing.length > 0) throw new Error(missing.join("\n"));
  const require = createRequire(import.meta.url);
  const node = join(dirname(require.resolve("node/package.json")), "bin", "node");
  return cached(baseKey(), detail, async (draft) => {
    const root = join(draft, "root");
    detail(`making a base image from Debian ${SUITE}`);
    await run({ file: "debootstrap", args: ["--variant=minbase", "--include=ca-certificates", SUITE, root] });
    for (const path of ["var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"]) {
      rmSync(join(root, path), { recursive: true, force: true });
    }
    cpSync(node, join(root, "usr/local/bin/node"), { dereference: true });
    const packed = join(draft, "npm");
    mkdirSync(packed);
    await run({ file: "npm", args: ["pack", "--silent", "npm@11"], cwd: packed });
    const archive = readdirSync(packed)[0] ?? "";
    const home = join(root, "usr/local/lib/node_modules/npm");
    mkdirSync(home, { recursive: true });
    await run({ file: "tar", args: ["-xf", join(packed, archive), "-C", home, "--strip-components=1"] });
    for (const name of ["npm", "npx"]) {
      symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(root, "usr/local/bin", name));
    }
    // What this machine trusts, and how its npm reaches the registry, holds in the build too.
    const trusted = "/etc/ssl/certs/ca-certificates.crt";
    if (existsSync(trusted)) cpSync(trusted, join(root, trusted));
    mkdirSync(join(root, "usr/local/etc"), { recursive: true });
    writeFileSync(join(root, "usr/local/etc/npmrc"), `cafile=${trusted}\n`);
    await run({ file: "tar", args: ["-C", root, "--exclude=./dev/*", "-cf", join(draft, "base.tar"), "."] });
    for (const path of [root, packed]) rmSync(path, { recursive: true, force: true });
  });
}

/** Builds the image and gives it to the node of the stack in this folder. */
export async function loadProductImage(dir: string, detail: (text: string) => void): Promise<void> {
  const archive = join(dir, "data", "image.tar");
  await buildImage(archive, detail);
  detail("loading");
  await loadImages(dir, archive);
  rmSync(archive);
}
