/** `unified-rbac admission check | remove`: whether the API server calls the webhook, and the end of that. For people and for Helm. */
import { Command, InvalidArgumentError } from "commander";

import type { ClusterChoice } from "./cluster.ts";
import { EXIT } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

const EXIT_CODES = `
Exit codes: 0 done; 1 the API server did not call the webhook in time; 2 called wrongly, nothing was done; 3 the cluster
does not answer, or does not let you ask; 130 interrupted.
`;

interface Flags {
  readonly context?: string;
  readonly timeout: number;
}

/** The command with its subcommands; `exit` takes the exit code of what was done. */
export function admissionCommand(terminal: Terminal, exit: (code: number) => void): Command {
  const admission = new Command("admission").description(
    "checks that the API server calls the webhook, or removes the webhook configurations",
  );
  admission
    .command("check")
    .description("Creates a TenantUser as a dry run, until the webhook has added its finalizer. Nothing is stored.")
    .option("--timeout <seconds>", "how long to try", seconds, 30)
    .option("--context <name>", "of the kubeconfig (default: the current one)")
    .addHelpText(
      "after",
      `
failurePolicy of the webhook is Ignore: while it does not answer, the API server passes it over, and nobody notices but
this command. It needs the right to create TenantUsers in the namespace of the service.
${EXIT_CODES}`,
    )
    .action(async (flags: Flags) => {
      const { checkAdmission } = await import("./admission/check.ts");
      const failure = await checkAdmission(choiceOf(terminal, flags), flags.timeout * 1000, terminal.signal);
      terminal.out(failure ?? "The API server calls the webhook.\n");
      exit(failure === undefined ? EXIT.ok : EXIT.unfinished);
    });
  admission
    .command("remove")
    .description("Deletes both webhook configurations, so that no request waits for a webhook that is going.")
    .option("--context <name>", "of the kubeconfig (default: the current one)")
    .addHelpText(
      "after",
      `
People, their accounts and the definitions stay as they are. Apply the manifests, or upgrade the release, to have the
configurations again.
${EXIT_CODES}`,
    )
    .action(async (flags: Pick<Flags, "context">) => {
      const { removeWebhooks } = await import("./admission/remove.ts");
      terminal.out(await removeWebhooks(choiceOf(terminal, flags), terminal.signal));
      exit(EXIT.ok);
    });
  return admission;
}

/** An empty variable counts as absent. Helm's Jobs have no kubeconfig. */
function choiceOf({ env }: Terminal, { context }: Pick<Flags, "context">): ClusterChoice {
  const host = env["KUBERNETES_SERVICE_HOST"] || undefined;
  const port = env["KUBERNETES_SERVICE_PORT"] || undefined;
  const pod = host === undefined ? undefined : { host, port };
  return { kubeconfig: env["KUBECONFIG"] || undefined, context, pod };
}

function seconds(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError("It must be a whole number of seconds.");
  return Number(text);
}
