/** The rows that objects are bound to. All of it under the tenant's lock. */
import { randomUUID } from "node:crypto";
import type { PoolClient } from "pg";
import { derivedUUIDs } from "../api/names.ts";
import type { SagaRow } from "../saga/row.ts";
import { bound, type Bound, evicted, unseen } from "../saga/transitions.ts";
import type { Binding } from "./bindRequest.ts";
import { insertRow, lockRow, writeRow } from "./changes.ts";

/** Makes the row of an object. */
export async function bindNew(client: PoolClient, object: Bound, uuid: string, now: Date): Promise<Binding> {
  const patch = bound(unseen({ ...object, uuid }, now), object, now);
  const row = await insertRow(client, "insert-bound", { uuid, ...patch });
  await endWaiting(client, object, uuid);
  return { kind: "bound", row, returned: false };
}

/** Gives a row to the object. */
export async function bindTo(client: PoolClient, object: Bound, { uuid }: SagaRow, now: Date): Promise<Binding> {
  // As it is now: whoever has claimed it may have recorded something since it was chosen.
  const locked = await lockRow(client, uuid);
  if (locked === undefined) throw new Error(`row ${uuid} is gone`);
  const { row: before } = locked;
  const row = await writeRow(client, "bind-row", uuid, { patch: bound(before, object, now), lease: "fence" });
  await endWaiting(client, object, uuid);
  return { kind: "bound", row, returned: before.confirmed && !before.voided };
}

/**
 * The object waits no more, and candidates that admission wrote for it under another uuid hold nothing and never will.
 * `coalesce` keeps the planner from going through all candidates, of which it believes that there are none, to find those of
 * one object.
 */
async function endWaiting(client: PoolClient, { uid }: Bound, chosen: string): Promise<void> {
  await client.query({
    name: "end-waiting",
    text: `with waited as (delete from waiting where object_uid = $1)
           update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
           where object_uid = $1 and sme_user_uuid <> $2 and coalesce(confirmed_at, voided_at) is null`,
    values: [uid, chosen],
  });
}

/**
 * A uuid that comes from this tenant's own id and address is this tenant's, and a row of another one that has it has it by
 * marks that its Keycloak made up: that row, which is locked, is given another uuid.
 */
export async function evict(
  client: PoolClient,
  row: SagaRow,
  owner: { readonly tenantID: string; readonly email: string },
  now: Date,
): Promise<boolean> {
  if (row.tenantID === owner.tenantID || !derivedUUIDs(owner.tenantID, owner.email).includes(row.uuid)) return false;
  await writeRow(client, "evict-row", row.uuid, { patch: evicted(row, randomUUID(), now), lease: "fence" });
  return true;
}
