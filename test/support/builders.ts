/** Rows, objects and views as tests need them: everything has a likely value, and a test names what it is about. */
import { randomUUID } from "node:crypto";
import {
  ANNOTATION_REQUESTED_AT,
  ANNOTATION_ROTATE_REQUESTED_AT,
  API_VERSION,
  type Condition,
  FINALIZER,
} from "../../src/api/meta.ts";
import { candidateUUID } from "../../src/api/names.ts";
import { type TenantSpec, type TenantSpecInput, tenantSpec } from "../../src/api/tenant.ts";
import {
  type LiveTenantUser,
  liveTenantUser,
  type TenantUserSpecInput,
  type TenantUserStatus,
} from "../../src/api/tenantUser.ts";
import type { Observation, TenantView, DecisionInput } from "../../src/saga/decide.ts";
import { desire, refusal } from "../../src/saga/desired.ts";
import type { Handled, SagaRow } from "../../src/saga/row.ts";
import { unseen } from "../../src/saga/transitions.ts";
import type { BindRequest } from "../../src/store/bindings.ts";

export const NOW = new Date("2026-05-01T12:00:00.000Z");
export const CLUSTER = "0c000000-0000-4000-8000-000000000001";
export const OBJECT_UID = "0b000000-0000-4000-8000-000000000001";
export const ADA = candidateUUID("acme", "ada@example.com");

export function seconds(n: number, from: Date = NOW): Date {
  return new Date(from.getTime() + n * 1000);
}

/** A confirmed row that nothing was done for yet. */
export function sagaRow(given: Partial<SagaRow> = {}): SagaRow {
  return {
    ...unseen({ uuid: ADA, tenantID: "acme", email: "ada@example.com" }, NOW),
    clusterID: CLUSTER,
    objectUID: OBJECT_UID,
    namespace: "tenant-a",
    name: "ada",
    objectCreatedAt: NOW,
    confirmed: true,
    dueAt: NOW,
    version: 1,
    ...given,
  };
}

export function handled(given: Partial<Handled> = {}): Handled {
  return {
    generation: 1,
    tenantRevision: "r1",
    key: "works",
    tier: "default",
    email: "ada@example.com",
    notes: [],
    ...given,
  };
}

/** A row whose person has everything, as of generation 1 under revision r1. */
export function doneRow(given: Partial<SagaRow> = {}): SagaRow {
  return sagaRow({
    state: "done",
    reached: "done",
    keycloakUserID: "kc-1",
    newapiUserID: "na-1",
    newapiUsername: ADA,
    secretNamespace: "tenant-a",
    secretName: `newapi-key-${ADA}`,
    secretUID: "5e000000-0000-4000-8000-000000000001",
    handled: handled(),
    ...given,
  });
}

/** The same, on its way out since `since`. */
export function deletingRow(given: Partial<SagaRow> = {}, deleting: Partial<SagaRow["deleting"]> = {}): SagaRow {
  return doneRow({
    state: "deleting",
    deleting: {
      since: NOW.toISOString(),
      objectUID: OBJECT_UID,
      undone: [],
      locked: [],
      released: false,
      ...deleting,
    },
    ...given,
  });
}

export interface UserBuilder {
  named(name: string, namespace?: string): UserBuilder;
  withUID(uid: string): UserBuilder;
  withSpec(spec: Partial<TenantUserSpecInput>): UserBuilder;
  withGeneration(generation: number): UserBuilder;
  requestedAt(value: string): UserBuilder;
  rotateRequestedAt(value: string): UserBuilder;
  withoutFinalizer(): UserBuilder;
  deleting(at?: Date): UserBuilder;
  withStatus(status?: TenantUserStatus): UserBuilder;
  build(): LiveTenantUser;
}

