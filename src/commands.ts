#!/usr/bin/env node
/** The program that npm and the single executable install: the commands, without the roles of the service. */
import { runCommand } from "./cli/command.ts";

try {
  process.exit(await runCommand(process.argv.slice(2), process, { hasRoles: false }));
} catch (error) {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
}
