import { run } from "../plugin/program.ts";
import type { Entry } from "./role.ts";

/** The kubectl plugin: `kubectl tenantuser`. Nothing of the service is loaded for it. */
export const main: Entry = (args, host) => {
  const interrupted = new AbortController();
  host.once("SIGINT", () => interrupted.abort());
  // Whoever reads us may have read enough: `kubectl tenantuser list | head`.
  host.stdout.on("error", () => host.exit(0));
  const { env, stdin, stdout, stderr } = host;
  return run(args, { env, stdin, stdout, stderr, now: () => new Date(), signal: interrupted.signal });
};
