/**
 * Assembles the image's file system in a folder, inside the Dockerfile and on the image's own platform: Node, what it
 * links to, the bundles, and V8's code cache for them. There is no shell, no package manager and no npm.
 *
 * Usage: node build/root.ts FOLDER, where the bundles are in /app.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { isWarm, warm } from "./codeCache.ts";

const USER = 65532;
const NODE = "/usr/local/bin/node";
const APP = "/app";

/** Every file gets this time, so that two builds are equal: seconds since 1970, as reproducible builds use it. */
const TIME = Number(process.env["SOURCE_DATE_EPOCH"] ?? "0");

const FILES: Readonly<Record<string, string>> = {
  "/etc/passwd": `root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:${USER}:${USER}:nonroot:/nonexistent:/sbin/nologin\n`,
  "/etc/group": `root:x:0:\nnonroot:x:${USER}:\n`,
  // Without it, glibc asks DNS before it reads /etc/hosts.
  "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};

function assemble(root: string): void {
  const libraries = librariesOf(NODE);
  for (const file of [NODE, ...libraries]) copy(file, root);
  cpSync(APP, join(root, APP), { recursive: true });
  for (const [path, text] of Object.entries(FILES)) write(root, path, text);
  for (const name of packagesOf(libraries)) describe(root, name);
  // V8 writes the cache for the files' final paths, and Node looks for it by the id of the user that runs it.
  const cache = join(APP, "cache");
  warm({ node: NODE, app: APP, cache, uid: USER, gid: USER });
  cpSync(cache, join(root, cache), { recursive: true });
  settle(root);
  if (!isWarm(join(root, cache), USER)) throw new Error("V8 wrote no code cache");
}

/** Absolute paths of the shared libraries and the loader that a program needs, as the loader itself finds them. */
function librariesOf(program: string): string[] {
  const { stdout } = spawnSync(program, [], { encoding: "utf8", env: { LD_TRACE_LOADED_OBJECTS: "1" } });
  return Array.from(stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm), ([, path = ""]) => path);
}

function copy(file: string, root: string): void {
  const target = join(root, file);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(realpathSync(file), target);
}

function write(root: string, path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** Debian's packages that these files belong to. */
function packagesOf(files: readonly string[]): string[] {
  const names = files.flatMap((file) => {
    // Since Debian merged /lib into /usr/lib, a package may know either path.
    const found = [file, realpathSync(file), file.replace(/^\/usr/, "")].map(
      (path) => spawnSync("dpkg", ["-S", path], { encoding: "utf8" }).stdout.split(":")[0],
    );
    return found.find((name) => name !== undefined && name !== "") ?? [];
  });
  return [...new Set(names)].toSorted();
}

/** Tells scanners and lists of components what is inside, where they look in an image without a package manager. */
function describe(root: string, name: string): void {
  const { stdout } = spawnSync("dpkg-query", ["--status", name], { encoding: "utf8" });
  write(root, `/var/lib/dpkg/status.d/${name}`, stdout);
  const copyright = `/usr/share/doc/${name}/copyright`;
  if (existsSync(copyright)) copy(copyright, root);
}

/** Sets mode and time of everything: nothing can be written by the user that runs, and nothing tells when it was built. */
function settle(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      settle(path);
      continue;
    }
    const executable = path.endsWith(NODE) || /\.so[.\d]*$/.test(path);
    chmodSync(path, executable ? 0o755 : 0o644);
    lutimesSync(path, TIME, TIME);
  }
  chmodSync(folder, 0o755);
  lutimesSync(folder, TIME, TIME);
}

if (import.meta.main) {
  const [root] = process.argv.slice(2);
  if (root === undefined) throw new Error("Usage: node build/root.ts FOLDER");
  assemble(root);
}
