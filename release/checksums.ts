/** SHA256SUMS, as `sha256sum --check` reads it. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const CHECKSUMS = "SHA256SUMS";
export const CHECKSUMS_SIGNATURE = `${CHECKSUMS}.sigstore.json`;
const OWN = [CHECKSUMS, CHECKSUMS_SIGNATURE];

const LINE = /^([0-9a-f]{64}) {2}([\w.-]+)$/;

export const sha256 = (content: Uint8Array | string): string => createHash("sha256").update(content).digest("hex");

/** The files of a release, in order, without the checksums and their signature. */
export const filesIn = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => !OWN.includes(name))
    .toSorted();

export function writeChecksums(directory: string): void {
  const lines = filesIn(directory).map((name) => `${sha256(readFileSync(join(directory, name)))}  ${name}\n`);
  writeFileSync(join(directory, CHECKSUMS), lines.join(""));
}

/** One sentence for each file that is missing, changed or not named. */
export function checksumProblems(directory: string): string[] {
  const listed = new Map<string, string>();
  const problems: string[] = [];
  for (const line of readFileSync(join(directory, CHECKSUMS), "utf8").split("\n").slice(0, -1)) {
    const [, sum, name] = LINE.exec(line) ?? [];
    if (sum === undefined || name === undefined) problems.push(`${CHECKSUMS} has a line that is no checksum: ${line}`);
    else listed.set(name, sum);
  }
  const there = filesIn(directory);
  for (const [name, sum] of listed) {
    if (!there.includes(name)) problems.push(`${name} is missing`);
    else if (sha256(readFileSync(join(directory, name))) !== sum)
      problems.push(`${name} is not the file that was signed`);
  }
  for (const name of there) if (!listed.has(name)) problems.push(`${name} is no part of the release`);
  return problems;
}
