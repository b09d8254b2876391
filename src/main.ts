#!/usr/bin/env node
/**
 * The one program: the roles of the service, and the commands that people run by hand. Each is loaded only when it is
 * asked for. A Node that is too old must be able to read this file once it is built, so it has no newer syntax and
 * imports nothing but the check.
 */
import type { Entry } from "./entries/role.ts";
import { tooOldNode } from "./lib/nodeVersion.ts";

function load(word = ""): Promise<{ main: Entry }> {
  switch (word) {
    case "webhook":
      return import("./entries/webhook.ts");
    case "reconciler":
      return import("./entries/reconciler.ts");
    case "migrate":
      return import("./entries/migrate.ts");
    default:
      return import("./entries/cli.ts");
  }
}

function fail(sentence: string, code: number): void {
  process.stderr.write(sentence + "\n");
  process.exit(code);
}

function start(args: readonly string[]): void {
  const isRole = args[0] === "webhook" || args[0] === "reconciler" || args[0] === "migrate";
  load(args[0])
    .then((entry) => entry.main(isRole ? args.slice(1) : args, process))
    .then((code) => process.exit(code))
    .catch((error: unknown) => fail(String(error), 1));
}

const tooOld = tooOldNode("unified-rbac", process.versions.node);
if (tooOld === undefined) start(process.argv.slice(2));
else fail(tooOld, 2);
