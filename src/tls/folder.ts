/** A certificate and its key as two files of one folder, laid out as the kubelet lays out a mounted Secret. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { basename, join } from "node:path";

/** PEM; the two belong together. */
export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
}

export interface FoundPair extends CertificatePair {
  /** Validity, milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Why a folder holds no usable pair. `absent`: nothing has arrived there yet. */
export interface NoPair {
  readonly problem: string;
  readonly absent: boolean;
}

/** A link to the folder with the files: one rename swaps both files. */
const DATA = "..data";
const WRITTEN = "..pair-";

/** Never throws. */
export async function readPair(directory: string): Promise<FoundPair | NoPair> {
  try {
    // Following the link once reads both files from the same side of a swap.
    const folder = await realpath(join(directory, DATA)).catch(() => directory);
    const [cert, key] = await Promise.all([
      readFile(join(folder, "tls.crt"), "utf8"),
      readFile(join(folder, "tls.key"), "utf8"),
    ]);
    const leaf = new X509Certificate(cert);
    if (!leaf.checkPrivateKey(createPrivateKey(key)))
      return { problem: "tls.crt and tls.key do not belong together", absent: false };
    return { cert, key, notBefore: leaf.validFromDate.getTime(), notAfter: leaf.validToDate.getTime() };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    return code === "ENOENT"
      ? { problem: "tls.crt and tls.key are not there yet", absent: true }
      : { problem: `tls.crt or tls.key cannot be read (${code})`, absent: false };
  }
}

/** Replaces what the folder holds, in one moment. One writer at a time. Throws what the file system says. */
export async function writePair(directory: string, { cert, key }: CertificatePair): Promise<void> {
  // Not recursive: where that is refused, Node may try for ever.
  await mkdir(directory).catch(() => undefined);
  const before = await readlink(join(directory, DATA)).catch(() => undefined);
  const folder = await mkdtemp(join(directory, WRITTEN));
  // For the group too: the two containers of a Pod share it (fsGroup) even where their users differ.
  await chmod(folder, 0o750);
  await writeFile(join(folder, "tls.crt"), cert, { mode: 0o640 });
  await writeFile(join(folder, "tls.key"), key, { mode: 0o640 });
  await symlink(basename(folder), `${folder}.link`);
  await rename(`${folder}.link`, join(directory, DATA));
  // A reader may still be in the folder before this one.
  const kept = [basename(folder), before];
  const old = (await readdir(directory)).filter((name) => name.startsWith(WRITTEN) && !kept.includes(name));
  await Promise.all(old.map((name) => rm(join(directory, name), { recursive: true, force: true })));
}
