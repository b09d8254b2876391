/** The Node that a single executable is made of, for each platform: as npm publishes it, checked against stack/lock/node. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { lockDir } from "../paths.ts";
import { run } from "../process.ts";
import { cached, cacheKey } from "./cache.ts";

export const PLATFORMS = ["linux-x64", "linux-arm64"] as const;
export type Platform = (typeof PLATFORMS)[number];

const lock = z.strictObject({ version: z.string(), integrity: z.record(z.enum(PLATFORMS), z.string()) });

/** The path of the program for a platform. Throws when what npm gives is not what the lock names. */
export async function obtainNode(platform: Platform, detail: (text: string) => void): Promise<string> {
  const { version, integrity } = lock.parse(JSON.parse(readFileSync(join(lockDir("node"), "lock.json"), "utf8")));
  const expected = integrity[platform];
  const entry = await cached(cacheKey(`node-${platform}`, { version, expected }), detail, async (draft) => {
    detail(`fetching Node ${version} for ${platform}`);
    await run({ file: "npm", args: ["pack", "--silent", `node-${platform}@${version}`], cwd: draft });
    const archive = join(draft, readdirSync(draft).find((name) => name.endsWith(".tgz")) ?? "");
    const found = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
    if (found !== expected) throw new Error(`node-${platform} ${version} has ${found}, and the lock names ${expected}`);
    await run({ file: "tar", args: ["-xzf", archive, "--strip-components=1", "package/bin/node"], cwd: draft });
    rmSync(archive);
  });
  return join(entry, "bin", "node");
}