/** A living object, held by our finalizer: `tenantUser().deleting().withStatus().build()`. */
export function tenantUser(): UserBuilder {
  return userBuilder({
    apiVersion: API_VERSION,
    kind: "TenantUser",
    metadata: {
      name: "ada",
      namespace: "tenant-a",
      uid: OBJECT_UID,
      resourceVersion: "100",
      generation: 1,
      creationTimestamp: "2026-05-01T11:00:00Z",
      finalizers: [FINALIZER],
    },
    spec: { email: "ada@example.com" },
  });
}

interface Raw {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly spec: Partial<TenantUserSpecInput>;
  readonly [field: string]: unknown;
}

function userBuilder(raw: Raw): UserBuilder {
  const meta = (more: Record<string, unknown>) => userBuilder({ ...raw, metadata: { ...raw.metadata, ...more } });
  const annotate = (name: string, value: string) =>
    meta({ annotations: { ...(raw.metadata["annotations"] as object | undefined), [name]: value } });
  return {
    named: (name, namespace = "tenant-a") => meta({ name, namespace }),
    withUID: (uid) => meta({ uid }),
    withSpec: (spec) => userBuilder({ ...raw, spec: { ...raw.spec, ...spec } }),
    withGeneration: (generation) => meta({ generation }),
    requestedAt: (value) => annotate(ANNOTATION_REQUESTED_AT, value),
    rotateRequestedAt: (value) => annotate(ANNOTATION_ROTATE_REQUESTED_AT, value),
    withoutFinalizer: () => meta({ finalizers: [] }),
    deleting: (at = NOW) => meta({ deletionTimestamp: at.toISOString() }),
    withStatus: (status = { observedGeneration: 1, conditions: [readyCondition()] }) => userBuilder({ ...raw, status }),
    build: () => liveTenantUser.parse(raw),
  };
}

export function readyCondition(given: Partial<Condition> = {}): Condition {
  return {
    type: "Ready",
    status: "True",
    reason: "Ready",
    message: "The key opens the gateway.",
    observedGeneration: 1,
    lastTransitionTime: "2026-05-01T11:30:00Z",
    ...given,
  };
}

/** An accepted Tenant that allows nothing beyond its defaults. */
export function tenant(given: Partial<TenantSpecInput> = {}): TenantSpec {
  return tenantSpec.parse({
    tenantID: "acme",
    namespaces: ["tenant-a"],
    keycloak: { url: "https://keycloak.example.com", realm: "acme", credentialsSecretName: "keycloak" },
    newapi: { url: "https://newapi.example.com", credentialsSecretName: "newapi" },
    ...given,
  });
}

export function tenantView(given: Partial<TenantView> = {}): TenantView {
  return { revision: "r1", ready: true, message: "", deletionGraceMs: 0, ...given };
}

/** As the reconciler sees this object under this Tenant. */
export function observationOf(user: LiveTenantUser, spec: TenantSpec = tenant()): Observation {
  const { deletionTimestamp, finalizers = [], uid } = user.metadata;
  if (deletionTimestamp !== undefined) {
    return { kind: "deleting", uid, finalizers, deletedAt: new Date(deletionTimestamp) };
  }
  const desired = desire(user, spec);
  return { kind: "present", object: user, desired, refusal: refusal(desired, spec) };
}

export const ABSENT: Observation = { kind: "absent" };

/** A new person's row, its living object, a ready Tenant, every upstream up. */
export function decisionInput(given: Partial<DecisionInput> = {}): DecisionInput {
  return {
    row: sagaRow(),
    observation: observationOf(tenantUser().build()),
    tenant: tenantView(),
    crd: "unknown",
    clusterID: CLUSTER,
    successor: undefined,
    closed: {},
    ...given,
  };
}

/** An object that asks for a row: Ada's, or whoever is named. */
export function bindRequest(given: Partial<BindRequest> = {}): BindRequest {
  const name = given.name ?? "ada";
  return {
    uid: randomUUID(),
    namespace: "tenant-a",
    name,
    createdAt: new Date("2026-05-01T10:00:00Z"),
    tenantID: "acme",
    email: `${name}@example.com`,
    pin: undefined,
    maxUsers: undefined,
    clusterID: CLUSTER,
    ...given,
  };
}
