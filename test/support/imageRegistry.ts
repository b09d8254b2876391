/** A real OCI registry on this machine, empty at first, whose stored bytes a test can reach. */
import { spawn } from "node:child_process";
import { mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface ImageRegistry {
  /** Host and port. */
  readonly address: string;
  /** The file that holds the blob of a digest. */
  blobFile(digest: string): string;
  stop(): Promise<void>;
}

/** `program` is the distribution registry. */
export async function startImageRegistry(program: string, folder: string): Promise<ImageRegistry> {
  const address = `127.0.0.1:${await freePort()}`;
  const root = join(folder, "registry");
  mkdirSync(root, { recursive: true });
  const config = join(folder, "registry.yaml");
  const settings = {
    version: 0.1,
    log: { level: "error", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: root }, tag: { concurrencylimit: 4 } },
    http: { addr: address, secret: "only-for-this-test" },
  };
  writeFileSync(config, JSON.stringify(settings));
  const env = { ...process.env, OTEL_TRACES_EXPORTER: "none" };
  const log = join(folder, "registry.log");
  const output = openSync(log, "w");
  const child = spawn(program, ["serve", config], { stdio: ["ignore", output, output], env });
  const ended = new Promise<void>((resolve) => void child.once("exit", () => resolve()));
  for (let answers = false; !answers; await sleep(50)) {
    if (child.exitCode !== null) throw new Error(`the registry ended: ${readFileSync(log, "utf8")}`);
    answers = await fetch(`http://${address}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    );
  }
  return {
    address,
    blobFile: (digest) => {
      const hex = digest.slice("sha256:".length);
      return join(root, "docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data");
    },
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => void server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => void server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Every file below a folder with its text, by path: what two releases are compared by. */
export function textsBelow(folder: string): ReadonlyMap<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted();
  return new Map(
    names
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [name, readFileSync(join(folder, name), "base64")]),
  );
}
