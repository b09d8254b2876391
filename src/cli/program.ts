/** The commands that people run by hand. A role of the service never comes by here, so it loads nothing of it. */
import { Command, CommanderError } from "commander";
import { lintCommand } from "./lint.ts";
import { UsageError } from "./lint/usage.ts";
import type { Terminal } from "./terminal.ts";

/** Exit code of every command that could not be carried out as it was given. */
export const USAGE = 2;

const ROLES = `
Roles of the service, configured by the environment (a mistake there is named at the start):
  webhook         answers the API server's admission requests
  reconciler      makes accounts, keys and Secrets, and undoes them
  migrate         brings the database to this version's schema, then ends

Example:
  $ unified-rbac lint users
`;

/** Resolves with the exit code. Throws only what nobody foresaw. */
export async function runProgram(args: readonly string[], terminal: Terminal): Promise<number> {
  let code = 0;
  const program = new Command("unified-rbac")
    .description("One line of YAML gives a person access.")
    .version(terminal.version)
    .addHelpText("after", ROLES);
  program.addCommand(lintCommand(terminal, (given) => (code = given)));
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ writeOut: terminal.out, writeErr: terminal.err });
    command.showHelpAfterError("(--help tells what there is)");
  }
  try {
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    // commander has written its sentence already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    if (!(error instanceof UsageError)) throw error;
    terminal.err(`${error.message}\n`);
    return USAGE;
  }
}
