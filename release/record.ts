/** release.json: what a release pushed, by digest. The registry is not in it, so a mirror verifies like the original. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";

export const RECORD = "release.json";

const artifact = z.strictObject({
  kind: z.enum(["image", "chart", "manifests"]),
  /** Below the registry's path. */
  repository: z.string().regex(/^[a-z0-9]+(?:[/-][a-z0-9]+)*$/),
  tag: z.string(),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
});
export type Artifact = z.infer<typeof artifact>;

const record = z.strictObject({
  version: z.string(),
  /** The Git commit that everything was built from. */
  commit: z.string().regex(/^[0-9a-f]{40}$/),
  artifacts: z.array(artifact),
});
export type ReleaseRecord = z.infer<typeof record>;

export function writeRecord(directory: string, written: ReleaseRecord): void {
  writeFileSync(join(directory, RECORD), `${JSON.stringify(written, null, 2)}\n`);
}

/** Throws zod's error, which names what is wrong. */
export const readRecord = (directory: string): ReleaseRecord =>
  record.parse(JSON.parse(readFileSync(join(directory, RECORD), "utf8")));
