import { createHash } from "node:crypto";
import type { TenantSpec } from "../api/tenant.ts";

/** JSON with its keys in order: jsonb and the API server give them back in orders of their own. */
export function canonicalJSON(value: unknown): string {
  return JSON.stringify(value, (_key, field: unknown) =>
    typeof field === "object" && field !== null && !Array.isArray(field)
      ? Object.fromEntries(Object.entries(field).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : field,
  );
}

export function sameJSON(a: unknown, b: unknown): boolean {
  return canonicalJSON(a) === canonicalJSON(b);
}

/** What names the credentials in force without being one: uid and resourceVersion of their Secrets. */
export interface CredentialVersions {
  readonly keycloak: string;
  readonly newapi: string;
}

/** Changes whenever a saga should be polled again; the same on every replica. */
export function revision(accepted: TenantSpec, credentials: CredentialVersions): string {
  return digest({ accepted, credentials });
}

/** Changes whenever the upstreams must be checked again before users are made under the spec. */
export function checkKey(accepted: TenantSpec, credentials: CredentialVersions): string {
  const { keycloak, newapi, allow, namespaces } = accepted;
  return digest({
    keycloak,
    newapi: { dialect: newapi.dialect, url: newapi.url, secret: newapi.credentialsSecretName },
    allow: { groups: allow.groups, realmRoles: allow.realmRoles, emailDomains: allow.emailDomains },
    namespaces,
    credentials,
  });
}

function digest(value: unknown): string {
  return createHash("sha256").update(canonicalJSON(value)).digest("hex").slice(0, 20);
}
