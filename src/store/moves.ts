import type { Pool, PoolClient } from "pg";
import { REASON } from "../api/reasons.ts";
import type { SagaRow } from "../saga/row.ts";
import { appendAudit } from "./audit.ts";
import { type Binding, holds, lockTenant, rowForUpdate } from "./bindings.ts";
import { bindTo } from "./boundRows.ts";
import { leaveRing, ringOf, ringSentence, tellRing } from "./emailRing.ts";
import { type RawRow, sagaRow } from "./sagas.ts";
import { inTransaction } from "./transaction.ts";
import type { Waiter } from "./waiting.ts";

/**
 * The row of a living object takes a new address. It waits while another living object holds that address; those who want
 * each other's, in a ring of two or more, would wait for ever, which is refused naming all. Fenced by the row's version; undefined: somebody
 * else works on the row by now.
 */
export async function moveEmail(pool: Pool, row: SagaRow, email: string): Promise<Binding | undefined> {
  return inTransaction(pool, async (client) => {
    await lockTenant(client, row.tenantID);
    const binding = await takeEmail(client, row, email);
    return binding;
  });
}

async function takeEmail(client: PoolClient, row: SagaRow, email: string): Promise<Binding | undefined> {
  const fence = await client.query({
    name: "fence-row",
    text: "select 1 from user_provision_state where sme_user_uuid = $1 and version = $2 for update",
    values: [row.uuid, row.version],
  });
  if (fence.rowCount === 0) return undefined;
  const { rows } = await client.query<RawRow>({
    name: "rows-of-email",
    text: `select * from user_provision_state where sme_tenant_id = $1 and email = $2 and confirmed_at is not null`,
    values: [row.tenantID, email],
  });
  const holder = rows.map(sagaRow).find((other) => other.uuid !== row.uuid && holds(other));
  if (holder === undefined) {
    const moved = await client.query<RawRow>({
      name: "move-email",
      text: "update user_provision_state set email = $2, updated_at = now() where sme_user_uuid = $1 returning *",
      values: [row.uuid, email],
    });
    await client.query("delete from waiting where object_uid = $1", [row.objectUID]);
    return { kind: "bound", row: sagaRow(moved.rows[0] as RawRow), returned: false };
  }
  const before = await client.query<{ email: string; why: string }>({
    name: "my-wish",
    text: "select email, why from waiting where object_uid = $1",
    values: [row.objectUID],
  });
  await client.query({
    name: "wait-for-email",
    text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
           select object_uid, object_namespace, object_name, sme_tenant_id, $2, object_created_at, $3
           from user_provision_state where sme_user_uuid = $1
           on conflict (object_uid) do update set email = excluded.email, why = excluded.why`,
    values: [row.uuid, email, REASON.EmailInUse],
  });
  const [wish] = before.rows;
  if (wish?.why === REASON.EmailCycle && wish.email !== email) await leaveRing(client, row.tenantID, row.objectUID);
  const ring = await ringOf(client, row, email);
  if (ring !== undefined) {
    await tellRing(client, row.objectUID, ring);
    return { kind: "refused", reason: REASON.EmailCycle, message: ringSentence(ring) };
  }
  return {
    kind: "waiting",
    reason: REASON.EmailInUse,
    message: `${email} belongs to TenantUser ${holder.name ?? "?"}; the change follows when that one is deleted or changes its email.`,
  };
}

/**
 * The deleted holder gives its saga to the waiter: same uuid, ids and key. Fenced like a record; false: the lease is
 * lost. What the step keycloak and secret find to differ for the new object, they correct.
 */
export async function handOver(
  pool: Pool,
  claim: { readonly row: SagaRow; readonly owner: number },
  to: Waiter,
): Promise<boolean> {
  return inTransaction(pool, async (client) => {
    await lockTenant(client, claim.row.tenantID);
    const purged = claim.row.deleting?.undone.includes("keycloak") ?? false;
    // The object that goes has no row from here on: whoever waits is looked at again, and so it is let go.
    await client.query({
      name: "wait-for-release",
      text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
             select object_uid, object_namespace, object_name, sme_tenant_id, email, coalesce(object_created_at, now()), $4
             from user_provision_state
             where sme_user_uuid = $1 and lease_owner = $2 and version = $3 and object_uid is not null
             on conflict (object_uid) do update set why = excluded.why`,
      values: [claim.row.uuid, claim.owner, claim.row.version, REASON.Deleting],
    });
    const moved = await client.query({
      name: "hand-over",
      text: `update user_provision_state set object_uid = $4, object_namespace = $5, object_name = $6, object_created_at = $7,
               deleting = null, run = $8, handled = null, state = case when $9 then 'pending' else reached end,
               reached = case when $9 then 'pending' else reached end,
               adopted = adopted and not $9,
               kc_user_id = case when $9 then null else kc_user_id end,
               retry_count = 0, backoff_until = null, blocked_on = null, lease_owner = null, lease_until = null,
               due_at = now(), version = version + 1, updated_at = now()
             where sme_user_uuid = $1 and lease_owner = $2 and version = $3`,
      values: [
        claim.row.uuid,
        claim.owner,
        claim.row.version,
        to.uid,
        to.namespace,
        to.name,
        to.createdAt,
        JSON.stringify({ reason: "handover", generation: -1, step: "keycloak", attempt: 0, done: false }),
        purged,
      ],
    });
    const given = (moved.rowCount ?? 0) > 0;
    // Without the saga it waits on.
    if (given) await client.query("delete from waiting where object_uid = $1", [to.uid]);
    return given;
  });
}

