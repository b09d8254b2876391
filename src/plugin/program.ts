/** `kubectl tenantuser`: the commands, their options, and how each ends. */
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { DURATION_PATTERN } from "../api/duration.ts";
import { isUUID } from "../api/names.ts";
import { audit, type AuditOptions } from "./commands/audit.ts";
import * as change from "./commands/change.ts";
import * as ending from "./commands/end.ts";
import * as events from "./commands/events.ts";
import { exportPeople } from "./commands/export.ts";
import * as show from "./commands/show.ts";
import { candidates, COMPLETE, NO_FILES, SCRIPTS, SHELLS, type Shell } from "./completion.ts";
import { shown } from "../lib/text.ts";
import { EXIT, type Exit, PluginError } from "./exit.ts";
import { FORMATS, openSession, type CommandSession, type Shared, type PluginTerminal } from "./session.ts";
import { printable } from "./text.ts";

const INTERRUPTED = 130;
const COMPLETION_MS = 2_000;

/** Runs one command line (without node and program) and gives the exit code. Throws nothing. */
export async function run(args: readonly string[], terminal: PluginTerminal): Promise<number> {
  if (args[0] === COMPLETE) return complete(args.slice(1), terminal);
  let exit: Exit = EXIT.done;
  const program = makeProgram(terminal, (given) => (exit = given));
  try {
    await program.parseAsync([...args], { from: "user" });
    return exit;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (terminal.signal.aborted) return INTERRUPTED;
    if (error instanceof PluginError) {
      terminal.stderr.write(`${printable(error.message)}\n`);
      return error.exit;
    }
    // Nobody expected it: still a sentence, with what helps whoever reads a report about it.
    const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    terminal.stderr.write(`This is a defect of the plugin, please report it: ${printable(said)}\n`);
    return EXIT.failed;
  }
}

export function makeProgram(terminal: PluginTerminal, ended: (exit: Exit) => void): Command {
  const program = new Command("kubectl tenantuser")
    .description("Shows and repairs the users of tenants: for people on call.")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(shown(text)),
      writeErr: (text) => void terminal.stderr.write(shown(text)),
    })
    .showHelpAfterError("(say --help for the options)")
    // An option belongs to the command that it stands behind: "cleanups waive ada -n x" is waive's -n, not that of cleanups.
    .enablePositionalOptions()
    .addHelpText("after", EXIT_CODES);

  /** Every command has the shared options, an example, and a session that is closed when it ends. */
  const command = <Options>(
    parent: Command,
    name: string,
    description: string,
    example: string,
    act: (session: CommandSession, options: Options & Shared, args: readonly (string | undefined)[]) => Promise<Exit>,
  ): Command =>
    parent
      .command(name)
      .description(description)
      .option("-n, --namespace <name>", "the namespace; default: the context's")
      .option("--context <name>", "the context of the kubeconfig; default: the current one")
      .option("--kubeconfig <path>", "the kubeconfig; default: $KUBECONFIG, or ~/.kube/config")
      .addOption(new Option("-o, --output <format>", "instead of text for people").choices(FORMATS))
      .option("--operator-namespace <name>", "where the reconciler runs; default: unified-rbac-system")
      .option("--ops-url <url>", "where its operator's port is, instead of a port-forward; or $UNIFIED_RBAC_OPS_URL")
      .enablePositionalOptions()
      .addHelpText("after", `\nExample:\n  ${program.name()} ${example}`)
      .exitOverride()
      .action(async (...given: unknown[]) => {
        const self = given.at(-1) as Command;
        const options = self.opts<Options & Shared>();
        const session = openSession(terminal, options);
        try {
          ended(await act(session, options, self.args));
        } finally {
          session.close();
        }
      });

  /** One about a TenantUser that is named. */
  const onUser = <Options>(
    name: string,
    description: string,
    example: string,
    act: (session: CommandSession, user: string, options: Options & Shared) => Promise<Exit>,
  ): Command =>
    command<Options>(program, name, description, `${name} ${example}`, (session, options, [user = ""]) =>
      act(session, user, options),
    ).argument("<name>", "the TenantUser");

  command(program, "list", "lists users and their state", "list -A --not-ready", show.list)
    .option("-A, --all-namespaces", "in every namespace")
    .option("--not-ready", "only those who are not Ready");

  onUser(
    "status",
    "shows a user's journey: what was done and when, attempts, errors, and what happens next",
    "ada -n tenant-acme",
    show.status,
  ).addOption(new Option("--last <count>", "how many moments of the journey").argParser(count).default(30));

  onUser(
    "why",
    "one paragraph: what is wrong, who must act, the command that fixes it",
    "ada -n tenant-acme",
    show.explainWhy,
  );

  onUser(
    "wait",
    "waits until a user is Ready or gone; ends at once when somebody must act first",
    "ada -n tenant-acme --for gone --timeout 15m",
    show.wait,
  )
    .addOption(new Option("--for <what>", "what to wait for").choices(["ready", "gone"]).default("ready"))
    .addOption(timeoutOption());

  onUser("retry", "checks a user now, and retries what failed", "ada -n tenant-acme --wait", change.retry)
    .option("--wait", "until it was done")
    .addOption(timeoutOption());

  onUser("rotate", "replaces the key, once", "ada -n tenant-acme --wait", change.rotate)
    .option("--wait", "until it was done")
    .addOption(timeoutOption());

  onUser(
    "suspend",
    "holds back every outside write for a user until resume; a deletion still runs",
    "ada -n tenant-acme",
    change.suspend,
  );

  onUser("resume", "ends suspend", "ada -n tenant-acme", change.resume);

  const cleanups = command(
    program,
    "cleanups",
    "lists cleanups that are pending after the finalizer was released",
    "cleanups --tenant acme",
    ending.cleanups,
  ).option("--tenant <id>", "of one tenant");
  endOptions(
    command<ending.EndOptions>(
      cleanups,
      "waive",
      "drops a pending cleanup: the service never removes those accounts; asks twice, and records it in the audit",
      'cleanups waive ada -n tenant-acme --reason "that Keycloak was switched off"',
      (session, options, [name]) => ending.waive(session, name, options),
    ),
  );

  command(
    program,
    "orphans",
    "lists accounts without an object: orphaned, retained, or in their deletion grace",
    "orphans --tenant acme",
    ending.orphans,
  ).option("--tenant <id>", "of one tenant");

  endOptions(
    command<ending.EndOptions>(
      program,
      "purge",
      "removes the accounts of a user without an object; asks twice, and records it in the audit",
      'purge ada -n tenant-acme --reason "left the company"',
      (session, options, [name]) => ending.purge(session, name, options),
    ),
  ).option("--other-cluster", "also when the row was written under another cluster");

  const parked = command(
    program,
    "events",
    "lists life-cycle events that NATS refuses, and why",
    "events --tenant acme",
    events.parkedEvents,
  ).option("--tenant <id>", "of one tenant");
  command(
    parked,
    "retry",
    "sends them again, after you changed what refused them",
    "events retry --tenant acme",
    events.retryEvents,
  ).option("--tenant <id>", "of one tenant");

  command<AuditOptions>(
    program,
    "audit",
    "lists every outside write for a user, or for everybody, and every order of an operator",
    "audit --all --since 24h -o json",
    (session, options, [name]) => audit(session, name, options),
  )
    .argument("[name]", "the TenantUser, also one that is gone")
    .addOption(uuidOption())
    .option("--all", "of every tenant; with -o json one entry a line")
    .option("--tenant <id>", "of one tenant")
    .option("--since <when>", "not older than 24h, or than 2026-05-01T12:00:00Z");

  command<{ tenant: string; dir?: string }>(
    program,
    "export",
    "prints unmanaged users of the tenant's realm as manifests that adopt them",
    "export --tenant acme --dir users",
    exportPeople,
  )
    .requiredOption("--tenant <id>", "the tenant")
    .option("--dir <folder>", "one file a person, none overwritten; default: all to stdout");

  program
    .command("completion")
    .description("prints a completion script")
    .addArgument(new Argument("<shell>", "for which shell; kubectl: for kubectl itself").choices(SHELLS))
    .addHelpText("after", "\nExample:\n  source <(kubectl tenantuser completion bash)")
    .exitOverride()
    .action((shell: Shell) => void terminal.stdout.write(SCRIPTS[shell]));

  return program;
}

