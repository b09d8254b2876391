/** `tenant check`: checks everything that a tenant's users need, with the rights of whoever runs it. Changes nothing. */
import { collectionPath } from "../../kube/objects.ts";
import { type ClusterChoice, type ClusterClient, connectCluster } from "../cluster.ts";
import { type CheckReport, compose, finding } from "./findings.ts";
import { checkFlux } from "./checkFlux.ts";
import { checkNamespaces } from "./checkNamespaces.ts";
import { checkGateway, checkKeycloak } from "./checkUpstreams.ts";
import { readTenant } from "./survey.ts";
import { shell } from "../../lib/shell.ts";

/** Throws a CommandFailure when the cluster cannot be asked at all; whatever else cannot be asked is a finding. */
export async function check(name: string, choice: ClusterChoice, signal: AbortSignal): Promise<CheckReport> {
  const cluster = await connectCluster(choice, signal);
  try {
    return await checked(cluster, name, signal);
  } finally {
    cluster.close();
  }
}

async function checked(cluster: ClusterClient, name: string, signal: AbortSignal): Promise<CheckReport> {
  const tenant = await readTenant(cluster, name);
  if (tenant === undefined) return absent(cluster, name);
  const { spec } = tenant;
  const [keycloak, gateway, namespaces, flux] = await Promise.all([
    checkKeycloak(cluster, name, spec, signal),
    checkGateway(cluster, name, spec, signal),
    checkNamespaces(cluster, spec),
    checkFlux(cluster, spec),
  ]);
  return compose(tenant, { Keycloak: keycloak, Gateway: gateway, Namespaces: namespaces, Flux: flux });
}

async function absent(cluster: ClusterClient, tenant: string): Promise<CheckReport> {
  const installed = await cluster.exists(collectionPath("Tenant"));
  const found = installed
    ? finding("Tenant", "missing", `There is no Tenant ${tenant} in this cluster.`, [
        shell`unified-rbac tenant init ${tenant} --git-url ... --keycloak-url ... --newapi-url ...`,
        "kubectl get tenants",
      ])
    : finding("Tenant", "missing", "unified-rbac is not installed in this cluster: it does not know Tenants.", [
        "kubectl apply --server-side -k manifests/crd",
        "kubectl apply --server-side -k manifests/overlays/default",
      ]);
  return { tenant, ready: undefined, areas: ["Tenant"], findings: [found] };
}
