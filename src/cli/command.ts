/** Connects the commands to a process: its streams, its signals, its environment. */
import { text } from "node:stream/consumers";
import * as z from "zod";
import { readShipped } from "../lib/shipped.ts";
import { runProgram } from "./program.ts";

export interface CommandOptions {
  /** Whether this program can also run the roles of the service, as in the image. */
  readonly hasRoles: boolean;
}

const manifest = z.object({ version: z.string() });

/** Resolves with the exit code. SIGINT and SIGTERM stop the command between two calls. */
export function runCommand(
  args: readonly string[],
  host: NodeJS.Process,
  { hasRoles }: CommandOptions,
): Promise<number> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) host.once(signal, () => stop.abort());
  return runProgram(args, {
    env: host.env,
    signal: stop.signal,
    out: (part) => host.stdout.write(part),
    err: (part) => host.stderr.write(part),
    readStdin: () => text(host.stdin),
    version: manifest.parse(JSON.parse(readShipped("package.json"))).version,
    hasRoles,
  });
}
