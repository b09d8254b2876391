/** What the one on call looks up in the state store, and ends there. */
import type { Pool } from "pg";
import type { UserEvent } from "../api/userEvent.ts";
import type { RowPatch, SagaRow } from "../saga/row.ts";
import { appendAudit, type AuditEntry } from "./audit.ts";
import { lockRow, writeRow } from "./changes.ts";
import { enqueueEvents } from "./outbox.ts";
import { type Queryable, sagaRows } from "./sagas.ts";
import { inTransaction } from "./transaction.ts";

/** Whose rows: one uuid, all that an object's name ever had, or all of an address. */
export type SagaSelector =
  | { readonly uuid: string }
  | { readonly namespace: string; readonly name: string }
  /** Canonical. */
  | { readonly email: string };

/** Confirmed rows, the one that changed last first. */
export async function sagasOf(db: Queryable, who: SagaSelector, limit: number): Promise<SagaRow[]> {
  const [condition, values] =
    "uuid" in who
      ? ["sme_user_uuid = $2", [who.uuid]]
      : "email" in who
        ? ["email = $2", [who.email]]
        : ["object_namespace = $2 and object_name = $3", [who.namespace, who.name]];
  return sagaRows(db, {
    text: `select * from user_provision_state where ${condition} and confirmed_at is not null and voided_at is null
           order by updated_at desc, sme_user_uuid limit $1`,
    values: [limit, ...values],
  });
}

const GRACE = "(deleting->>'purgeAt')::timestamptz > now()";
const RELEASED = "state = 'deleting' and (deleting->>'released')::boolean";

/** Pending cleanups: the finalizer was released, and no grace holds them back. */
export function cleanups(db: Queryable, tenantID: string | undefined, limit: number): Promise<SagaRow[]> {
  return listed(db, "operator-cleanups", `${RELEASED} and (${GRACE}) is not true`, tenantID, limit);
}

/** Accounts without an object: orphaned, retained, or in their grace. */
export function ownerlessSagas(db: Queryable, tenantID: string | undefined, limit: number): Promise<SagaRow[]> {
  const condition = `(state in ('orphaned', 'retained') or (${RELEASED} and ${GRACE}))`;
  return listed(db, "operator-ownerless", condition, tenantID, limit);
}

async function listed(
  db: Queryable,
  name: string,
  condition: string,
  tenantID: string | undefined,
  limit: number,
): Promise<SagaRow[]> {
  return sagaRows(db, {
    name,
    text: `select * from user_provision_state
           where ${condition} and confirmed_at is not null and voided_at is null and ($1::text is null or sme_tenant_id = $1)
           order by sme_tenant_id, email, sme_user_uuid limit $2`,
    values: [tenantID ?? null, limit],
  });
}

export interface AuditRow {
  readonly at: Date;
  readonly uuid: string;
  readonly step: string;
  readonly action: string;
  readonly target: string | undefined;
  readonly detail: Readonly<Record<string, unknown>> | undefined;
}

/** The newest `limit` entries about these uuids, oldest first. */
export async function auditOf(db: Queryable, uuids: readonly string[], limit: number): Promise<AuditRow[]> {
  const { rows } = await db.query<AuditRow>({
    name: "operator-audit",
    text: `select at, sme_user_uuid as uuid, step, action, target, detail from audit
           where sme_user_uuid = any($1::uuid[]) order by seq desc limit $2`,
    values: [uuids, limit],
  });
  return rows.toReversed().map((row) => ({ ...row, target: row.target ?? undefined, detail: row.detail ?? undefined }));
}

export interface AuditPage {
  /** Undefined: from the first entry on. */
  readonly since: Date | undefined;
  /** After this entry; "0": the first page. */
  readonly after: string;
  readonly tenantID: string | undefined;
  readonly limit: number;
}

export interface NumberedAuditRow extends AuditRow {
  readonly seq: string;
  readonly tenantID: string;
}

/**
 * Entries in their order. Where they begin is found from the newest on, for they have no index by time: an entry has the
 * time at which its transaction began, so that a minute before may hold some of later numbers.
 */
export async function auditPage(db: Queryable, page: AuditPage): Promise<NumberedAuditRow[]> {
  const { since, after, tenantID, limit } = page;
  const { rows } = await db.query<NumberedAuditRow>({
    name: "operator-audit-page",
    text: `select seq::text, at, sme_user_uuid as uuid, sme_tenant_id as "tenantID", step, action, target, detail from audit
           where seq > greatest($1::bigint, (select seq from audit where at < $2::timestamptz - interval '1 minute'
             order by seq desc limit 1))
             and ($2::timestamptz is null or at >= $2) and ($3::text is null or sme_tenant_id = $3)
           order by audit.seq limit $4`,
    values: [after, since ?? null, tenantID ?? null, limit],
  });
  return rows.map((row) => ({ ...row, target: row.target ?? undefined, detail: row.detail ?? undefined }));
}

export interface RowEnd {
  readonly patch: RowPatch;
  readonly audit: readonly AuditEntry[];
  readonly events: readonly UserEvent[];
}

/**
 * Ends a row as `judge` says, in one transaction and under a lock: whoever works on the row has lost its lease.
 * `judge` gives undefined where nothing is to be done. Undefined: there is no such row, or nothing was done.
 */
export async function endSaga(
  pool: Pool,
  uuid: string,
  judge: (row: SagaRow) => RowEnd | undefined,
): Promise<SagaRow | undefined> {
  return inTransaction(pool, async (client) => {
    const row = (await lockRow(client, uuid))?.row;
    const end = row === undefined ? undefined : judge(row);
    if (end === undefined) return undefined;
    const ended = await writeRow(client, "end-saga", uuid, { patch: end.patch, lease: "end" });
    await appendAudit(client, end.audit);
    await enqueueEvents(client, end.events);
    return ended;
  });
}
