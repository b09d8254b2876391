/**
 * Programs beside the benchmark: floors, and whatever makes load, for neither shall take the time of whoever measures. What
 * one is to do is its one argument, as JSON; each line that it prints is JSON.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type * as z from "zod";

import { nodeFlags } from "../stack/product/flags.ts";

export interface Child {
  readonly pid: number;
  /** Its next line. */
  says<T>(shape: z.ZodType<T>): Promise<T>;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts bench/<script> with what it is to do. Its errors go where ours go. */
export function startChild(script: string, task: unknown, options: { readonly flags?: readonly string[] } = {}): Child {
  const args = [...(options.flags ?? []), join(import.meta.dirname, script), JSON.stringify(task)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  running.add(child);
  const ended = once(child, "exit").finally(() => running.delete(child));
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    pid: child.pid ?? 0,
    async says(shape) {
      const line = await said.next();
      if (line.done === true) throw new Error(`${script} ended without a word`);
      return shape.parse(JSON.parse(line.value));
    },
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** Starts it, takes its one answer, and waits for its end. */
export async function askChild<T>(script: string, task: unknown, shape: z.ZodType<T>): Promise<T> {
  const child = startChild(script, task);
  try {
    return await child.says(shape);
  } finally {
    await child.stop();
  }
}

export interface Program {
  readonly pid: number;
  stop(): Promise<void>;
}

/** The built program as the image runs it, with these variables and no others. */
export function startProgram(args: readonly string[], env: Readonly<Record<string, string>>, log: string): Program {
  const out = openSync(log, "a");
  const child = spawn(process.execPath, [...nodeFlags(), ...args], {
    stdio: ["ignore", out, out],
    env: { NODE_ENV: "production", PATH: process.env["PATH"], HOME: process.env["HOME"], ...env },
  });
  closeSync(out);
  running.add(child);
  const ended = once(child, "exit").finally(() => running.delete(child));
  return {
    pid: child.pid ?? 0,
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}
