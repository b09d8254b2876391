import * as z from "zod";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import type { ApiServer } from "../support/apiServer.ts";

const named = z.object({ items: z.array(z.object({ metadata: z.object({ name: z.string() }) })) });

/** Takes a tenant and everybody in it out of the cluster without anybody's leave; the neighbours are not asked. */
export async function abandon(api: ApiServer, tenant: string, namespace: string): Promise<void> {
  const letGo = async (path: string): Promise<void> => {
    await api.send("PATCH", path, { metadata: { finalizers: null } }, "application/merge-patch+json");
    await api.send("DELETE", path);
  };
  const { items } = named.parse((await api.send("GET", collectionPath("TenantUser", namespace))).body);
  await Promise.all(items.map(({ metadata: { name } }) => letGo(objectPath("TenantUser", { namespace, name }))));
  await letGo(objectPath("Tenant", { name: tenant }));
  await api.send("DELETE", `/api/v1/namespaces/${namespace}`);
}
