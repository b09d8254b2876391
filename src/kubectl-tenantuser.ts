#!/usr/bin/env node
/** The kubectl plugin: `kubectl tenantuser`. Nothing of the service is loaded for it. */
import { run } from "./plugin/program.ts";

const interrupted = new AbortController();
process.once("SIGINT", () => interrupted.abort());
// Whoever reads us may have read enough: `kubectl tenantuser list | head`.
process.stdout.on("error", () => process.exit(0));

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  now: () => new Date(),
  signal: interrupted.signal,
});
