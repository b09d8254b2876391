import { tenantSpec, type TenantSpec, type TenantSpecInput } from "../../src/api/tenant.ts";

/** A Tenant's spec as an operator would write it, for tenant `id` with namespace `id`. */
export function tenantSpecInput(id: string, changes: Partial<TenantSpecInput> = {}): TenantSpecInput {
  return {
    tenantID: id,
    namespaces: [id],
    keycloak: { url: "https://keycloak.example.com", realm: id, credentialsSecretName: `${id}-keycloak` },
    newapi: { url: "https://gateway.example.com", credentialsSecretName: `${id}-newapi` },
    ...changes,
  };
}

export function tenantSpecOf(id: string, changes: Partial<TenantSpecInput> = {}): TenantSpec {
  return tenantSpec.parse(tenantSpecInput(id, changes));
}
