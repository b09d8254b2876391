/** `unified-rbac tenant init | check | offboard`: what a platform does for a tenant by hand. */
import { Command, InvalidArgumentError, Option } from "commander";

import { DEFAULT_DIALECT, DIALECT_NAMES } from "../api/tenant.ts";
import { EXIT } from "./failure.ts";
import type { TenantPatch } from "./tenant/template.ts";
import type { TenantValues } from "./tenant/values.ts";
import type { Terminal } from "./terminal.ts";

const EXIT_CODES = `
Exit codes: 0 done, nothing is missing; 1 something is missing or not finished; 2 called wrongly, nothing was done;
3 the cluster does not answer, or does not let you ask; 130 interrupted.
`;

/** The command with its subcommands; `exit` takes the exit code of what was done. */
export function tenantCommand(terminal: Terminal, exit: (code: number) => void): Command {
  const tenant = new Command("tenant").description("onboards, checks and offboards tenants, with your own kubeconfig");
  addInit(tenant, terminal);
  addCheck(tenant, terminal, exit);
  addOffboard(tenant, terminal, exit);
  return tenant;
}

interface InitFlags {
  readonly out?: string;
  readonly namespace?: string;
  readonly gitUrl: string;
  readonly gitBranch?: string;
  readonly gitPath?: string;
  readonly keycloakUrl: string;
  readonly realm?: string;
  readonly newapiUrl: string;
  readonly newapiPublicUrl?: string;
  readonly dialect?: TenantValues["NEWAPI_DIALECT"];
  readonly tier?: string;
  readonly grace?: string;
  readonly emailDomain?: readonly string[];
  readonly allowGroup?: readonly string[];
  readonly maxUsers?: number;
  readonly externalSecrets?: boolean;
  readonly secretStore?: string;
  readonly secretPath?: string;
  readonly notifications?: boolean;
}

function addInit(tenant: Command, terminal: Terminal): void {
  tenant
    .command("init")
    .description("Writes the onboarding of a tenant to a directory, ready to commit. No secret is written.")
    .argument("<name>", "the tenant's id and the name of its Tenant: lower-case letters, digits and dashes")
    .requiredOption("--git-url <url>", "the tenant's repository")
    .requiredOption("--keycloak-url <url>", "Keycloak, without the realm and without a slash at the end")
    .requiredOption("--newapi-url <url>", "the gateway's admin API, without a slash at the end")
    .option("--out <directory>", "where to write; it must not exist or be empty (default: the tenant's name)")
    .option("--namespace <name>", "the tenant's namespace (default: tenant-<name>)")
    .option("--git-branch <name>", "default: main")
    .option("--git-path <path>", "the folder with the people (default: ./users)")
    .option("--realm <name>", "the tenant's realm (default: the tenant's name)")
    .option("--newapi-public-url <url>", "the address in people's Secrets (default: --newapi-url)")
    .addOption(
      new Option("--dialect <name>", `what the gateway speaks (default: ${DEFAULT_DIALECT})`).choices(DIALECT_NAMES),
    )
    .option("--tier <name>", "the gateway's group for people who name none (default: default)")
    .option("--grace <time>", "how long a removed person can come back as the same one (default: 7d)")
    .option("--email-domain <domain...>", "people of these domains only (default: any, which the Tenant points out)")
    .option("--allow-group <path...>", "realm groups that the tenant's manifests may name (default: none)")
    .option("--max-users <number>", "how many people the tenant may have (default: no limit)", wholeNumber)
    .option("--external-secrets", "adds ExternalSecrets for the three credentials")
    .option("--secret-store <name>", "their ClusterSecretStore (default: platform)")
    .option("--secret-path <path>", "the path of their entries (default: unified-rbac/<name>)")
    .option("--notifications", "adds Receiver, Provider and Alert for Gitea")
    .addHelpText(
      "after",
      `
Example:
  unified-rbac tenant init acme --git-url https://git.example.com/acme/people.git \\
    --keycloak-url https://sso.example.com --newapi-url https://llm.example.com --email-domain acme.example
${EXIT_CODES}`,
    )
    .action(async (name: string, flags: InitFlags) => {
      const { init } = await import("./tenant/init.ts");
      terminal.out(
        init({
          values: valuesOf(name, flags),
          patch: patchOf(flags),
          extras: [
            ...(flags.externalSecrets ? (["external-secrets"] as const) : []),
            ...(flags.notifications ? (["notifications"] as const) : []),
          ],
          out: flags.out ?? name,
        }),
      );
    });
}

