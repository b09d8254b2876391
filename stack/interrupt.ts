import { spawn } from "node:child_process";
import { join } from "node:path";

import { projectRoot } from "./paths.ts";

/** Ctrl-C: this process ends with status 130, and its stack is taken down. */
export function stopStackWhenInterrupted(name: string): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopNow(name));
}

/**
 * The same, at once. The stack is taken down by another process, for this one may be about to start something (a part
 * after a planned crash, the next product), or hold the stack's lock: once it is gone, it does neither.
 */
export function stopNow(name: string): never {
  console.error(`Stopped before its end; the stack "${name}" is taken down in the background.`);
  const command = [join(projectRoot, "stack", "main.ts"), "down", `--name=${name}`];
  spawn(process.execPath, command, { stdio: "inherit", detached: true }).unref();
  process.exit(130);
}
