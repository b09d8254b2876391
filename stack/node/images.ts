/** Images in a node's containerd: its own, made of one static program each, and those that somebody built. */
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "../process.ts";
import { nodeFolder } from "./configuration.ts";

/** Writes an image that holds nothing but this program, in the form of `docker save`. */
export async function programImage(program: string, image: string, folder: string): Promise<string> {
  const draft = join(folder, "image");
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(join(draft, "root"), { recursive: true });
  cpSync(program, join(draft, "root", "program"));
  // One program gives one image, whenever it is made.
  const fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
  await run({ file: "tar", args: [...fixed, "-C", join(draft, "root"), "-cf", join(draft, "layer.tar"), "program"] });
  const digest = createHash("sha256")
    .update(readFileSync(join(draft, "layer.tar")))
    .digest("hex");
  const config = {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: { Entrypoint: ["/program"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
  };
  writeFileSync(join(draft, "config.json"), JSON.stringify(config));
  const manifest = [{ Config: "config.json", RepoTags: [image], Layers: ["layer.tar"] }];
  writeFileSync(join(draft, "manifest.json"), JSON.stringify(manifest));
  const archive = join(folder, `${image.replaceAll(/[/:]/g, "-")}.tar`);
  await run({ file: "tar", args: ["-C", draft, "-cf", archive, "manifest.json", "config.json", "layer.tar"] });
  rmSync(draft, { recursive: true, force: true });
  return archive;
}

/** Runs a program of this machine in the node's network and with its files. */
export function onNode(dir: string, file: string, args: readonly string[]): Promise<string> {
  const pid = readFileSync(join(nodeFolder(dir), "pid"), "utf8").trim();
  return run({ file: "nsenter", args: [`--target=${pid}`, "--mount", "--net", "--", file, ...args] });
}

/** Gives the node the images of an archive, as `docker save` or an OCI builder wrote it. */
export async function loadImages(dir: string, archive: string): Promise<void> {
  await onNode(dir, "ctr", ["--namespace=k8s.io", "images", "import", "--no-unpack", archive]);
}
