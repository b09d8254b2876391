import { type Config, ConfigError, type Environment, type Role } from "../lib/config.ts";
import { type Lifecycle, makeLifecycle } from "../lib/lifecycle.ts";
import { type Log, makeLog } from "../lib/log.ts";

/** What main.ts calls: `host` is the process. Resolves with the exit code. */
export type Entry = (args: readonly string[], host: NodeJS.Process) => Promise<number>;

const SHUTDOWN_MS = 20_000;
const WRONG_USE = 2;

/** A role of the service as a program: configured by the environment alone, ended by a signal. */
export function roleEntry<C extends Config>(
  role: Role,
  parse: (env: Environment) => C,
  run: (config: C, log: Log, lifecycle: Lifecycle) => Promise<number>,
): Entry {
  return async (args, host) => {
    if (args.length > 0) {
      host.stderr.write(`${role} takes no arguments: everything is configured by the environment.\n`);
      return WRONG_USE;
    }
    try {
      const config = parse(host.env);
      const log = makeLog({ level: config.logLevel, role });
      const exit = (code: number): void => host.exit(code);
      return await run(config, log, makeLifecycle({ log, deadlineMs: SHUTDOWN_MS, signals: host, exit }));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      host.stderr.write(`${error.message}\n`);
      return WRONG_USE;
    }
  };
}
