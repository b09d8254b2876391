/** Archives that are equal byte for byte whenever and wherever they are made of the same files. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { run } from "../stack/process.ts";

export interface ArchiveRequest {
  /** The folder that `members` are in. */
  readonly from: string;
  /** Paths of folders and files to put in, relative to `from`. */
  readonly members: readonly string[];
  /** The .tar.gz to write. */
  readonly to: string;
  /** Unix time in seconds that every file gets. */
  readonly epochSeconds: number;
}

/** Needs GNU tar. Throws with what tar said. */
export async function writeArchive({ from, members, to, epochSeconds }: ArchiveRequest): Promise<void> {
  const plain = `${to}.tar`;
  const same = ["--sort=name", `--mtime=@${epochSeconds}`, "--owner=0", "--group=0", "--numeric-owner"];
  const modes = ["--mode=u=rwX,go=rX", "--format=ustar"];
  await run({ file: "tar", args: [...same, ...modes, "-C", from, "-cf", plain, ...members] });
  // zlib writes neither a name nor a time.
  writeFileSync(to, gzipSync(readFileSync(plain), { level: 9 }));
  rmSync(plain);
}

/** Unpacks into a folder that exists. */
export async function readArchive(archive: string, into: string): Promise<void> {
  await run({ file: "tar", args: ["-C", into, "-xzf", archive] });
}
