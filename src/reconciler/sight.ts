import { parseDuration } from "../api/duration.ts";
import { type TenantSpec, tenantSpec } from "../api/tenant.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { Sight, TenantView, View } from "../saga/decide.ts";
import { desire, refusal } from "../saga/desired.ts";
import type { StepName } from "../saga/row.ts";
import { tenantOf, type Work } from "./work.ts";

/** The object that holds the row, as it is now. */
export async function look(work: Work): Promise<Sight> {
  const { namespace, name, objectUID } = work.claim.row;
  if (namespace === undefined || name === undefined || objectUID === undefined) return { kind: "absent" };
  work.object ??= (await work.deps.cluster.getTenantUser(namespace, name, work.signal)) as LiveTenantUser | undefined;
  const { object } = work;
  if (object === undefined || object.metadata.uid !== objectUID) return { kind: "absent" };
  const { deletionTimestamp, finalizers } = object.metadata;
  if (deletionTimestamp !== undefined) {
    return { kind: "deleting", uid: objectUID, finalizers: finalizers ?? [], deletedAt: new Date(deletionTimestamp) };
  }
  const tenant = tenantOf(work);
  // Without a Tenant the view has none either: nothing of the stand-in is ever used.
  if (tenant === undefined) return { kind: "present", object, desired: desire(object, NO_TENANT), refusal: undefined };
  const desired = desire(object, tenant.spec);
  return { kind: "present", object, desired, refusal: refusal(desired, tenant.spec) };
}

const NO_TENANT: TenantSpec = tenantSpec.parse({
  tenantID: "none",
  namespaces: [],
  keycloak: { url: "http://none.invalid", realm: "none", credentialsSecretName: "none" },
  newapi: { url: "http://none.invalid", credentialsSecretName: "none" },
});

/** Everything that deciding needs to know. */
export async function view(work: Work, sight: Sight): Promise<View> {
  const { row } = work.claim;
  const { cluster, clusterID, firstWaiter } = work.deps;
  const beginning = sight.kind === "deleting" && row.deleting === undefined;
  const undoing = row.deleting !== undefined;
  return {
    row,
    sight,
    tenant: tenantView(work),
    clusterID,
    crd: beginning ? await cluster.tenantUserCRD(work.signal) : "unknown",
    waiter: undoing && (await firstWaiter(row.tenantID, row.email)) !== undefined,
    closed: closed(work),
  };
}

export function tenantView(work: Work): TenantView | undefined {
  const tenant = tenantOf(work);
  if (tenant === undefined) return undefined;
  return {
    revision: tenant.revision,
    ready: tenant.ready,
    message: tenant.notReadyMessage,
    deletionGraceMs: parseDuration(tenant.spec.deletionGrace),
  };
}

/** Getters: asking an open circuit may take its probe, so only the step that would run is asked for. */
function closed(work: Work): View["closed"] {
  const ask = (step: StepName): Date | undefined => {
    const name = originOf(work, step);
    return name === undefined ? undefined : work.deps.breakers.ask(name);
  };
  return {
    get keycloak() {
      return ask("keycloak");
    },
    get newapi() {
      return ask("newapi");
    },
  };
}

/** Whose breaker a step stands behind: scheme, host and port of its neighbour. */
export function originOf(work: Work, step: StepName): string | undefined {
  const spec = tenantOf(work)?.spec;
  if (spec === undefined || step === "secret") return undefined;
  return new URL(step === "keycloak" ? spec.keycloak.url : spec.newapi.url).origin;
}
