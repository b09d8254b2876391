import type { Pool, PoolClient } from "pg";
import type { UserEvent } from "../api/userEvent.ts";
import { type Queryable, written } from "./sagas.ts";
import { jsonb } from "./values.ts";

/** One event that has not been sent. */
export interface OutboxEntry {
  readonly seq: string;
  readonly payload: UserEvent;
  /** How often NATS was asked to take it while it took others. */
  readonly attempts: number;
  /** Of what it tells of; null: that was not traced. */
  readonly traceparent: string | null;
}

/** An event that NATS will not take as it is. */
export interface ParkedEvent {
  readonly seq: string;
  readonly id: string;
  readonly type: string;
  readonly tenantID: string;
  readonly uuid: string;
  readonly createdAt: Date;
  readonly parkedAt: Date;
  readonly reason: string;
  readonly attempts: number;
}

/** A lock number of our own; one key (64 bit) never meets the two-key locks of the workers. */
const PUMP_LOCK = 7_266_220_602;
/** A session that holds the outbox and says nothing for so long is ended by Postgres: its process stands still. */
const HELD_SECONDS = 20;
const HOLD_MS = 5_000;
/** Deleted at once, so that no statement grows with the table. */
const DELETED_AT_ONCE = 5_000;

/**
 * Puts events into the outbox, as a part of the statement that records what they tell of; `parameter` is that of
 * {@link eventsValue}, `traceparent` that of their trace, and a `where` may follow. The same id twice is once.
 */
export const eventsInsert = (parameter: string, traceparent: string, where: string): string => `
  insert into outbox (id, payload, traceparent)
  select (e.payload->>'id')::uuid, e.payload, ${traceparent}::text from jsonb_array_elements(${parameter}::jsonb) with ordinality as e (payload, turn)
  ${where} order by e.turn
  on conflict (id) do nothing`;

export function eventsValue(events: readonly UserEvent[]): string {
  return jsonb(events);
}

/** The same as a statement of its own, in the transaction of what they tell of. */
export async function enqueueEvents(db: Queryable, events: readonly UserEvent[]): Promise<void> {
  if (events.length === 0) return;
  await db.query({ name: "enqueue-events", text: eventsInsert("$1", "null", ""), values: [eventsValue(events)] });
}

/**
 * Runs `pump` while this session alone holds the outbox: two that send at once could pass each other, and events of one
 * person leave in order. `lost` aborts when the connection that holds the lock breaks. Undefined: another has it.
 */
