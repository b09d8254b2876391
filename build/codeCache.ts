/**
 * V8's compiled code, made at build time and read at start (NODE_COMPILE_CACHE). V8 takes it only from a Node of the same
 * version, on the same kind of processor, started with the same flags for V8.
 */
import { spawnSync } from "node:child_process";
import { chownSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Flags of each role: those of the Dockerfile's ENTRYPOINT, then NODE_OPTIONS of its container in the Deployment. */
export const V8_FLAGS = {
  webhook: ["--max-semi-space-size=1", "--max-old-space-size=128"],
  reconciler: ["--max-semi-space-size=1", "--max-old-space-size=256"],
  migrate: ["--max-semi-space-size=1"],
  cli: ["--max-semi-space-size=1"],
} as const;

/** Loads each file as its role does, and keeps what V8 compiled meanwhile. Throws when one cannot be loaded. */
export function warm(task: {
  readonly node: string;
  /** Folder with the bundles, where they will run: V8 keeps code by the file's path. */
  readonly app: string;
  readonly cache: string;
  /** Who will run them: Node keeps a cache for each user. */
  readonly uid: number;
  readonly gid: number;
}): void {
  const { node, app, cache, uid, gid } = task;
  mkdirSync(cache, { recursive: true });
  chownSync(cache, uid, gid);
  for (const [name, flags] of Object.entries(V8_FLAGS)) {
    // With a seed of its own V8 would write other bytes each time. The seed is no flag that a reader has to share.
    const options = [...flags, "--random-seed=1", "--input-type=module", "--eval"];
    const script = `import { flushCompileCache } from "node:module"; await import("${join(app, `${name}.js`)}"); flushCompileCache(); process.exit(0);`;
    const { status, stderr } = spawnSync(node, [...options, script], {
      uid,
      gid,
      encoding: "utf8",
      env: { NODE_COMPILE_CACHE: cache },
    });
    if (status !== 0) throw new Error(`${name} cannot be loaded: ${stderr}`);
  }
}

/** Whether there is a cache for this user. */
export const isWarm = (cache: string, uid: number): boolean =>
  readdirSync(cache).some((name) => name.endsWith(`-${uid}`) && readdirSync(join(cache, name)).length > 0);
