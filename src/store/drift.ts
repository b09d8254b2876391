import type { Pool } from "pg";
import { type Queryable, written, sagaRows } from "./sagas.ts";
import type { SagaRow, StepName } from "../saga/row.ts";
import { rechecked } from "../saga/transitions.ts";
import { changeRows, kept } from "./changes.ts";

/**
 * True for exactly one of all replicas, once an interval: the check of this tenant is then the caller's to do. The next
 * one is due after the interval, a fifth sooner or later, so that tenants do not march in step.
 */
export async function takeDriftCheck(db: Queryable, tenantID: string, intervalMs: number): Promise<boolean> {
  return (
    (await written(db, {
      name: "take-drift-check",
      text: `insert into drift_checks (tenant_id, next_at) values ($1, now() + make_interval(secs => $2::float8 / 1000 * random()))
           on conflict (tenant_id) do update
             set next_at = now() + make_interval(secs => $2::float8 / 1000 * (0.8 + 0.4 * random()))
             where drift_checks.next_at <= now()
           returning xmax`,
      values: [tenantID, intervalMs],
    })) > 0
  );
}

/** Tenants whose next check is not due: one query for all of them, where a try of each would lock its row each time. */
export async function tenantsAtRest(db: Queryable): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ tenant_id: string }>({
    name: "drift-at-rest",
    text: "select tenant_id from drift_checks where next_at > now()",
  });
  return new Set(rows.map((row) => row.tenant_id));
}

/** The tenant's finished people that nobody works on. */
export async function settledSagas(db: Queryable, tenantID: string): Promise<SagaRow[]> {
  return sagaRows(db, {
    name: "settled-sagas",
    text: `select * from user_provision_state
           where sme_tenant_id = $1 and state = 'done' and run is null and deleting is null
             and confirmed_at is not null and voided_at is null and handled is not null`,
    values: [tenantID],
  });
}

/**
 * Those of the tenant on whose objects a status stands that nobody is about to write again: finished, or at rest until
 * somebody acts.
 */
export async function restingSagas(db: Queryable, tenantID: string): Promise<SagaRow[]> {
  return sagaRows(db, {
    name: "resting-sagas",
    text: `select * from user_provision_state
           where sme_tenant_id = $1 and deleting is null and object_uid is not null
             and confirmed_at is not null and voided_at is null and state not in ('deleted', 'retained', 'orphaned')
             and ((state = 'done' and run is null) or due_at is null)`,
    values: [tenantID],
  });
}

/** The status of these is to be written again: no upstream is asked for that. */
export async function touchForStatus(db: Queryable, uuids: readonly string[]): Promise<number> {
  return written(db, {
    name: "touch-for-status",
    text: `update user_provision_state set due_at = now(), touches = touches + 1
           where sme_user_uuid = any($1::uuid[]) and confirmed_at is not null and voided_at is null and deleting is null
             and state not in ('deleted', 'retained', 'orphaned')`,
    values: [uuids],
  });
}

/** These people are no longer as they were made: from this step on everything is ensured again. */
export async function touchDrifted(pool: Pool, uuids: readonly string[], from: StepName): Promise<number> {
  const drifted = { name: "touch-drifted", condition: "s.sme_user_uuid = any($1::uuid[])", values: [uuids] };
  const touched = await changeRows(pool, drifted, ({ row, now }) => kept(rechecked(row, from, undefined, now)));
  return touched.length;
}
