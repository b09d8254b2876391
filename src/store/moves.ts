import type { Pool, PoolClient } from "pg";
import { REASON } from "../api/reasons.ts";
import { otherUser } from "../saga/otherUser.ts";
import type { SagaRow } from "../saga/row.ts";
import { boundObject, handedOver, holds, leftBehind, renamed } from "../saga/transitions.ts";
import { appendAudit } from "./audit.ts";
import { type Binding, HOLDERS_FIRST, lockTenant } from "./bindings.ts";
import { bindTo, evict } from "./boundRows.ts";
import { lockRow, lockRows, writeRow } from "./changes.ts";
import { leaveRing, ringOf, ringSentence, tellRing } from "./emailRing.ts";
import { type RawRow, sagaRow } from "./columns.ts";
import { inTransaction } from "./transaction.ts";
import type { PendingUser } from "./waiting.ts";

/**
 * The row of a living object takes a new address. It waits while another living object holds that address; those who want
 * each other's, in a ring of two or more, would wait for ever, which is refused naming all. Fenced by the row's version; undefined: somebody
 * else works on the row by now.
 */
export async function moveEmail(pool: Pool, row: SagaRow, email: string): Promise<Binding | undefined> {
  return inTransaction(pool, async (client) => {
    await lockTenant(client, row.tenantID);
    return takeEmail(client, row, email);
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
    text: `select * from user_provision_state where sme_tenant_id = $1 and email = $2 and confirmed_at is not null
           ${HOLDERS_FIRST}`,
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
    return { kind: "refused", reason: REASON.EmailCycle, message: ringSentence(ring, row.namespace) };
  }
  return {
    kind: "waiting",
    reason: REASON.EmailInUse,
    message: `${email} belongs to ${otherUser(row.namespace, holder)}; the change follows when that one is deleted or changes its email.`,
  };
}

/**
 * The deleted holder gives its saga to the pending user. Fenced like a record; false: the lease is lost. What the step keycloak
 * and secret find to differ for the new object, they correct.
 */
export async function handOver(pool: Pool, claim: ClaimedRow, to: PendingUser): Promise<boolean> {
  return inTransaction(pool, async (client) => {
    const now = await lockTenant(client, claim.row.tenantID);
    const row = await lockClaimed(client, claim);
    if (row === undefined) return false;
    // The object that goes has no row from here on: whoever waits is polled again, and so it is released.
    await client.query({
      name: "wait-for-release",
      text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
             select $1::uuid, $2, $3, $4, $5, $6::timestamptz, $7 where $1::uuid is not null
             on conflict (object_uid) do update set why = excluded.why`,
      values: [
        row.objectUID ?? null,
        row.namespace,
        row.name,
        row.tenantID,
        row.email,
        row.objectCreatedAt ?? now,
        REASON.Deleting,
      ],
    });
    await writeRow(client, "hand-over", row.uuid, { patch: handedOver(row, to, now), lease: "end" });
    // Without the saga it waits on.
    await client.query("delete from waiting where object_uid = $1", [to.uid]);
    return true;
  });
}

/**
 * The database was lost, and the person's account carries another uuid of this tenant than the one that was chosen again: the
 * object resumes under that one, while its row knows no upstream id. A row of that uuid keeps all it knows (what was
 * given, what was adopted, where the Secret is), and the object's own becomes void; without one the row takes the uuid.
 * Fenced like a record. False: a living object holds that uuid, it is known here as another person's (by its email, whatever
 * became of them), or the lease is lost.
 */
export async function takeOver(pool: Pool, claim: ClaimedRow, uuid: string): Promise<boolean> {
  return inTransaction(pool, async (client) => {
    const { tenantID, email } = claim.row;
    const now = await lockTenant(client, tenantID);
    const there = (await lockRow(client, uuid))?.row;
    const isOurs = there?.confirmed === true && (await evict(client, there, { tenantID, email }, now));
    const other = isOurs ? undefined : there;
    if (other?.confirmed === true && (other.tenantID !== tenantID || other.email !== email || holds(other))) {
      return false;
    }
    const row = await lockClaimed(client, claim);
    if (row === undefined || row.keycloakUserID !== undefined) return false;
    if (other === undefined) {
      await writeRow(client, "take-over", row.uuid, { patch: renamed(uuid, now), lease: "end" });
    } else {
      const object = boundObject(row);
      if (object === undefined) return false;
      await writeRow(client, "take-over-leave", row.uuid, { patch: leftBehind(), lease: "end" });
      await bindTo(client, object, other, now);
    }
    const entry = { uuid, tenantID, step: "keycloak", action: "taken-over", target: undefined };
    await appendAudit(client, [{ ...entry, detail: { from: row.uuid } }]);
    return true;
  });
}

/** A row that a worker has claimed. */
interface ClaimedRow {
  readonly row: SagaRow;
  readonly owner: number;
}

/** The row, locked, unless another has it by now. */
async function lockClaimed(client: PoolClient, { row, owner }: ClaimedRow): Promise<SagaRow | undefined> {
  const [locked] = await lockRows(client, {
    name: "claimed-for-update",
    condition: "s.sme_user_uuid = $1 and s.lease_owner = $2 and s.version = $3",
    values: [row.uuid, owner, row.version],
  });
  return locked?.row;
}
