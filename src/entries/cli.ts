import { runCommand } from "../cli/command.ts";
import type { Entry } from "./role.ts";

/** The commands that people run by hand, beside the roles. */
export const main: Entry = (args, host) => runCommand(args, host, { hasRoles: true });