function valuesOf(name: string, flags: InitFlags): TenantValues {
  const given = {
    GIT_BRANCH: flags.gitBranch,
    GIT_PATH: flags.gitPath,
    NEWAPI_PUBLIC_URL: flags.newapiPublicUrl,
    NEWAPI_DIALECT: flags.dialect,
    NEWAPI_TIER: flags.tier,
    DELETION_GRACE: flags.grace,
    SECRET_STORE: flags.secretStore,
    SECRET_PATH: flags.secretPath,
  };
  return {
    TENANT: name,
    NAMESPACE: flags.namespace ?? `tenant-${name}`,
    GIT_URL: flags.gitUrl,
    KEYCLOAK_URL: flags.keycloakUrl,
    KEYCLOAK_REALM: flags.realm ?? name,
    NEWAPI_URL: flags.newapiUrl,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
}

function patchOf({ emailDomain, allowGroup, maxUsers }: InitFlags): TenantPatch {
  const allow = {
    ...(allowGroup === undefined ? {} : { groups: [...allowGroup] }),
    ...(emailDomain === undefined ? {} : { emailDomains: [...emailDomain] }),
  };
  return {
    ...(Object.keys(allow).length === 0 ? {} : { allow }),
    ...(maxUsers === undefined ? {} : { limits: { maxUsers } }),
  };
}

interface ClusterFlags {
  readonly context?: string;
  readonly output: "text" | "json";
}

function addCheck(tenant: Command, terminal: Terminal, exit: (code: number) => void): void {
  tenant
    .command("check")
    .description(
      "Lists what is missing for a tenant, at its upstreams and in the cluster, with the commands that fix it.",
    )
    .argument("<name>", "the name of the Tenant")
    .option("--context <name>", "of the kubeconfig (default: the current one)")
    .addOption(new Option("-o, --output <format>", "text or json").choices(["text", "json"]).default("text"))
    .addHelpText(
      "after",
      `
It reads the Tenant, its namespaces and Flux's objects with your own kubeconfig and rights. Where you may read the
tenant's credentials, it asks Keycloak and the gateway from here as well; otherwise it reports what the reconciler found. It changes
nothing.

Example:
  unified-rbac tenant check acme
${EXIT_CODES}`,
    )
    .action(async (name: string, { context, output }: ClusterFlags) => {
      const { check } = await import("./tenant/check.ts");
      const report = await check(name, { kubeconfig: kubeconfigOf(terminal), context }, terminal.signal);
      const { asText } = await import("./tenant/checkText.ts");
      terminal.out(output === "json" ? `${JSON.stringify(report, null, 2)}\n` : asText(report));
      exit(report.findings.some(({ level }) => level === "missing") ? EXIT.unfinished : EXIT.ok);
    });
}

interface OffboardFlags {
  readonly context?: string;
  readonly yes?: boolean;
  readonly skipGrace?: boolean;
  readonly alsoRetained?: boolean;
  readonly keepNamespaces?: boolean;
  readonly timeout: number;
}

function addOffboard(tenant: Command, terminal: Terminal, exit: (code: number) => void): void {
  tenant
    .command("offboard")
    .description(
      "Shows what the end of a tenant means; with --yes, does it: people, then the Tenant, then its namespaces.",
    )
    .argument("<name>", "the name of the Tenant")
    .option("--yes", "do it; without, nothing is changed")
    .option(
      "--skip-grace",
      "undo people's accounts at once, not after the Tenant's deletionGrace: nobody can come back",
    )
    .option("--also-retained", "undo also those whose deletionPolicy is Retain")
    .option("--keep-namespaces", "leave the namespaces")
    .option("--timeout <minutes>", "how long to wait before saying what is left", wholeNumber, 15)
    .option("--context <name>", "of the kubeconfig (default: the current one)")
    .addHelpText(
      "after",
      `
Take the tenant's directory out of the platform's repository first, or Flux would make everything again; the Tenant, the
namespace and the people stay until this command ends them. You can interrupt it at any time and run it again: it
continues where it stopped. Realm, repository and credentials of the tenant are left to you; it says which they are.

Example:
  unified-rbac tenant offboard acme
  unified-rbac tenant offboard acme --yes
${EXIT_CODES}`,
    )
    .action(async (name: string, flags: OffboardFlags) => {
      const { offboard } = await import("./tenant/offboard.ts");
      exit(
        await offboard(
          name,
          {
            yes: flags.yes ?? false,
            skipGrace: flags.skipGrace ?? false,
            alsoRetained: flags.alsoRetained ?? false,
            keepNamespaces: flags.keepNamespaces ?? false,
            timeoutMs: flags.timeout * 60_000,
            kubeconfig: kubeconfigOf(terminal),
            context: flags.context,
          },
          terminal.out,
          terminal.signal,
        ),
      );
    });
}

/** An empty variable counts as absent. */
function kubeconfigOf({ env }: Terminal): string | undefined {
  return env["KUBECONFIG"] || undefined;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}
