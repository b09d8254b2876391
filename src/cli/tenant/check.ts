/** `tenant check`: checks everything that a tenant's users need, with the rights of whoever runs it. Changes nothing. */
import { liveTenant } from "../../api/tenant.ts";
import { collectionPath, objectPath } from "../../kube/objects.ts";
import { type ClusterChoice, type ClusterClient, connectCluster } from "../cluster.ts";
import { EXIT, CommandFailure } from "../failure.ts";
import { type CheckReport, compose } from "./findings.ts";
import { checkFlux } from "./checkFlux.ts";
import { checkNamespaces } from "./checkNamespaces.ts";
import { checkGateway, checkKeycloak } from "./checkUpstreams.ts";
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
  const object = await cluster.get(objectPath("Tenant", { name }));
  if (object === undefined) return absent(cluster, name);
  const tenant = liveTenant.safeParse(object);
  if (!tenant.success) {
    throw new CommandFailure(
      `Tenant ${name} does not fit the schema of this program; is it of another version?`,
      EXIT.cluster,
    );
  }
  const { spec } = tenant.data;
  const [keycloak, gateway, namespaces, flux] = await Promise.all([
    checkKeycloak(cluster, name, spec, signal),
    checkGateway(cluster, name, spec, signal),
    checkNamespaces(cluster, spec),
    checkFlux(cluster, spec),
  ]);
  return compose(tenant.data, { Keycloak: keycloak, Gateway: gateway, Namespaces: namespaces, Flux: flux });
}

async function absent(cluster: ClusterClient, tenant: string): Promise<CheckReport> {
  const installed = await cluster.exists(collectionPath("Tenant"));
  const finding = installed
    ? {
        message: `There is no Tenant ${tenant} in this cluster.`,
        fix: [
          shell`unified-rbac tenant init ${tenant} --git-url ... --keycloak-url ... --newapi-url ...`,
          "kubectl get tenants",
        ],
      }
    : {
        message: "unified-rbac is not installed in this cluster: it does not know Tenants.",
        fix: [
          "kubectl apply --server-side -k manifests/crd",
          "kubectl apply --server-side -k manifests/overlays/default",
        ],
      };
  return { tenant, ready: undefined, areas: ["Tenant"], findings: [{ area: "Tenant", level: "missing", ...finding }] };
}