/**
 * The database was lost, and the person's account carries another uuid of this tenant than the one chosen anew: the
 * object goes on under that one, while its row knows no upstream id. A row of that uuid keeps all it knows (what was
 * given, what was adopted, where the Secret is), and the object's own becomes void; without one the row takes the uuid.
 * Fenced like a record. False: a living object holds that uuid, or the lease is lost.
 */
export async function takeOver(
  pool: Pool,
  claim: { readonly row: SagaRow; readonly owner: number },
  uuid: string,
): Promise<boolean> {
  return inTransaction(pool, async (client) => {
    const { row, owner } = claim;
    await lockTenant(client, row.tenantID);
    const other = await rowForUpdate(client, uuid);
    if (other?.confirmed === true && (other.tenantID !== row.tenantID || holds(other))) return false;
    const fence = [row.uuid, owner, row.version];
    if (other === undefined) {
      const moved = await client.query({
        name: "take-over",
        text: `update user_provision_state set sme_user_uuid = $4, run = $5, backoff_until = null, blocked_on = null,
                 lease_owner = null, lease_until = null, due_at = now(), version = version + 1, updated_at = now()
               where sme_user_uuid = $1 and lease_owner = $2 and version = $3 and kc_user_id is null`,
        // Somebody who was here before, and of whom only this database knows nothing.
        values: [
          ...fence,
          uuid,
          JSON.stringify({ reason: "create", generation: -1, step: "keycloak", attempt: 0, done: false }),
        ],
      });
      if (moved.rowCount === 0) return false;
    } else {
      const left = await client.query<Left>({
        name: "take-over-leave",
        text: `update user_provision_state set object_uid = null, confirmed_at = null, voided_at = now(), run = null,
                 lease_owner = null, lease_until = null, due_at = null, version = version + 1, updated_at = now()
               where sme_user_uuid = $1 and lease_owner = $2 and version = $3 and kc_user_id is null
               returning cluster_id, object_namespace, object_name, object_created_at`,
        values: fence,
      });
      const [object] = left.rows;
      if (object === undefined || row.objectUID === undefined) return false;
      await bindTo(
        client,
        {
          uid: row.objectUID,
          namespace: object.object_namespace,
          name: object.object_name,
          createdAt: object.object_created_at,
          tenantID: row.tenantID,
          email: row.email,
          pin: undefined,
          maxUsers: undefined,
          clusterID: object.cluster_id,
        },
        other,
      );
    }
    const entry = { uuid, tenantID: row.tenantID, step: "keycloak", action: "taken-over", target: undefined };
    await appendAudit(client, [{ ...entry, detail: { from: row.uuid } }]);
    return true;
  });
}

interface Left {
  readonly cluster_id: string;
  readonly object_namespace: string;
  readonly object_name: string;
  readonly object_created_at: Date;
}
