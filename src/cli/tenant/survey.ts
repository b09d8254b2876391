/** What there is of a tenant in the cluster: read before, during and after its end. */
import * as z from "zod";

import { LABEL_TENANT } from "../../api/meta.ts";
import { liveTenant, type LiveTenant } from "../../api/tenant.ts";
import { liveTenantUser, type LiveTenantUser } from "../../api/tenantUser.ts";
import { collectionPath, objectPath } from "../../kube/objects.ts";
import type { AnyObject, ClusterClient } from "../cluster.ts";
import { EXIT, CommandFailure } from "../failure.ts";
import { kustomizationsIn, repositoriesIn } from "./checkFlux.ts";
import { pathSegment } from "../../lib/ids.ts";

export interface Survey {
  readonly tenant: LiveTenant | undefined;
  readonly namespaces: readonly TenantNamespace[];
  /** The Kustomization, `namespace/name`, that would make the Tenant again. */
  readonly heldByGit: string | undefined;
}

export interface TenantNamespace {
  readonly name: string;
  readonly uid: string;
  /** Made for this tenant, so that it may go with it. */
  readonly own: boolean;
  readonly users: readonly LiveTenantUser[];
  /** Paths and uids of Flux's objects. */
  readonly kustomizations: readonly FluxObject[];
  readonly repositories: readonly FluxObject[];
}

export interface FluxObject {
  readonly path: string;
  readonly uid: string;
}

/** `namespace/name` as people write it. */
export function nameOf({ metadata }: LiveTenantUser): string {
  return `${metadata.namespace}/${metadata.name}`;
}

export async function survey(cluster: ClusterClient, name: string): Promise<Survey> {
  const tenant = await readTenant(cluster, name);
  const tenantID = tenant?.spec.tenantID ?? name;
  const selector = { labelSelector: `${LABEL_TENANT}=${tenantID}` };
  const labelled = (await cluster.list("/api/v1/namespaces", selector)).map(({ metadata }) => metadata.name);
  const others = (await cluster.list(collectionPath("Tenant"))).filter((each) => each.metadata.name !== name);
  const names = namespacesOf(tenant, labelled, z.array(granted).parse(others));
  const read = await Promise.all(names.map((each) => readNamespace(cluster, each, labelled.includes(each))));
  return {
    tenant,
    namespaces: read.filter((each) => each !== undefined),
    heldByGit: tenant === undefined ? undefined : await holder(cluster, tenant),
  };
}

const granted = z.looseObject({
  status: z
    .looseObject({ accepted: z.looseObject({ namespaces: z.array(z.string()).default([]) }).prefault({}) })
    .prefault({}),
});

/**
 * Those that were granted to the tenant, and those made for it. Never what it only asks for, nor what another Tenant was
 * granted, whatever the label says: other people live there.
 */
export function namespacesOf(
  tenant: Pick<LiveTenant, "status"> | undefined,
  labelled: readonly string[],
  others: readonly z.infer<typeof granted>[],
): readonly string[] {
  const taken = new Set(others.flatMap(({ status }) => status.accepted.namespaces));
  const own = [...(tenant?.status?.accepted?.namespaces ?? []), ...labelled];
  return [...new Set(own)].filter((each) => !taken.has(each)).toSorted();
}

export async function readTenant(cluster: ClusterClient, name: string): Promise<LiveTenant | undefined> {
  const object = await cluster.get(objectPath("Tenant", { name }));
  if (object === undefined) return undefined;
  const tenant = liveTenant.safeParse(object);
  if (tenant.success) return tenant.data;
  throw new CommandFailure(
    `Tenant ${name} does not fit the schema of this program; is it of another version?`,
    EXIT.cluster,
  );
}

export async function readUsers(cluster: ClusterClient, namespace: string): Promise<readonly LiveTenantUser[]> {
  const objects = await cluster.list(collectionPath("TenantUser", namespace));
  return z.array(liveTenantUser).parse(objects);
}

async function readNamespace(cluster: ClusterClient, name: string, own: boolean): Promise<TenantNamespace | undefined> {
  const found = await cluster.get(`/api/v1/namespaces/${pathSegment(name)}`);
  if (found === undefined) return undefined;
  const [users, kustomizations, repositories] = await Promise.all([
    readUsers(cluster, name),
    fluxObjects(cluster, kustomizationsIn(name)),
    fluxObjects(cluster, repositoriesIn(name)),
  ]);
  return { name, uid: found.metadata.uid, own, users, kustomizations, repositories };
}

async function fluxObjects(cluster: ClusterClient, collection: string): Promise<readonly FluxObject[]> {
  return (await cluster.list(collection)).map(({ metadata }) => ({
    path: `${collection}/${metadata.name}`,
    uid: metadata.uid,
  }));
}

const FLUX_NAME = "kustomize.toolkit.fluxcd.io/name";
const FLUX_NAMESPACE = "kustomize.toolkit.fluxcd.io/namespace";

const inventoried = z.looseObject({
  status: z
    .looseObject({
      inventory: z.looseObject({ entries: z.array(z.looseObject({ id: z.string() })).default([]) }).prefault({}),
    })
    .prefault({}),
});

/** Flux's labels stay on what it no longer applies (pruning is off for a Tenant); its inventory tells. */
async function holder(cluster: ClusterClient, tenant: LiveTenant): Promise<string | undefined> {
  const labels = tenant.metadata.labels ?? {};
  const [name, namespace] = [labels[FLUX_NAME], labels[FLUX_NAMESPACE]];
  if (name === undefined || namespace === undefined) return undefined;
  const object: AnyObject | undefined = await cluster.get(`${kustomizationsIn(namespace)}/${name}`);
  const { inventory } = inventoried.parse(object ?? {}).status;
  const held = inventory.entries.some(({ id }) => id === `_${tenant.metadata.name}_catalyst.openova.io_Tenant`);
  return held ? `${namespace}/${name}` : undefined;
}
