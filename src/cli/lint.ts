/** `unified-rbac lint`: what it takes, what it prints, how it ends. */
import { Command, Option } from "commander";
import { type ReportFormat, FORMATS } from "./lint/formats.ts";
import type { Terminal } from "./terminal.ts";

/** Exit codes of lint; the usage error is 2 for every command. */
export const CLEAN = 0;
export const FOUND = 1;

interface Given {
  readonly against?: string;
  readonly tenant?: string;
  readonly namespace?: string;
  readonly format: ReportFormat;
  readonly strict?: true;
}

const HELP = `
A PATH is a file, a folder (a kustomization is followed, any other folder is read whole) or - for standard input.
The manifests of all paths together are taken for one tenant's; other kinds are passed over.

Exit codes:
  0  nothing that the cluster would refuse, or that could never become Ready (with --strict: nothing at all)
  1  findings
  2  it could not be done: a wrong option, a file that is not there, a ref that git does not know

Examples:
  $ unified-rbac lint users
  $ unified-rbac lint --against=origin/main --format=gitea users
  $ unified-rbac lint --tenant=tenant.yaml users/ada.yaml
  $ kustomize build overlays/live | unified-rbac lint -

A finding, with the place, the sentence and a hint:
  users/ada.yaml:6:3: spec.emial: is no field of this kind (did you mean email?)
`;

/** `done` receives the exit code. Everything that lint needs is loaded only when it runs. */
export function lintCommand(terminal: Terminal, done: (code: number) => void): Command {
  return new Command("lint")
    .summary("checks manifests before the cluster does, offline")
    .description(
      "Checks TenantUser and Tenant manifests as the cluster would, without one: fields, types, rules, reserved names,\nthe same address or name twice, and what may not be changed.",
    )
    .argument("<PATH...>", "files, folders, or -")
    .option("--against <REF>", "a git ref: find changes to what may not be changed since this branch left it")
    .option("--tenant <FILE>", "the platform's Tenant: find what it does not allow, its limits, its namespaces")
    .option("-n, --namespace <NAME>", "the namespace that Flux puts everything into (targetNamespace)")
    .addOption(new Option("--format <FORMAT>", "how findings are written").choices(FORMATS).default("text"))
    .option("--strict", "let warnings fail as well")
    .addHelpText("after", HELP)
    .action(async (paths: string[], options: Given) => {
      const [{ lint }, { render }] = await Promise.all([import("./lint/run.ts"), import("./lint/formats.ts")]);
      const { findings, objects } = await lint(paths, options, terminal.readStdin);
      terminal.out(render(options.format, findings, terminal.version));
      const errors = findings.filter(({ severity }) => severity === "error").length;
      const warnings = findings.length - errors;
      if (options.format === "text") {
        terminal.err(
          `${count(objects, "manifest")} checked: ${count(errors, "error")}, ${count(warnings, "warning")}\n`,
        );
      }
      done(errors > 0 || (options.strict && warnings > 0) ? FOUND : CLEAN);
    });
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
