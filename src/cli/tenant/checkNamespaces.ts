/** A tenant's namespaces: there, with the rights that the reconciler needs, and none that the tenant must not have. */
import * as z from "zod";

import { GROUP, KINDS, OPERATOR_NAMESPACE } from "../../api/meta.ts";
import { REASON } from "../../api/reasons.ts";
import { grantSecretAccess, SECRET_VERBS } from "../../api/setupCommands.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { type ClusterClient, Refused } from "../cluster.ts";
import { type CheckFinding, finding } from "./findings.ts";
import { pathSegment } from "../../lib/ids.ts";
import { shell } from "../../lib/shell.ts";

/** Who Flux is in a tenant's namespace. */
export const FLUX_ACCOUNT = "flux-tenant";
const RECONCILER = `system:serviceaccount:${OPERATOR_NAMESPACE}:unified-rbac`;

interface Right {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
}

const USERS = KINDS.TenantUser.plural;
const WANTED_BY_FLUX = ["get", "list", "watch", "create", "update", "patch", "delete"].map((verb): Right => ({
  verb,
  group: GROUP,
  resource: USERS,
}));

/** What whoever commits would have too, with what it means. */
const FORBIDDEN_TO_FLUX: readonly (readonly [Right, string])[] = [
  [{ verb: "patch", group: GROUP, resource: USERS, subresource: "status" }, "declare its people Ready"],
  [{ verb: "update", group: GROUP, resource: USERS, subresource: "finalizers" }, "hold its people for ever"],
  [{ verb: "get", group: "", resource: "secrets" }, "copy every key of the namespace"],
  [{ verb: "create", group: GROUP, resource: KINDS.Tenant.plural }, "make Tenants of its own"],
  [{ verb: "create", group: "rbac.authorization.k8s.io", resource: "rolebindings" }, "give itself rights"],
];

export async function checkNamespaces(cluster: ClusterClient, spec: TenantSpec): Promise<readonly CheckFinding[]> {
  return (await Promise.all(spec.namespaces.map((namespace) => checkNamespace(cluster, namespace)))).flat();
}

async function checkNamespace(cluster: ClusterClient, namespace: string): Promise<readonly CheckFinding[]> {
  try {
    const found = await cluster.get(`/api/v1/namespaces/${pathSegment(namespace)}`);
    if (found === undefined || found.metadata.deletionTimestamp !== undefined) {
      const state = found === undefined ? "does not exist" : "is being deleted";
      const create = shell`kubectl create namespace ${namespace}`;
      return [missing(`Namespace ${namespace} ${state}.`, [create], REASON.NamespaceNotFound)];
    }
    return [...(await ourRights(cluster, namespace)), ...(await fluxRights(cluster, namespace))];
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return [finding("Namespaces", "unknown", `Namespace ${namespace}: ${error.message}`)];
  }
}

async function ourRights(cluster: ClusterClient, namespace: string): Promise<readonly CheckFinding[]> {
  const rights = SECRET_VERBS.map((verb) => ({ verb, group: "", resource: "secrets" }));
  const without = await lacking(cluster, namespace, RECONCILER, rights);
  if (without.length === 0) return [];
  const verbs = without.map(({ verb }) => verb).join(", ");
  const message = `The reconciler may not ${verbs} Secrets in namespace ${namespace}.`;
  return [missing(message, grantSecretAccess(namespace), REASON.MissingPermission)];
}

async function fluxRights(cluster: ClusterClient, namespace: string): Promise<readonly CheckFinding[]> {
  // Without the account, something else applies the tenant's files: its rights are not ours to judge.
  if ((await cluster.get(`/api/v1/namespaces/${pathSegment(namespace)}/serviceaccounts/${FLUX_ACCOUNT}`)) === undefined)
    return [];
  const account = `system:serviceaccount:${namespace}:${FLUX_ACCOUNT}`;
  const without = await lacking(cluster, namespace, account, WANTED_BY_FLUX);
  const findings: CheckFinding[] = [];
  if (without.length > 0) {
    const verbs = without.map(({ verb }) => verb).join(", ");
    const message = `Flux may not ${verbs} ${USERS} in namespace ${namespace}; apply the onboarding Role.`;
    findings.push(missing(message, [shell`kubectl -n ${namespace} get role,rolebinding ${FLUX_ACCOUNT} -o yaml`]));
  }
  for (const [right, meaning] of FORBIDDEN_TO_FLUX) {
    if ((await lacking(cluster, namespace, account, [right])).length > 0) continue;
    const what = `${right.verb} ${right.resource}${right.subresource === undefined ? "" : `/${right.subresource}`}`;
    const message = `Flux may ${what} in namespace ${namespace}: whoever commits there could ${meaning}; take that right away.`;
    const who = shell`kubectl get rolebindings,clusterrolebindings -A -o wide | grep ${namespace}/${FLUX_ACCOUNT}`;
    findings.push(missing(message, [who]));
  }
  return findings;
}

const review = z.looseObject({ status: z.looseObject({ allowed: z.boolean() }) });

async function lacking(
  cluster: ClusterClient,
  namespace: string,
  user: string,
  rights: readonly Right[],
): Promise<readonly Right[]> {
  const answers = await Promise.all(
    rights.map(async ({ verb, group, resource, subresource }) => {
      const resourceAttributes = { namespace, verb, group, resource, subresource };
      const [, , own = ""] = user.split(":");
      const groups = ["system:serviceaccounts", `system:serviceaccounts:${own}`, "system:authenticated"];
      const answer = await cluster.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: { user, groups, resourceAttributes },
      });
      return review.parse(answer).status.allowed;
    }),
  );
  return rights.filter((_right, index) => answers[index] !== true);
}

const missing = (message: string, fix: readonly string[], reason?: string) =>
  finding("Namespaces", "missing", message, fix, reason);
