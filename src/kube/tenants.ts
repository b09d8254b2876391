/** Tenants. */
import * as z from "zod";
import { FINALIZER } from "../api/meta.ts";
import { liveTenant } from "../api/tenant.ts";
import type { HttpAnswer } from "../lib/http.ts";
import type { Cluster } from "./cluster.ts";
import { type Connection, json } from "./connection.ts";
import { listAll, moved, readOwn } from "./exchange.ts";
import { addFinalizer, applyStatus, collectionPath, get, label, removeFinalizer } from "./objects.ts";

type Tenants = Pick<Cluster, "listTenants" | "getTenant" | "applyTenantStatus" | "setTenantFinalizer">;

const versioned = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });
const named = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });

const versionOf = (answer: HttpAnswer): string | undefined =>
  versioned.safeParse(json(answer)).data?.metadata.resourceVersion;

export function makeTenants(connection: Connection): Tenants {
  return {
    async listTenants(signal) {
      const items = await listAll(connection, { doing: "list tenants", path: collectionPath("Tenant") }, signal);
      // One unreadable Tenant fails the list: leaving it out would look as if its namespaces were free.
      return items.map((item) => {
        const { data } = named.safeParse(item);
        return readOwn(liveTenant, item, `Tenant ${data?.metadata.name ?? "without a name"}`);
      });
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
