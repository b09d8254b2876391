import type { Pool, PoolClient } from "pg";
import {
  type Deleting,
  type Handled,
  type LastError,
  type Managed,
  type Outcome,
  type Reached,
  type Rotation,
  type RowPatch,
  type Run,
  type SagaRow,
  type SagaState,
  type SecretPlace,
} from "../saga/row.ts";

/** Anything that runs a statement: the pool, or the client of an open transaction. */
export type Queryable = Pick<Pool | PoolClient, "query">;

export interface RawRow {
  sme_user_uuid: string;
  sme_tenant_id: string;
  email: string;
  state: SagaState;
  kc_user_id: string | null;
  newapi_user_id: string | null;
  retry_count: number;
  last_error: LastError | null;
  created_at: Date;
  cluster_id: string | null;
  object_uid: string | null;
  object_namespace: string | null;
  object_name: string | null;
  confirmed_at: Date | null;
  voided_at: Date | null;
  reached: Reached;
  run: Run | null;
  handled: Handled | null;
  blocked_on: string | null;
  due_at: Date | null;
  backoff_until: Date | null;
  failed_since: Date | null;
  missing_since: Date | null;
  touches: number | string;
  version: number | string;
  deletion_policy: "Delete" | "Retain";
  adopted: boolean;
  secret_namespace: string | null;
  secret_name: string | null;
  secret_uid: string | null;
  secret_version: string | null;
  secret_places: SecretPlace[];
  managed: Managed;
  newapi_username: string | null;
  enabled: boolean;
  key_generation: number | string;
  key_rotated_at: Date | null;
  rotation: Rotation | null;
  previous_key_until: Date | null;
  newapi_master_key: number | null;
  invited_kc_user_id: string | null;
  deleting: Deleting | null;
  history: Outcome[];
}

export function sagaRow(raw: RawRow): SagaRow {
  return {
    uuid: raw.sme_user_uuid,
    tenantID: raw.sme_tenant_id,
    email: raw.email,
    state: raw.state,
    reached: raw.reached,
    keycloakUserID: raw.kc_user_id ?? undefined,
    newapiUserID: raw.newapi_user_id ?? undefined,
    newapiUsername: raw.newapi_username ?? undefined,
    retryCount: raw.retry_count,
    lastError: raw.last_error ?? undefined,
    createdAt: raw.created_at,
    clusterID: raw.cluster_id ?? undefined,
    objectUID: raw.object_uid ?? undefined,
    namespace: raw.object_namespace ?? undefined,
    name: raw.object_name ?? undefined,
    confirmed: raw.confirmed_at !== null,
    voided: raw.voided_at !== null,
    run: raw.run ?? undefined,
    handled: raw.handled ?? undefined,
    blockedOn: raw.blocked_on ?? undefined,
    dueAt: raw.due_at ?? undefined,
    backoffUntil: raw.backoff_until ?? undefined,
    failedSince: raw.failed_since ?? undefined,
    missingSince: raw.missing_since ?? undefined,
    touches: Number(raw.touches),
    version: Number(raw.version),
    deletionPolicy: raw.deletion_policy,
    adopted: raw.adopted,
    secretNamespace: raw.secret_namespace ?? undefined,
    secretName: raw.secret_name ?? undefined,
    secretUID: raw.secret_uid ?? undefined,
    secretVersion: raw.secret_version ?? undefined,
    secretPlaces: raw.secret_places,
    managed: raw.managed,
    enabled: raw.enabled,
    keyGeneration: Number(raw.key_generation),
    keyRotatedAt: raw.key_rotated_at ?? undefined,
    rotation: raw.rotation ?? undefined,
    previousKeyUntil: raw.previous_key_until ?? undefined,
    masterKey: raw.newapi_master_key ?? undefined,
    invitedKeycloakUserID: raw.invited_kc_user_id ?? undefined,
    deleting: raw.deleting ?? undefined,
    history: raw.history,
  };
}

/** One row, or undefined. */
export async function loadSaga(db: Queryable, uuid: string): Promise<SagaRow | undefined> {
  const { rows } = await db.query<RawRow>({
    name: "load-saga",
    text: "select * from user_provision_state where sme_user_uuid = $1",
    values: [uuid],
  });
  return rows[0] === undefined ? undefined : sagaRow(rows[0]);
}

const COLUMN: Readonly<Record<keyof RowPatch, string>> = {
  email: "email",
  state: "state",
  reached: "reached",
  retryCount: "retry_count",
  clusterID: "cluster_id",
  deletionPolicy: "deletion_policy",
  adopted: "adopted",
  managed: "managed",
  enabled: "enabled",
  keyGeneration: "key_generation",
  history: "history",
  keycloakUserID: "kc_user_id",
  newapiUserID: "newapi_user_id",
  newapiUsername: "newapi_username",
  lastError: "last_error",
  run: "run",
  handled: "handled",
  blockedOn: "blocked_on",
  dueAt: "due_at",
  backoffUntil: "backoff_until",
  failedSince: "failed_since",
  missingSince: "missing_since",
  secretNamespace: "secret_namespace",
  secretName: "secret_name",
  secretUID: "secret_uid",
  secretVersion: "secret_version",
  secretPlaces: "secret_places",
  keyRotatedAt: "key_rotated_at",
  rotation: "rotation",
  previousKeyUntil: "previous_key_until",
  masterKey: "newapi_master_key",
  invitedKeycloakUserID: "invited_kc_user_id",
  deleting: "deleting",
  objectUID: "object_uid",
  namespace: "object_namespace",
  name: "object_name",
};

const JSON_FIELDS: ReadonlySet<string> = new Set([
  "managed",
  "secretPlaces",
  "history",
  "lastError",
  "run",
  "handled",
  "rotation",
  "deleting",
]);

/** `set` clauses for a patch, with parameters from number `from` on. */
export function assignments(patch: RowPatch, from: number): { clauses: string[]; values: unknown[] } {
  const fields = Object.keys(patch) as (keyof RowPatch)[];
  return {
    clauses: fields.map((field, index) => `${COLUMN[field]} = $${from + index}`),
    values: fields.map((field) => {
      const value = patch[field];
      return JSON_FIELDS.has(field) && value !== null && value !== undefined ? JSON.stringify(value) : (value ?? null);
    }),
  };
}
