#!/usr/bin/env node
/** The one program: the roles of the service, and the commands that people run by hand. Composes their parts, runs them. */
import { ConfigError, parseConfig, type Role } from "./lib/config.ts";
import { makeLifecycle } from "./lib/lifecycle.ts";
import { makeLog } from "./lib/log.ts";

const ROLES: readonly Role[] = ["webhook", "reconciler", "migrate"];
const SHUTDOWN_MS = 20_000;

async function main(args: readonly string[]): Promise<number> {
  const role = ROLES.find((name) => name === args[0]);
  if (role === undefined) return runCommand(args);
  if (args.length === 1) return runRole(role);
  process.stderr.write(`${role} takes no arguments: everything is configured by the environment.\n`);
  return 2;
}

async function runRole(role: Role): Promise<number> {
  const config = parseConfig(role, process.env);
  const log = makeLog({ level: config.logLevel, role });
  const lifecycle = makeLifecycle({
    log,
    deadlineMs: SHUTDOWN_MS,
    signals: process,
    exit: (code) => process.exit(code),
  });
  // Each role loads only what it uses: the webhook never loads a Kubernetes client.
  switch (config.role) {
    case "migrate":
      return (await import("./roles/migrate.ts")).runMigrate(config, log);
    case "webhook":
      return (await import("./roles/webhook.ts")).runWebhook(config, log, lifecycle);
    case "reconciler":
      return (await import("./roles/reconciler.ts")).runReconciler(config, log, lifecycle);
    default:
      return config satisfies never;
  }
}

/** Loaded only here: a role has no use for it. */
async function runCommand(args: readonly string[]): Promise<number> {
  return (await import("./cli/command.ts")).runCommand(args, process, { hasRoles: true });
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(`${error instanceof ConfigError ? error.message : String(error)}\n`);
  process.exit(error instanceof ConfigError ? 2 : 1);
}
