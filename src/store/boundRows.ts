/** The rows that objects are bound to. */
import type { PoolClient } from "pg";
import type { SagaRow } from "../saga/row.ts";
import type { Applicant, Binding } from "./bindings.ts";
import { type RawRow, sagaRow } from "./sagas.ts";

/**
 * What binding `object` to `chosen` (both SQL) ends, in the same statement: it waits no more, and candidates that admission
 * wrote for it under another uuid hold nothing and never will. `coalesce` keeps the planner from going through all
 * candidates, of which it believes that there are none, to find those of one object.
 */
const otherwise = (object: string, chosen: string): string => `
  waited as (delete from waiting where object_uid = ${object}),
  voided as (
    update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
    where object_uid = ${object} and sme_user_uuid <> ${chosen} and coalesce(confirmed_at, voided_at) is null)`;

/** Parameters 1 to 8 of both. */
function chosenFor(applicant: Applicant, uuid: string): unknown[] {
  const { tenantID, email, clusterID, uid, namespace, name, createdAt } = applicant;
  return [uuid, tenantID, email, clusterID, uid, namespace, name, createdAt];
}

/** Makes the row of an object. */
export async function bindNew(client: PoolClient, applicant: Applicant, uuid: string): Promise<Binding> {
  const { rows } = await client.query<RawRow>({
    name: "insert-bound",
    text: `with ${otherwise("$5", "$1")}
           insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, cluster_id, object_uid,
             object_namespace, object_name, object_created_at, confirmed_at, due_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, now(), now()) returning *`,
    values: chosenFor(applicant, uuid),
  });
  return { kind: "bound", row: sagaRow(rows[0] as RawRow), returned: false };
}

/**
 * Gives a row to the object. A row with a past begins a run that finds what is there and mends what is not; after a
 * finished deletion the accounts are new or enabled again, and the key that was let go of is never handed out again.
 */
export async function bindTo(client: PoolClient, applicant: Applicant, row: SagaRow): Promise<Binding> {
  const past = row.confirmed && !row.voided;
  const ended = row.state === "deleted";
  const purged = ended || (row.deleting?.undone.includes("keycloak") ?? false);
  const { rows } = await client.query<RawRow>({
    name: "bind-row",
    text: `with ${otherwise("$5", "$1")}
      update user_provision_state set
        email = $3, sme_tenant_id = $2, cluster_id = $4, object_uid = $5, object_namespace = $6, object_name = $7,
        object_created_at = $8, confirmed_at = now(), voided_at = null, due_at = now(), backoff_until = null,
        blocked_on = null, retry_count = 0, failed_since = null, deleting = null, touches = touches + 1,
        version = version + 1, lease_owner = null, lease_until = null, updated_at = now(),
        run = $9, handled = null, reached = case when $10 then 'pending' else reached end,
        state = case when $10 then 'pending' else reached end,
        kc_user_id = case when $10 then null else kc_user_id end,
        adopted = case when $10 then false else adopted end,
        invited_kc_user_id = case when $10 then null else invited_kc_user_id end,
        rotation = case when $11 then jsonb_build_object('toGeneration', key_generation, 'at', to_jsonb(now())) else rotation end
      where sme_user_uuid = $1 returning *`,
    values: [
      ...chosenFor(applicant, row.uuid),
      past ? JSON.stringify({ reason: "recovered", generation: -1, step: "keycloak", attempt: 0, done: false }) : null,
      purged,
      purged && row.newapiUserID !== undefined,
    ],
  });
  return { kind: "bound", row: sagaRow(rows[0] as RawRow), returned: past };
}
