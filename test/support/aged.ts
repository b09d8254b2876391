import assert from "node:assert/strict";

import type { Platform } from "./platform.ts";

/** As if so many minutes more had passed since something of this deletion: nobody waits for them in a test. */
export async function aged(
  { db }: Platform,
  { uuid }: { readonly uuid: string },
  what: "since" | "purgeAt",
  minutes: number,
): Promise<void> {
  const { rowCount } = await db.query(
    `update user_provision_state
        set deleting = jsonb_set(deleting, array[$2], to_jsonb(to_char(
              ((deleting->>$2)::timestamptz - make_interval(mins => $3)) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))),
            due_at = now(), backoff_until = null, touches = touches + 1
      where sme_user_uuid = $1 and deleting ? $2`,
    [uuid, what, minutes],
  );
  assert.equal(rowCount, 1, "nothing of this person is being deleted");
}
