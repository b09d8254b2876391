import { execFile, spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { identify, isAlive, type Identity } from "./identity.ts";
import type { User } from "./unprivileged.ts";

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly user?: User | undefined;
}

/** In the environment of every process of a part, so that strays can be found whatever became of our records. */
const marker = "UNIFIED_RBAC_STACK_PART";

/** Starts a program that outlives us, in a process group of its own, its output appended to `log`. */
export async function launch(command: Command, log: string, mark: string): Promise<Identity> {
  const out = openSync(log, "a");
  try {
    const child = spawn(command.file, command.args, {
      cwd: command.cwd,
      env: { ...process.env, ...command.env, [marker]: mark },
      detached: true,
      stdio: ["ignore", out, out],
      ...(command.user && { uid: command.user.uid, gid: command.user.gid }),
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    child.unref();
    // Gone already: an identity that no process has says so to everyone who looks.
    return identify(child.pid ?? 0) ?? { pid: child.pid ?? 0, startTime: "gone", boot: "" };
  } finally {
    closeSync(out);
  }
}

/** Asks it to end, waits, then ends it and whatever is left in its process group. */
export async function terminate(target: Identity, signal: NodeJS.Signals, patienceMs = 15_000): Promise<void> {
  if (!isAlive(target)) return;
  send(target.pid, signal);
  if (!(await gone(target, patienceMs))) send(target.pid, "SIGKILL");
  await gone(target, 5_000);
  send(-target.pid, "SIGKILL");
}

async function gone(target: Identity, withinMs: number): Promise<boolean> {
  for (const until = Date.now() + withinMs; Date.now() < until; await sleep(25)) if (!isAlive(target)) return true;
  return !isAlive(target);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Every living process that was started under the mark, also by a run that was killed before it could write that down. */
export function findMarked(mark: string): Identity[] {
  const wanted = `${marker}=${mark}`;
  const found: Identity[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (!readFileSync(`/proc/${entry}/environ`, "utf8").split("\0").includes(wanted)) continue;
    } catch {
      continue; // not ours to read, or gone meanwhile
    }
    const identity = identify(Number(entry));
    if (identity) found.push(identity);
  }
  return found;
}

/** Runs a program to its end. On failure the error holds what it said. */
export function run(command: Command): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      command.file,
      [...command.args],
      {
        cwd: command.cwd,
        env: { ...process.env, ...command.env },
        maxBuffer: 64 << 20,
        ...(command.user && { uid: command.user.uid, gid: command.user.gid }),
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const said = `${stdout}${stderr}`.trim().split("\n").slice(-20).join("\n");
        reject(new Error(`${command.file} ${command.args[0] ?? ""} failed: ${said || error.message}`));
      },
    );
  });
}
