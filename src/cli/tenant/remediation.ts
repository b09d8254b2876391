/** What to run against a finding: the commands of its reason, with this tenant's names in them. Pure. */
import { OPERATOR_NAMESPACE } from "../../api/meta.ts";
import { fillCommand, reasonEntry } from "../../api/reasons.ts";
import type { TenantSetup } from "../../api/setupCommands.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { DIALECTS } from "../../gateway/dialects/index.ts";

/** Empty: there is nothing to run. What exists already stays as it is. */
export function remediationOf(
  tenant: string,
  { namespaces, keycloak, newapi }: TenantSpec,
  reason: string,
  known: Pick<TenantSetup, "upstream" | "missing"> = {},
): readonly string[] {
  const { remediation, command } = reasonEntry(reason);
  if (remediation !== undefined) {
    const { credentialsSecretName, dialect } = newapi;
    const gateway = { credentialsSecretName, credentialKeys: DIALECTS[dialect].credentialKeys };
    return remediation({ tenant, namespaces, keycloak, newapi: gateway, ...known });
  }
  const line = fillCommand(command, { TENANT: tenant, OPERATOR: OPERATOR_NAMESPACE });
  // A command about one user is of no use here.
  return /\b(?:NAME|NS)\b/.test(line) ? [] : [line];
}
