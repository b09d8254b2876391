import pLimit from "p-limit";
import * as z from "zod";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import type { ApiServer } from "../support/apiServer.ts";

const named = z.object({ items: z.array(z.object({ metadata: z.object({ name: z.string() }) })) });

const CALLS = 8;

/** Takes a tenant and everybody in it out of the cluster without anybody's leave; the upstreams are not asked. */
export async function abandon(api: ApiServer, tenant: string, namespace: string): Promise<void> {
  const released = async (path: string): Promise<void> => {
    await api.send("PATCH", path, { metadata: { finalizers: null } }, "application/merge-patch+json");
    await api.send("DELETE", path);
  };
  const { items } = named.parse((await api.send("GET", collectionPath("TenantUser", namespace))).body);
  // A call that waits for a connection is on its own clock already.
  const limit = pLimit(CALLS);
  const paths = items.map(({ metadata: { name } }) => objectPath("TenantUser", { namespace, name }));
  await Promise.all(paths.map((path) => limit(() => released(path))));
  await released(objectPath("Tenant", { name: tenant }));
  await api.send("DELETE", `/api/v1/namespaces/${namespace}`);
}
