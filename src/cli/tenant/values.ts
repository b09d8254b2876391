/** The values of one tenant's onboarding: the variables of flux/tenant. Pure. */
import { DNS_LABEL } from "../../api/rules/patterns.ts";
import type { DialectName } from "../../api/tenant.ts";

/** The variables of flux/README.md. What has a default there may be absent. */
export interface TenantValues {
  readonly TENANT: string;
  readonly NAMESPACE: string;
  readonly GIT_URL: string;
  readonly KEYCLOAK_URL: string;
  readonly KEYCLOAK_REALM: string;
  readonly NEWAPI_URL: string;
  readonly GIT_BRANCH?: string;
  readonly GIT_PATH?: string;
  readonly GIT_SECRET?: string;
  readonly KEYCLOAK_SECRET?: string;
  readonly NEWAPI_SECRET?: string;
  readonly NEWAPI_PUBLIC_URL?: string;
  readonly NEWAPI_DIALECT?: DialectName;
  readonly NEWAPI_TIER?: string;
  readonly DELETION_GRACE?: string;
  readonly MAX_OBJECTS?: string;
  readonly INTERVAL?: string;
  readonly RECHECK_INTERVAL?: string;
  readonly RETRY_INTERVAL?: string;
  readonly TIMEOUT?: string;
  readonly SECRET_STORE?: string;
  readonly SECRET_PATH?: string;
  readonly WEBHOOK_SECRET?: string;
  readonly STATUS_SECRET?: string;
}

/** Names of the Secrets, given or by default. */
export function secretNames(values: Pick<TenantValues, "TENANT" | "KEYCLOAK_SECRET" | "NEWAPI_SECRET" | "GIT_SECRET">) {
  return {
    keycloak: values.KEYCLOAK_SECRET ?? `${values.TENANT}-keycloak`,
    newapi: values.NEWAPI_SECRET ?? `${values.TENANT}-newapi`,
    git: values.GIT_SECRET ?? "tenant-git",
  };
}

const LABEL = new RegExp(DNS_LABEL, "u");

/** What would make other YAML of the templates than was meant, one sentence each. The Tenant's own rules come on top. */
export function problemsOf(values: TenantValues): string[] {
  const problems: string[] = [];
  for (const [what, value] of [
    ["tenant's name", values.TENANT],
    ["namespace", values.NAMESPACE],
  ] as const) {
    if (LABEL.test(value)) continue;
    problems.push(`The ${what} must be lower-case letters, digits and dashes (63 at most), not "${value}".`);
  }
  if (!URL.canParse(values.GIT_URL)) problems.push(`The Git URL must be an address, not "${values.GIT_URL}".`);
  else if (new URL(values.GIT_URL).password !== "") {
    problems.push("The Git URL must hold no password: it stands in Git; the Secret with the login is beside it.");
  }
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && !isPlainText(value)) problems.push(`${name} must be plain text, not "${value}".`);
  }
  return problems;
}

/** One word, and no variable: a default may hold another variable, so what is put in is checked again. */
function isPlainText(text: string): boolean {
  return !/[\s\p{Cc}]|\$\{/u.test(text);
}
