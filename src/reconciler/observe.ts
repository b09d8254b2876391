import { parseDuration } from "../api/duration.ts";
import { type TenantSpec, tenantSpec } from "../api/tenant.ts";
import type { LiveTenantUser } from "../api/tenantUser.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { FailureCounts } from "../lib/backoff.ts";
import type { SagaError } from "../lib/errors.ts";
import type { DecisionInput, Observation, TenantView } from "../saga/decide.ts";
import { desire, refusal } from "../saga/desired.ts";
import type { SagaRow } from "../saga/row.ts";
import type { PendingUser } from "../store/waiting.ts";
import type { TenantAccess, TenantRegistry } from "./access.ts";
import { asSagaError, type Barriers, closedTo } from "./judge.ts";

export interface ObserveDeps extends Barriers {
  readonly cluster: Pick<Cluster, "getTenantUser" | "tenantUserCRD">;
  readonly clusterID: string;
  readonly tenants: Pick<TenantRegistry, "get">;
  readonly firstPendingUser: (tenantID: string, email: string) => Promise<PendingUser | undefined>;
  /** One who waits no more: its object is gone. */
  readonly forgetPendingUser: (uid: string) => Promise<void>;
  /** After failures that stand in no row: an object that cannot be read, a status that cannot be written. */
  readonly pauses: FailureCounts;
}

/** What was observed of a claim, and all that is decided on. */
export interface Observed {
  /** The object under the row's name, as the API server has it. */
  readonly object: LiveTenantUser | undefined;
  readonly input: DecisionInput;
}

/** Reads what the claim stands on. `known`: the object, where this claim has read it before. Throws nothing. */
export async function observe(
  deps: ObserveDeps,
  row: SagaRow,
  known: LiveTenantUser | undefined,
  signal: AbortSignal,
): Promise<Observed | { readonly failure: SagaError }> {
  try {
    const object = known ?? (await readObject(deps, row, signal));
    deps.pauses.succeeded(`read/${row.uuid}`);
    return { object, input: await buildInput(deps, row, object, signal) };
  } catch (error) {
    return { failure: asSagaError(error, "kubernetes") };
  }
}

async function readObject(
  { cluster }: ObserveDeps,
  { namespace, name, objectUID }: SagaRow,
  signal: AbortSignal,
): Promise<LiveTenantUser | undefined> {
  if (namespace === undefined || name === undefined || objectUID === undefined) return undefined;
  return cluster.getTenantUser(namespace, name, signal);
}

/** Everything that deciding needs to know. */
async function buildInput(
  deps: ObserveDeps,
  row: SagaRow,
  object: LiveTenantUser | undefined,
  signal: AbortSignal,
): Promise<DecisionInput> {
  const tenant = deps.tenants.get(row.tenantID);
  const observation = observationOf(row, object, tenant);
  const isBeginning = observation.kind === "deleting" && row.deleting === undefined;
  return {
    row,
    observation,
    tenant: tenant && tenantView(tenant),
    clusterID: deps.clusterID,
    crd: isBeginning ? await deps.cluster.tenantUserCRD(signal) : "unknown",
    successor: row.deleting === undefined ? undefined : await findSuccessor(deps, row, signal),
    closed:
      tenant === undefined
        ? {}
        : { keycloak: closedTo(deps, tenant, "keycloak"), newapi: closedTo(deps, tenant, "newapi") },
  };
}

/** The object that holds the row; another one under its name is none of it. */
function observationOf(
  { objectUID }: SagaRow,
  object: LiveTenantUser | undefined,
  tenant: TenantAccess | undefined,
): Observation {
  if (object === undefined || object.metadata.uid !== objectUID) return { kind: "absent" };
  const { uid, deletionTimestamp, finalizers = [] } = object.metadata;
  if (deletionTimestamp !== undefined) {
    const [deletedAt, deletionPolicy] = [new Date(deletionTimestamp), lastPolicy(object)];
    return { kind: "deleting", uid, finalizers, deletedAt, deletionPolicy };
  }
  // Without a Tenant nothing of the stand-in is ever used: then deciding has no Tenant either.
  const desired = desire(object, tenant?.spec ?? NO_TENANT);
  return { kind: "present", object, desired, refusal: tenant && refusal(desired, tenant.spec) };
}

function lastPolicy({ spec }: LiveTenantUser): SagaRow["deletionPolicy"] | undefined {
  // An object on its way out may have a spec of any shape.
  const policy: unknown = (spec as Partial<LiveTenantUser["spec"]> | undefined)?.deletionPolicy;
  return policy === "Delete" || policy === "Retain" ? policy : undefined;
}

const NO_TENANT: TenantSpec = tenantSpec.parse({
  tenantID: "none",
  namespaces: [],
  keycloak: { url: "http://none.invalid", realm: "none", credentialsSecretName: "none" },
  newapi: { url: "http://none.invalid", credentialsSecretName: "none" },
});

/** The first of those who wait for the email, if it lives: given to one that is gone, the accounts would stay for ever. */
async function findSuccessor(
  { cluster, firstPendingUser, forgetPendingUser }: ObserveDeps,
  row: SagaRow,
  signal: AbortSignal,
): Promise<PendingUser | undefined> {
  for (;;) {
    const first = await firstPendingUser(row.tenantID, row.email);
    if (first === undefined) return undefined;
    const object = await cluster.getTenantUser(first.namespace, first.name, signal);
    if (object?.metadata.uid === first.uid) {
      if (object.metadata.deletionTimestamp !== undefined) return undefined;
      // One with a pin of its own is another person on the same address: it comes when this one is gone.
      const pin = object.spec.userUUID;
      return pin === undefined || pin === row.uuid ? first : undefined;
    }
    await forgetPendingUser(first.uid);
  }
}

function tenantView({ revision, ready, notReadyMessage, spec }: TenantAccess): TenantView {
  return {
    revision,
    ready,
    message: notReadyMessage,
    deletionGraceMs: parseDuration(spec.deletionGrace),
    allowsRetain: spec.allow.retain,
  };
}
