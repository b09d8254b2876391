/** Tenants: few, so they are always read whole. */
import * as z from "zod";
import { FINALIZER } from "../api/meta.ts";
import { liveTenant } from "../api/tenant.ts";
import type { Cluster } from "./cluster.ts";
import type { Connection } from "./connection.ts";
import { listAll, moved, readOwn } from "./exchange.ts";
import { addFinalizer, applyStatus, collectionPath, label, removeFinalizer } from "./objects.ts";

type Tenants = Pick<Cluster, "listTenants" | "applyTenantStatus" | "setTenantFinalizer">;

const versioned = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });
const named = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });

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
    applyTenantStatus: (tenant, status, signal) => applyStatus(connection, tenant, status, signal),
    async setTenantFinalizer(tenant, present, signal) {
      if (!present) {
        await removeFinalizer(connection, tenant, signal);
        return undefined;
      }
      if (tenant.metadata.finalizers?.includes(FINALIZER)) return undefined;
      const answer = await addFinalizer(connection, tenant, signal);
      if (answer === undefined) throw moved(label(tenant));
      return versioned.safeParse(answer).data?.metadata.resourceVersion;
    },
  };
}
