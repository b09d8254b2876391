import type { Pool } from "pg";
import { candidateUUID, isUUIDv4 } from "../api/names.ts";
import type { SagaRow } from "../saga/row.ts";
import type { BindRequest } from "./bindRequest.ts";
import { type RawRow, sagaRow } from "./columns.ts";

/**
 * The row of an object for which there is nothing to choose, which is nearly everybody: one that is new here, on an
 * address that nobody has or had, while there is room; or one that has its row already. One round trip, serialised per
 * tenant with all else that binds. Undefined: choose.
 */
export async function bindNewUser(pool: Pool, bindRequest: BindRequest): Promise<SagaRow | undefined> {
  const { pin, tenantID, email } = bindRequest;
  const derived = candidateUUID(tenantID, email);
  // Whose any other pin is depends on what is known of it here and upstream.
  if (pin !== undefined && pin !== derived && !isUUIDv4(pin)) return undefined;
  const { rows } = await pool.query<RawRow>({
    name: "bind-new-user",
    text: "select * from bind_new_user($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    values: [
      pin ?? derived,
      pin !== undefined,
      tenantID,
      email,
      bindRequest.clusterID,
      bindRequest.uid,
      bindRequest.namespace,
      bindRequest.name,
      bindRequest.createdAt,
      bindRequest.maxUsers ?? null,
    ],
  });
  return rows[0] === undefined ? undefined : sagaRow(rows[0]);
}
