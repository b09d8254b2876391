import type { Queryable } from "./sagas.ts";

/** One write to the outside, as it was made, or an operator's order (step "operator"). Never a secret. */
export interface AuditEntry {
  /** Appended twice, because the first answer was lost, it is there once. Absent: in one transaction with its cause. */
  readonly id?: string | undefined;
  readonly uuid: string;
  readonly tenantID: string;
  readonly step: string;
  /** e.g. "created", "updated", "disabled", "deleted", "rotated". */
  readonly action: string;
  /** The upstream id or object name. */
  readonly target: string | undefined;
  readonly detail?: Readonly<Record<string, unknown>> | undefined;
}

export async function appendAudit(db: Queryable, entries: readonly AuditEntry[]): Promise<void> {
  if (entries.length === 0) return;
  await db.query({
    name: "append-audit",
    text: `insert into audit (sme_user_uuid, sme_tenant_id, step, action, target, detail, id)
           select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::uuid[])
           on conflict (id) do nothing`,
    values: [
      entries.map((entry) => entry.uuid),
      entries.map((entry) => entry.tenantID),
      entries.map((entry) => entry.step),
      entries.map((entry) => entry.action),
      entries.map((entry) => entry.target ?? null),
      entries.map((entry) => (entry.detail === undefined ? null : JSON.stringify(entry.detail))),
      entries.map((entry) => entry.id ?? null),
    ],
  });
}