const EXIT_CODES = `
Exit codes: 0 done, 1 it did not work, 2 the command line is wrong, 3 nobody of that name, 4 you may not,
5 Git owns the field and nothing was changed, 6 wait: not in time, or stalled.

Example:
  kubectl tenantuser why ada -n tenant-acme`;

function endOptions(command: Command): Command {
  return command
    .argument("[name]", "the TenantUser that is gone")
    .addOption(uuidOption())
    .option("--reason <text>", "why, for the audit")
    .option("--yes", "do not ask whether")
    .option("--confirm <email>", "do not ask for the email address");
}

function uuidOption(): Option {
  return new Option("--uuid <uuid>", "the person's uuid, instead of a name").argParser((text) => {
    if (!isUUID(text)) throw new InvalidArgumentError("It must be a uuid in lower case.");
    return text;
  });
}

function timeoutOption(): Option {
  return new Option("--timeout <duration>", "how long to wait at most")
    .argParser((text) => {
      if (!new RegExp(DURATION_PATTERN, "u").test(text)) throw new InvalidArgumentError("Write 30s, 5m or 1h30m.");
      return text;
    })
    .default("2m");
}

function count(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError("Write a whole number from 1 on.");
  return Number(text);
}

/** Never fails: a shell that completes shows no errors. */
async function complete(words: readonly string[], terminal: PluginTerminal): Promise<number> {
  const signal = AbortSignal.any([terminal.signal, AbortSignal.timeout(COMPLETION_MS)]);
  const names = async (given: readonly string[]): Promise<string[]> => {
    const session = openSession(
      { ...terminal, signal },
      { namespace: valueOf(given, "-n", "--namespace"), context: valueOf(given, "--context") },
    );
    try {
      const people = await (await session.cluster()).people(await session.namespace());
      return people.map(({ metadata }) => metadata.name);
    } catch {
      return [];
    } finally {
      session.close();
    }
  };
  const found = await candidates(
    makeProgram(terminal, () => undefined),
    words[0] === "--" ? words.slice(1) : words,
    names,
  );
  terminal.stdout.write(shown(`${[...found, NO_FILES].join("\n")}\n`));
  return EXIT.done;
}

function valueOf(words: readonly string[], ...options: readonly string[]): string | undefined {
  return words.find((_word, index) => options.includes(words[index - 1] ?? ""));
}
