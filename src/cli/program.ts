/** The commands that people run by hand. A role of the service never comes by here, so it loads nothing of it. */
import { Command, CommanderError } from "commander";
import { admissionCommand } from "./admission.ts";
import { EXIT, CommandFailure } from "./failure.ts";
import { lintCommand } from "./lint.ts";
import { shown } from "../lib/text.ts";
import { UsageError } from "./lint/usage.ts";
import { tenantCommand } from "./tenant.ts";
import type { Terminal } from "./terminal.ts";

const ROLES = ["webhook", "reconciler", "migrate"];

const ROLES_HELP = `
Roles of the service, configured by the environment (a mistake there is named at the start):
  webhook         answers the API server's admission requests
  reconciler      makes accounts, keys and Secrets, and undoes them
  migrate         brings the database to this version's schema, then ends
`;

const EXAMPLE = `
Example:
  $ unified-rbac lint users
`;

/** Resolves with the exit code. Throws only what nobody foresaw. */
export async function runProgram(args: readonly string[], raw: Terminal): Promise<number> {
  // What is printed may come from a tenant's repository, and must not steer the terminal.
  const terminal: Terminal = {
    ...raw,
    out: (text) => raw.out(shown(text)),
    err: (text) => raw.err(shown(text)),
  };
  const [first = ""] = args;
  if (!terminal.hasRoles && ROLES.includes(first)) {
    terminal.err(`${first} is a role of the service: the image runs it, and this program has only the commands.\n`);
    return EXIT.usage;
  }
  let code = 0;
  const program = new Command("unified-rbac")
    .description("One line of YAML gives a person access.")
    .version(terminal.version)
    .addHelpText("after", terminal.hasRoles ? `${ROLES_HELP}${EXAMPLE}` : EXAMPLE);
  const done = (given: number): void => void (code = given);
  program.addCommand(lintCommand(terminal, done)).addCommand(tenantCommand(terminal, done));
  program.addCommand(admissionCommand(terminal, done));
  dress(program, terminal);
  try {
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    // commander has written its sentence already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (terminal.signal.aborted) {
      terminal.err("Stopped. Whatever was begun can be gone on with: run the same command again.\n");
      return EXIT.interrupted;
    }
    if (!(error instanceof UsageError) && !(error instanceof CommandFailure)) throw error;
    terminal.err(`${error.message}\n`);
    return error instanceof CommandFailure ? error.exitCode : EXIT.usage;
  }
}

/** A command that is added with its own settings inherits none of these. */
function dress(command: Command, terminal: Terminal): void {
  command.exitOverride().configureOutput({ writeOut: terminal.out, writeErr: terminal.err });
  command.showHelpAfterError("(--help tells what there is)");
  for (const child of command.commands) dress(child, terminal);
}
