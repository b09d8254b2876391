/** Tenants: few, so they are always read whole. */
import * as z from "zod";
import { FINALIZER } from "../api/meta.ts";
import { liveTenant, type Tenant } from "../api/tenant.ts";
import type { Cluster } from "./cluster.ts";
import type { Connection } from "./connection.ts";
import { demand, moved, read, readOwn } from "./exchange.ts";
import { addFinalizer, applyStatus, collectionPath, label, removeFinalizer } from "./objects.ts";

type Tenants = Pick<Cluster, "listTenants" | "applyTenantStatus" | "setTenantFinalizer">;

const PAGE = 500;

/** Items of a list carry no kind of their own in typed lists; in those of custom resources they do. */
const page = z.looseObject({
  metadata: z.looseObject({ continue: z.string().optional() }),
  items: z.array(z.looseObject({ metadata: z.looseObject({ name: z.string() }) })),
});

export function makeTenants(connection: Connection): Tenants {
  return {
    async listTenants(signal) {
      const doing = "list tenants";
      const tenants: Tenant[] = [];
      let next: string | undefined;
      do {
        const query = { limit: String(PAGE), ...(next ? { continue: next } : {}) };
        const request = { method: "GET", path: collectionPath("Tenant"), query } as const;
        const { metadata, items } = read(page, await demand(connection, { doing, request }, signal), doing);
        // One unreadable Tenant fails the list: leaving it out would look as if its namespaces were free.
        tenants.push(...items.map((item) => readOwn(liveTenant, item, `Tenant ${item.metadata.name}`)));
        next = metadata.continue;
      } while (next);
      return tenants;
    },
    applyTenantStatus: (tenant, status, signal) => applyStatus(connection, tenant, status, signal),
    async setTenantFinalizer(tenant, present, signal) {
      if (!present) return removeFinalizer(connection, tenant, signal);
      if (tenant.metadata.finalizers?.includes(FINALIZER)) return;
      if ((await addFinalizer(connection, tenant, signal)) === undefined) throw moved(label(tenant));
    },
  };
}
