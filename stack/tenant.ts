/** Onboards a tenant from the files that are shipped in flux/tenant, filled in as Flux's post-build substitution does. */

import { fillIn, substitute, templates, type TenantPatch } from "../src/cli/tenant/template.ts";
import { OPERATOR_NAMESPACE } from "../src/api/meta.ts";
import { secretNames, type TenantValues } from "../src/cli/tenant/values.ts";
import { toYAML } from "../src/lib/yaml.ts";

export { substitute };
export type { TenantPatch, TenantValues };

/** YAML of everything that one tenant needs but its Secrets: for `kubectl apply -f -`. Throws on a missing variable. */
export function renderTenant(values: TenantValues, patch: TenantPatch = {}): string {
  return fillIn(templates(), values, patch)
    .map(({ text }) => text)
    .join("---\n");
}

export interface TenantCredentials {
  readonly keycloak: { readonly clientID: string; readonly clientSecret: string };
  readonly newapi: { readonly token: string; readonly userID?: string };
  /** A read-only account of the tenant's repository. */
  readonly git: { readonly username: string; readonly password: string };
}

/** YAML of the three Secrets that a platform makes by its own means; the namespaces must be there. */
export function renderTenantSecrets(
  values: TenantValues,
  credentials: TenantCredentials,
  operatorNamespace = OPERATOR_NAMESPACE,
): string {
  const { keycloak, newapi, git } = credentials;
  const names = secretNames(values);
  return [
    secret(operatorNamespace, names.keycloak, {
      "client-id": keycloak.clientID,
      "client-secret": keycloak.clientSecret,
    }),
    secret(operatorNamespace, names.newapi, {
      token: newapi.token,
      ...(newapi.userID === undefined ? {} : { "user-id": newapi.userID }),
    }),
    secret(values.NAMESPACE, names.git, { username: git.username, password: git.password }),
  ].join("---\n");
}

function secret(namespace: string, name: string, stringData: Readonly<Record<string, string>>): string {
  return toYAML({ apiVersion: "v1", kind: "Secret", type: "Opaque", metadata: { name, namespace }, stringData });
}
