import { parseDuration } from "../api/duration.ts";
import { type TenantSpec, tenantSpec } from "../api/tenant.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { TenantNeighbour, Closed, Sight, TenantView, View } from "../saga/decide.ts";
import { desire, refusal } from "../saga/desired.ts";
import type { StepName } from "../saga/row.ts";
import type { Waiter } from "../store/waiting.ts";
import { originAt } from "./access.ts";
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
  const { cluster, clusterID } = work.deps;
  const beginning = sight.kind === "deleting" && row.deleting === undefined;
  work.heir = row.deleting === undefined ? undefined : await heir(work);
  return {
    row,
    sight,
    tenant: tenantView(work),
    clusterID,
    crd: beginning ? await cluster.tenantUserCRD(work.signal) : "unknown",
    waiter: work.heir !== undefined,
    closed: closed(work),
  };
}

/** The first of those who wait for the email, if it lives: given to one that is gone, the accounts would stay for ever. */
async function heir({ deps, signal, claim: { row } }: Work): Promise<Waiter | undefined> {
  for (;;) {
    const first = await deps.firstWaiter(row.tenantID, row.email);
    if (first === undefined) return undefined;
    const object = await deps.cluster.getTenantUser(first.namespace, first.name, signal);
    if (object?.metadata.uid === first.uid) {
      if (object.metadata.deletionTimestamp !== undefined) return undefined;
      // One with a pin of its own is another person on the same address: it comes when this one is gone.
      const pin = object.spec.userUUID;
      return pin === undefined || pin === row.uuid ? first : undefined;
    }
    await deps.forgetWaiter(first.uid);
  }
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

function closed(work: Work): View["closed"] {
  const { breakers, tenantBreakers } = work.deps;
  const tenant = tenantOf(work);
  if (tenant === undefined) return {};
  const ask = (neighbour: TenantNeighbour): Closed | undefined => {
    const silent = breakers.ask(originAt(tenant.spec, neighbour));
    if (silent !== undefined) return { why: "silent", until: silent };
    const refuses = tenantBreakers.ask(tenant.tenantID, neighbour);
    return refuses === undefined ? undefined : { why: "refuses", until: refuses };
  };
  const [keycloak, newapi] = [ask("keycloak"), ask("newapi")];
  return { ...(keycloak === undefined ? {} : { keycloak }), ...(newapi === undefined ? {} : { newapi }) };
}

/** Whose breaker and crowd a step belongs to: scheme, host and port of its neighbour. */
export function originOf(work: Work, step: StepName, direction: "up" | "down"): string | undefined {
  const spec = tenantOf(work)?.spec;
  if (spec === undefined || (step === "secret" && direction === "down")) return undefined;
  return originAt(spec, step === "keycloak" ? "keycloak" : "newapi");
}
