/** `tenant init`: the onboarding of a tenant as files that can be committed. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

import { prepareRealm } from "../../api/setupCommands.ts";
import { DEFAULT_DIALECT } from "../../api/tenant.ts";
import { sentence, validateTenant } from "../../api/validate.ts";
import { DIALECTS } from "../../gateway/dialects/index.ts";
import { EXIT, CommandFailure } from "../failure.ts";
import { credentialSecrets, masterKeys } from "./commands.ts";
import { type Extra, tenantDirectory, type TenantPatch, type TextFile } from "./template.ts";
import { problemsOf, secretNames, type TenantValues } from "./values.ts";
import { shell } from "../../lib/shell.ts";

export interface InitRequest {
  readonly values: TenantValues;
  readonly patch: TenantPatch;
  readonly extras: readonly Extra[];
  /** The directory to make. */
  readonly out: string;
}

/** Writes the directory and gives what to say. Throws a CommandFailure; a directory that holds anything stays as it is. */
export function init(request: InitRequest): string {
  const files = render(request);
  const { out } = request;
  if (existsSync(out) && readdirSync(out).length > 0) {
    throw new CommandFailure(
      `${out} is there and not empty; name another directory with --out, or remove it.`,
      EXIT.usage,
    );
  }
  mkdirSync(out, { recursive: true });
  for (const { name, text } of files) writeFileSync(join(out, name), text, { flag: "wx" });
  return nextSteps(request, files);
}

/** The files. Throws a CommandFailure that names all that is wrong with the values. */
export function render({ values, patch, extras }: InitRequest): TextFile[] {
  const problems = problemsOf(values);
  if (problems.length > 0) throw new CommandFailure(problems.join("\n"), EXIT.usage);
  const files = tenantDirectory(values, patch, extras);
  const tenant: unknown = parse(files.find(({ name }) => name === "tenant.yaml")?.text ?? "");
  const violations = validateTenant(tenant).map(sentence);
  if (violations.length > 0) throw new CommandFailure(violations.join("\n"), EXIT.usage);
  return files;
}

function nextSteps({ values, extras, out }: InitRequest, files: readonly TextFile[]): string {
  const { TENANT, KEYCLOAK_URL, KEYCLOAK_REALM } = values;
  const indented = (lines: readonly string[]): string => lines.map((line) => `  ${line}`).join("\n");
  const secrets = extras.includes("external-secrets")
    ? `The Secrets come from the store; put the entries there:\n\n${indented(storeEntries(values))}`
    : `The Secrets, which never stand in Git (token, username and password are files with the value alone: printf %s):\n\n${indented(credentialSecrets(values))}`;
  const notifications = extras.includes("notifications")
    ? `\nThe webhook's secret and the token for commit statuses:\n\n${indented(notificationSecrets(values))}\n`
    : "";
  const keys = DIALECTS[values.NEWAPI_DIALECT ?? DEFAULT_DIALECT].needsMasterKeys
    ? `\nThe master keys, once for the whole installation; without them no user of this tenant is made, and
people's passwords at the gateway are derived from them, so keep a copy:\n\n${indented(masterKeys())}\n`
    : "";
  return `Written to ${out}: ${files.map(({ name }) => name).join(", ")}.

The realm, where it is not there yet (Keycloak's administrator):

${indented(prepareRealm(KEYCLOAK_URL, KEYCLOAK_REALM))}

${secrets}
${notifications}${keys}
Then commit ${out} where Flux applies the platform's files, and see what is missing:

  ${shell`unified-rbac tenant check ${TENANT}`}
`;
}

function storeEntries(values: TenantValues): string[] {
  const path = values.SECRET_PATH ?? `unified-rbac/${values.TENANT}`;
  const newapi = DIALECTS[values.NEWAPI_DIALECT ?? DEFAULT_DIALECT].credentialKeys.join(", ");
  const names = secretNames(values);
  return [
    `${path}/keycloak: client-id, client-secret   (becomes Secret ${names.keycloak})`,
    `${path}/newapi: ${newapi}   (becomes Secret ${names.newapi})`,
    `${path}/git: username, password   (becomes Secret ${names.git})`,
  ];
}

function notificationSecrets(values: TenantValues): string[] {
  const of = (name: string): string =>
    shell`kubectl -n ${values.NAMESPACE} create secret generic ${name} --from-file=token=./`;
  return [
    `openssl rand -hex 32 | tr -d '\\n' > webhook-token`,
    `${of(values.WEBHOOK_SECRET ?? "tenant-webhook")}webhook-token`,
    `${of(values.STATUS_SECRET ?? "tenant-commit-status")}status-token`,
  ];
}
