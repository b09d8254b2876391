import type { Pool } from "pg";
import type { UserEvent } from "../api/userEvent.ts";
import type { Queryable } from "./sagas.ts";
import { inTransaction } from "./transaction.ts";

/**
 * Puts events into the outbox, as a part of the statement that records what they tell of; `parameter` is that of
 * {@link eventsValue}, and a `where` may follow. The same id twice is once.
 */
export const eventsInsert = (parameter: string, where: string): string => `
  insert into outbox (id, payload)
  select (e.payload->>'id')::uuid, e.payload from jsonb_array_elements(${parameter}::jsonb) with ordinality as e (payload, turn)
  ${where} order by e.turn
  on conflict (id) do nothing`;

export function eventsValue(events: readonly UserEvent[]): string {
  return JSON.stringify(events);
}

/** The same as a statement of its own, in the transaction of what they tell of. */
export async function enqueueEvents(db: Queryable, events: readonly UserEvent[]): Promise<void> {
  if (events.length === 0) return;
  await db.query({ name: "enqueue-events", text: eventsInsert("$1", ""), values: [eventsValue(events)] });
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
