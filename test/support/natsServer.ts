/** A private NATS server with JetStream on a port that it keeps over restarts. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type ConnectionOptions, type NatsConnection } from "@nats-io/transport-node";
import { findProgram } from "../../stack/obtain/found.ts";
import { goParts, obtainGoPart } from "../../stack/obtain/go.ts";
import { choosePorts } from "../../stack/ports.ts";

export interface NatsServer {
  readonly url: string;
  /** A connection of the test's own. The caller closes it. */
  client(): Promise<NatsConnection>;
  start(): Promise<void>;
  /** `loseStorage`: everything that JetStream kept on disk is gone too. */
  stop(options?: { signal?: NodeJS.Signals; loseStorage?: boolean }): Promise<void>;
  /** Stops it and removes its files. */
  remove(): Promise<void>;
}

export interface NatsServerOptions {
  /** Further settings, as in its configuration file. */
  readonly settings: string;
  /** With which the test's own connections are let in. */
  readonly login: Partial<ConnectionOptions>;
}

export async function makeNatsServer(options?: NatsServerOptions): Promise<NatsServer> {
  const program = await natsServerProgram();
  const home = await mkdtemp(join(tmpdir(), "unified-rbac-nats-"));
  const { nats: port } = await choosePorts({}, new Set());
  const url = `nats://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;

  const client = () => connect({ servers: `127.0.0.1:${port}`, reconnect: false, timeout: 1000, ...options?.login });
  const stop: NatsServer["stop"] = async ({ signal = "SIGKILL", loseStorage = false } = {}) => {
    if (child !== undefined) {
      const gone = new Promise((resolve) => child?.once("exit", resolve));
      child.kill(signal);
      await gone;
      child = undefined;
    }
    if (loseStorage) await rm(join(home, "jetstream"), { recursive: true, force: true });
  };
  const killAtExit = (): void => void child?.kill("SIGKILL");
  process.once("exit", killAtExit);

  return {
    url,
    client,
    stop,
    async start() {
      const args = ["--jetstream", "--addr=127.0.0.1", `--port=${port}`, `--store_dir=${home}`];
      if (options !== undefined) {
        await writeFile(join(home, "nats.conf"), options.settings);
        args.push("--config", join(home, "nats.conf"));
      }
      child = spawn(program, args, { stdio: "ignore" });
      for (let tries = 0; ; tries++) {
        try {
          return await (await client()).close();
        } catch (error) {
          if (tries === 100) throw error;
          await sleep(50);
        }
      }
    },
    async remove() {
      await stop();
      process.off("exit", killAtExit);
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** From the PATH, else from the local stack's cache, where it is built when it is missing. */
async function natsServerProgram(): Promise<string> {
  const found = findProgram("nats-server");
  if (found !== undefined) return found;
  const part = goParts.find(({ name }) => name === "nats");
  const program = part && (await obtainGoPart(part, () => {})).programs.get("nats-server");
  if (program === undefined) throw new Error("no nats-server: put one of version 2.10 or later on the PATH");
  return program;
}
