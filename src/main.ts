#!/usr/bin/env node
/** The one program: `unified-rbac webhook | reconciler | migrate`. Reads its configuration, composes its parts, runs them. */
import { ConfigError, parseConfig, type Role } from "./lib/config.ts";
import { makeLifecycle } from "./lib/lifecycle.ts";
import { makeLog } from "./lib/log.ts";

const ROLES: readonly Role[] = ["webhook", "reconciler", "migrate"];
const SHUTDOWN_MS = 20_000;

const USAGE = `usage: unified-rbac webhook | reconciler | migrate
       unified-rbac tenant init | check | offboard

  webhook     answers the API server's admission requests
  reconciler  makes accounts, keys and Secrets, and undoes them
  migrate     brings the database to this version's schema, then ends
  tenant      onboards, checks and offboards tenants, with your own kubeconfig; --help says how

Everything else is configured by the environment; a mistake there is named at the start.
`;

/** What people run by hand: the rest of the arguments is its own. */
async function tool(args: readonly string[]): Promise<number> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());
  const terminal = {
    env: process.env,
    out: (text: string) => void process.stdout.write(text),
    err: (text: string) => void process.stderr.write(text),
    signal: stop.signal,
  };
  return (await import("./cli/tenant.ts")).runTenant(args, terminal);
}

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === "tenant") return tool(args.slice(1));
  const role = ROLES.find((name) => name === args[0]);
  if (role === undefined || args.length > 1) {
    process.stderr.write(USAGE);
    return args[0] === "--help" || args[0] === "-h" ? 0 : 2;
  }
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

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(`${error instanceof ConfigError ? error.message : String(error)}\n`);
  process.exit(error instanceof ConfigError ? 2 : 1);
}