export async function withOutbox<T>(
  pool: Pool,
  pump: (db: Queryable, lost: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const client: PoolClient = await pool.connect();
  const lost = new AbortController();
  const onError = (error: Error): void => lost.abort(error);
  client.on("error", onError);
  let isSound = false;
  try {
    const { rows } = await client.query<{ mine: boolean }>({
      name: "outbox-lock",
      text: `with lock as materialized (select pg_try_advisory_lock($1) as mine)
        select mine, set_config('idle_session_timeout', case when mine then $2 else '0' end, false) from lock`,
      values: [PUMP_LOCK, `${HELD_SECONDS}s`],
    });
    const isMine = rows[0]?.mine === true;
    const [ended] = await Promise.allSettled([isMine ? pump(client, lost.signal) : undefined]);
    // Given back also where nothing could be sent: while NATS is away no turn costs a connection.
    if (isMine) {
      await client.query({
        name: "outbox-unlock",
        text: "select pg_advisory_unlock($1), set_config('idle_session_timeout', '0', false)",
        values: [PUMP_LOCK],
      });
    }
    isSound = !lost.signal.aborted;
    if (ended.status === "rejected") throw ended.reason;
    return ended.value;
  } finally {
    client.off("error", onError);
    // Whatever state the session is in, its end frees the lock.
    client.release(!isSound);
  }
}

/** Shows that whoever holds the outbox is at work, every {@link HOLD_MS} until the returned function is called. */
export function holdOutbox(write: (work: () => Promise<void>) => Promise<void>, db: Queryable): () => void {
  const timer = setInterval(() => {
    // One that fails is noticed by the next statement of whoever holds it.
    write(async () => void (await db.query("select 1"))).catch(() => undefined);
  }, HOLD_MS);
  return () => clearInterval(timer);
}

/** What the event stream keeps is 20 days of one tenant that never stops: nobody pushes another tenant's events out of it. */
export const EVENTS_PER_DAY = 20_000;

/** The tenants with events to send. */
const QUEUE = `recursive queue as (
        (select tenant_id from outbox where sent_at is null and parked_at is null order by tenant_id limit 1)
        union all
        select (select o.tenant_id from outbox o where o.sent_at is null and o.parked_at is null
                  and o.tenant_id > t.tenant_id order by o.tenant_id limit 1)
        from queue t where t.tenant_id is not null
      )`;
/** One of them has sent so many events within a day. */
const isSpent = (perDay: string): string => `(select count(*) from (
        select from outbox sent where sent.tenant_id = t.tenant_id and sent.sent_at > now() - interval '1 day'
        limit ${perDay}::bigint) as those) >= ${perDay}::bigint`;

/**
 * Up to `limit` events to send now, the oldest of each tenant first and none with more than `perTenant`: a tenant with a
 * long queue delays nobody else's. Nothing of a person whose earlier event waits for its `retry_at`, nor of a tenant that
 * has sent `perDay` within a day.
 */
export async function unsentEvents(
  db: Queryable,
  limit: number,
  perTenant: number,
  perDay = EVENTS_PER_DAY,
): Promise<OutboxEntry[]> {
  const { rows } = await db.query<OutboxEntry>({
    name: "unsent-events",
    text: `with ${QUEUE}
      select e.seq::text, e.payload, e.attempts, e.traceparent
      from queue t cross join lateral (
        select o.seq, o.payload, o.attempts, o.traceparent, row_number() over (order by o.seq) as place
        from outbox o
        where o.tenant_id = t.tenant_id and o.sent_at is null and o.parked_at is null
          and not exists (select from outbox held where held.sme_user_uuid = o.sme_user_uuid and held.seq <= o.seq
            and held.sent_at is null and held.parked_at is null and held.retry_at > now())
        order by o.seq limit $2
      ) e
      where t.tenant_id is not null and not ${isSpent("$3")}
      order by e.place, e.seq limit $1`,
    values: [limit, perTenant, perDay],
  });
  return rows;
}

/**
 * Of a tenant that may send no more today only the newest `updated` event of each person waits: it says what the ones before
 * said. Returns these tenants.
 */
export async function coalesceWaiting(db: Queryable, perDay = EVENTS_PER_DAY): Promise<string[]> {
  const { rows } = await db.query<{ tenant_id: string }>({
    name: "spent-tenants",
    text: `with ${QUEUE} select t.tenant_id from queue t where t.tenant_id is not null and ${isSpent("$1")}`,
    values: [perDay],
  });
  const tenants = rows.map(({ tenant_id: id }) => id);
  if (tenants.length === 0) return tenants;
  await db.query({
    name: "coalesce-events",
    text: `delete from outbox where seq in (
             select seq from (
               select seq, row_number() over (partition by sme_user_uuid order by seq desc) as place from outbox
               where tenant_id = any($1::text[]) and sent_at is null and parked_at is null
                 and payload->>'type' = 'sme.user.updated'
             ) as waiting where place > 1)`,
    values: [tenants],
  });
  return tenants;
}

export async function markSent(db: Queryable, seqs: readonly string[]): Promise<void> {
  if (seqs.length === 0) return;
  await db.query({
    name: "events-sent",
    text: "update outbox set sent_at = now(), retry_at = null where seq = any($1::bigint[])",
    values: [seqs],
  });
}

/** It was not taken, though others were: again after `seconds`. */
export async function deferEvent(db: Queryable, seq: string, seconds: number): Promise<void> {
  await db.query({
    name: "event-deferred",
    text: "update outbox set attempts = attempts + 1, retry_at = now() + make_interval(secs => $2) where seq = $1",
    values: [seq, seconds],
  });
}

/** It stays, for a person to decide; nothing waits for it any more. */
export async function parkEvent(db: Queryable, seq: string, reason: string): Promise<void> {
  await db.query({
    name: "event-parked",
    text: `update outbox set parked_at = now(), parked_reason = $2, retry_at = null, attempts = attempts + 1
           where seq = $1 and sent_at is null`,
    values: [seq, reason],
  });
}

/** The oldest first. */
export async function parkedEvents(db: Queryable, tenantID: string | undefined, limit: number): Promise<ParkedEvent[]> {
  const { rows } = await db.query<ParkedEvent>({
    name: "parked-events",
    text: `select seq::text, id, payload->>'type' as type, tenant_id as "tenantID", sme_user_uuid as uuid,
             created_at as "createdAt", parked_at as "parkedAt", parked_reason as reason, attempts
           from outbox where parked_at is not null and ($1::text is null or tenant_id = $1) order by seq limit $2`,
    values: [tenantID ?? null, limit],
  });
  return rows;
}

/** Parked events are to be sent once more, as new: the cause was removed. Returns how many. */
export async function unparkEvents(db: Queryable, tenantID: string | undefined): Promise<number> {
  return written(db, {
    name: "unpark-events",
    text: `update outbox set parked_at = null, parked_reason = null, attempts = 0, retry_at = null
           where parked_at is not null and ($1::text is null or tenant_id = $1)`,
    values: [tenantID ?? null],
  });
}

/** Events stay until someone has had the time to read them; some of those sent longer ago than `days` go. Returns how many. */
export async function forgetSentEvents(db: Queryable, days: number): Promise<number> {
  return written(db, {
    name: "forget-sent-events",
    text: `delete from outbox where seq = any(array(
             select seq from outbox where sent_at < now() - make_interval(days => $1) order by sent_at limit $2))`,
    values: [days, DELETED_AT_ONCE],
  });
}
