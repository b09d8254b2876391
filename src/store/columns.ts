/** The one table of a row's columns: which field of the saga stands in which of them, and how. */
import type { RowPatch, SagaRow } from "../saga/row.ts";
import { jsonb } from "./values.ts";

interface Column {
  readonly column: string;
  /** Absent: as it is. `json`: jsonb. `count`: a bigint. `flag`: a moment, of which the saga knows only whether it is set. */
  readonly kept?: "json" | "count" | "flag";
}

/** A new column is an entry here, a field of SagaRow (each asks for the other), and a migration. */
const COLUMNS: { readonly [Field in keyof SagaRow]-?: Column } = {
  uuid: { column: "sme_user_uuid" },
  tenantID: { column: "sme_tenant_id" },
  email: { column: "email" },
  state: { column: "state" },
  reached: { column: "reached" },
  keycloakUserID: { column: "kc_user_id" },
  newapiUserID: { column: "newapi_user_id" },
  newapiUsername: { column: "newapi_username" },
  retryCount: { column: "retry_count" },
  lastError: { column: "last_error", kept: "json" },
  createdAt: { column: "created_at" },
  clusterID: { column: "cluster_id" },
  objectUID: { column: "object_uid" },
  namespace: { column: "object_namespace" },
  name: { column: "object_name" },
  objectCreatedAt: { column: "object_created_at" },
  confirmed: { column: "confirmed_at", kept: "flag" },
  voided: { column: "voided_at", kept: "flag" },
  run: { column: "run", kept: "json" },
  handled: { column: "handled", kept: "json" },
  blockedOn: { column: "blocked_on" },
  dueAt: { column: "due_at" },
  backoffUntil: { column: "backoff_until" },
  failedSince: { column: "failed_since" },
  missingSince: { column: "missing_since" },
  recheck: { column: "recheck", kept: "json" },
  touches: { column: "touches", kept: "count" },
  version: { column: "version", kept: "count" },
  deletionPolicy: { column: "deletion_policy" },
  adopted: { column: "adopted" },
  secretNamespace: { column: "secret_namespace" },
  secretName: { column: "secret_name" },
  secretUID: { column: "secret_uid" },
  secretVersion: { column: "secret_version" },
  secretPlaces: { column: "secret_places", kept: "json" },
  managed: { column: "managed", kept: "json" },
  enabled: { column: "enabled" },
  keyGeneration: { column: "key_generation", kept: "count" },
  keyRotatedAt: { column: "key_rotated_at" },
  rotation: { column: "rotation", kept: "json" },
  previousKeyUntil: { column: "previous_key_until" },
  masterKey: { column: "newapi_master_key" },
  invitedKeycloakUserID: { column: "invited_kc_user_id" },
  refusedInvitation: { column: "refused_invitation", kept: "json" },
  toReset: { column: "to_reset", kept: "json" },
  deleting: { column: "deleting", kept: "json" },
  history: { column: "history", kept: "json" },
  cause: { column: "cause", kept: "json" },
};

const FIELDS = Object.entries(COLUMNS) as readonly (readonly [keyof SagaRow, Column])[];

/** A row as Postgres gives it: values by column. */
export type RawRow = Readonly<Record<string, unknown>>;

export function sagaRow(raw: RawRow): SagaRow {
  const row = Object.fromEntries(FIELDS.map(([field, column]) => [field, read(column, raw[column.column])]));
  return row as unknown as SagaRow;
}

function read({ kept }: Column, value: unknown): unknown {
  if (kept === "flag") return value !== null;
  if (value === null) return undefined;
  return kept === "count" ? Number(value) : value;
}

/** `set` clauses for a patch, with parameters from number `from` on. */
export function assignments(patch: RowPatch, from: number): { clauses: string[]; values: unknown[] } {
  const written = Object.entries(columnsOf(patch));
  return {
    clauses: written.map(([column], index) => `${column} = $${from + index}`),
    values: written.map(([column, value]) => (JSON_COLUMNS.has(column) && value !== null ? jsonb(value) : value)),
  };
}

const JSON_COLUMNS: ReadonlySet<string> = new Set(
  FIELDS.flatMap(([, { column, kept }]) => (kept === "json" ? column : [])),
);

/** The patch by columns, as one record. */
export function columnsOf(patch: RowPatch): Readonly<Record<string, unknown>> {
  const fields = Object.entries(patch) as readonly (readonly [keyof RowPatch, unknown])[];
  return Object.fromEntries(fields.map(([field, value]) => [COLUMNS[field].column, written(COLUMNS[field], value)]));
}

function written({ kept }: Column, value: unknown): unknown {
  if (kept === "flag") return value === true ? NOW : null;
  return value ?? null;
}

/** As Postgres reads it: when the transaction began. */
const NOW = "now";
