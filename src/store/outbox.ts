import type { Pool } from "pg";
import type { UserEvent } from "../api/userEvent.ts";
import type { Queryable } from "./sagas.ts";
import { inTransaction } from "./transaction.ts";

/** Puts an event into the outbox, in the transaction of what it tells of. The same id twice is once. */
export async function enqueueEvent(db: Queryable, event: UserEvent): Promise<void> {
  await db.query({
    name: "enqueue-event",
    text: "insert into outbox (id, payload) values ($1, $2) on conflict (id) do nothing",
    values: [event.id, JSON.stringify(event)],
  });
}

/**
 * Sends up to `limit` unsent events in order and marks them sent. The rows stay locked while they are sent, so that
 * replicas do not send the same ones at once; a crash in between sends some again, with the same id. Returns how many
 * were sent; throws what `send` throws, after keeping what was sent before.
 */
export async function drainOutbox(
  pool: Pool,
  limit: number,
  send: (event: UserEvent) => Promise<void>,
): Promise<number> {
  let failure: unknown;
  const sent = await inTransaction(pool, async (client) => {
    const { rows } = await client.query<{ seq: number; payload: UserEvent }>({
      name: "unsent-events",
      text: "select seq, payload from outbox where sent_at is null order by seq limit $1 for update skip locked",
      values: [limit],
    });
    const done: number[] = [];
    for (const row of rows) {
      try {
        await send(row.payload);
        done.push(row.seq);
      } catch (error) {
        failure = error;
        break;
      }
    }
    if (done.length > 0) await client.query("update outbox set sent_at = now() where seq = any($1::bigint[])", [done]);
    return done;
  });
  if (failure !== undefined) throw failure;
  return sent.length;
}

/** Events wait at most until someone has had the time to look; rows sent longer ago than `days` go. */
export async function forgetSentEvents(db: Queryable, days: number): Promise<void> {
  await db.query("delete from outbox where sent_at < now() - make_interval(days => $1)", [days]);
}
