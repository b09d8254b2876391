/** Tenants. */
import * as z from "zod";
import { API_VERSION, FINALIZER, liveMeta } from "../api/meta.ts";
import { liveTenant, type TenantSpec, tenantSpec, tenantStatus } from "../api/tenant.ts";
import { isSagaError } from "../lib/errors.ts";
import type { HttpAnswer } from "../lib/http.ts";
import type { Cluster, ListedTenant } from "./cluster.ts";
import { type ApiClient, json } from "./apiClient.ts";
import { listAll, moved, readOwn } from "./exchange.ts";
import { addFinalizer, applyStatus, collectionPath, get, label, removeFinalizer } from "./objects.ts";

type Tenants = Pick<Cluster, "listTenants" | "getTenant" | "applyTenantStatus" | "setTenantFinalizer">;

const versioned = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });
const bare = z.looseObject({ metadata: liveMeta, status: tenantStatus.optional().catch(undefined) });

const NO_SPEC: TenantSpec = tenantSpec.parse({
  tenantID: "none",
  namespaces: [],
  keycloak: { url: "http://none.invalid", realm: "none", credentialsSecretName: "none" },
  newapi: { url: "http://none.invalid", credentialsSecretName: "none" },
});

/** One unreadable Tenant fails nobody else's list. Throws for what is no object of Kubernetes at all. */
export function readListed(item: unknown): ListedTenant {
  const { metadata, status } = bare.parse(item);
  try {
    return readOwn(liveTenant, item, `Tenant ${metadata.name}`);
  } catch (error) {
    if (!isSagaError(error)) throw error;
    return { apiVersion: API_VERSION, kind: "Tenant", metadata, spec: NO_SPEC, status, unreadable: error.message };
  }
}

const versionOf = (answer: HttpAnswer): string | undefined =>
  versioned.safeParse(json(answer)).data?.metadata.resourceVersion;

export function makeTenants(connection: ApiClient): Tenants {
  return {
    async listTenants(signal) {
      const items = await listAll(connection, { doing: "list tenants", path: collectionPath("Tenant") }, signal);
      return items.map(readListed);
    },
    async getTenant(name, signal) {
      const answer = await get(connection, { kind: "Tenant", metadata: { name } }, signal);
      return answer === undefined ? undefined : readOwn(liveTenant, json(answer), `Tenant ${name}`);
    },
    async applyTenantStatus(tenant, status, signal) {
      const answer = await applyStatus(connection, tenant, status, signal);
      return answer === undefined ? undefined : versionOf(answer);
    },
    async setTenantFinalizer(tenant, present, signal) {
      if (!present) {
        await removeFinalizer(connection, tenant, signal);
        return undefined;
      }
      if (tenant.metadata.finalizers?.includes(FINALIZER)) return undefined;
      const answer = await addFinalizer(connection, tenant, signal);
      if (answer === undefined) throw moved(label(tenant));
      return versionOf(answer);
    },
  };
}
