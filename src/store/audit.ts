import type { Queryable } from "./sagas.ts";
import { jsonb, sparingTheRest } from "./values.ts";

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
  await db.query({ name: "append-audit", text: auditInsert("$1"), values: [auditValue(entries)] });
}

/** The same for entries that nobody else will write again: one that cannot be written at all is given up, and the others are not. */
export async function keepAudit(
  db: Queryable,
  entries: readonly AuditEntry[],
  skipped: (entry: AuditEntry, error: unknown) => void,
): Promise<void> {
  await sparingTheRest(entries, (some) => appendAudit(db, some), skipped);
}

/** The same as a part of another statement; `parameter` is that of {@link auditValue}. */
export const auditInsert = (parameter: string): string => `
  insert into audit (sme_user_uuid, sme_tenant_id, step, action, target, detail, id)
  select e.uuid, e."tenantID", e.step, e.action, e.target, e.detail, e.id
  from jsonb_to_recordset(${parameter}::jsonb)
    as e (uuid uuid, "tenantID" text, step text, action text, target text, detail jsonb, id uuid)
  on conflict (id) do nothing`;

export function auditValue(entries: readonly AuditEntry[]): string {
  return jsonb(entries);
}
