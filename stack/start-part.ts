import { appendFileSync } from "node:fs";

import { startMark } from "./context.ts";
import { lastLines } from "./files.ts";
import { isAlive } from "./identity.ts";
import { partOf } from "./parts/index.ts";
import type { Context, Part } from "./parts/part.ts";
import { logFile } from "./paths.ts";
import { patience } from "./patience.ts";
import { waitFor } from "./probe.ts";
import { findMarked, launch, terminate } from "./process.ts";
import { forgetProcess, recordProcess, runningProcess } from "./state.ts";

/** On a quiet machine; Keycloak beside something that builds needs most of a minute. */
const QUIET_MS = 180_000;

const startLine = "--- started by the stack";

/** Starts the part unless it runs, waits until it answers, and sets it up. Tells which of the two it was. */
export async function ensureStarted(context: Context, part: Part): Promise<"started" | "was running"> {
  const { dir } = context;
  const log = logFile(dir, part.name);
  const before = runningProcess(dir, part.name);
  let running = before;
  if (!running) {
    // A run that was killed between starting a program and writing that down left it behind.
    await Promise.all(findMarked(startMark(dir, part.name)).map((stray) => terminate(stray, "SIGKILL")));
    await part.prepare?.(context);
    appendFileSync(log, `${startLine} at ${new Date().toISOString()}\n`);
    running = await launch(part.command(context), log, startMark(dir, part.name));
    recordProcess(dir, part.name, running);
  }
  const watched = running;
  const began = Date.now();
  const ready = await waitFor(
    () => part.ready(context),
    () => isAlive(watched),
    patience(QUIET_MS),
  );
  if (!ready) {
    const waited = Math.round((Date.now() - began) / 1000);
    const what = isAlive(watched) ? `does not answer after ${waited} s` : "ended instead of starting";
    throw new Error(`${part.title} ${what}. The last lines of ${log}:\n${lastLines(log, 20, startLine)}`);
  }
  await part.settle?.(context);
  return before ? "was running" : "started";
}

export async function ensureStopped(dir: string, part: Part["name"], signal: NodeJS.Signals): Promise<void> {
  const running = runningProcess(dir, part);
  // The control plane lets its watchers finish, which they never do. It holds nothing that a kill would lose.
  const patienceMs = part === "apiserver" || part === "etcd" ? 2_000 : 10_000;
  if (running) await terminate(running, signal, patienceMs);
  // Children that left the process group, and what a killed run did not write down.
  await Promise.all(findMarked(startMark(dir, part)).map((stray) => terminate(stray, "SIGKILL")));
  await partOf(part).clean?.(dir);
  forgetProcess(dir, part);
}

/** Postgres waits for its clients on SIGTERM; to it the polite request for a prompt end is SIGINT. */
export const stopSignal = (part: Part["name"]): NodeJS.Signals => (part === "postgres" ? "SIGINT" : "SIGTERM");
