import type { Queryable } from "./sagas.ts";

/** What stands in the store, for metrics: bounded labels only. */
export interface StoreStats {
  /** Rows by state. */
  readonly users: Readonly<Record<string, number>>;
  /** Rows by the code of their error. */
  readonly errors: Readonly<Record<string, number>>;
  /** Objects without a row, by why they wait. */
  readonly waiting: Readonly<Record<string, number>>;
  readonly due: number;
  readonly oldestDueSeconds: number;
  readonly cleanups: number;
  readonly outbox: number;
  readonly oldestOutboxSeconds: number;
  /** Events that NATS does not take as they are. */
  readonly parkedEvents: number;
}

interface RawStats {
  users: Record<string, number> | null;
  errors: Record<string, number> | null;
  waiting: Record<string, number> | null;
  due: number;
  oldest_due: number | null;
  cleanups: number;
  outbox: number;
  oldest_outbox: number | null;
  parked: number;
}

export async function readStats(db: Queryable): Promise<StoreStats> {
  const { rows } = await db.query<RawStats>({
    name: "standing",
    text: `select
      (select jsonb_object_agg(state, n) from (select state, count(*) as n from user_provision_state
         where confirmed_at is not null and voided_at is null group by state) s) as users,
      (select jsonb_object_agg(code, n) from (select last_error->>'code' as code, count(*) as n from user_provision_state
         where last_error is not null and state in ('failed', 'deleting') group by 1) s) as errors,
      (select jsonb_object_agg(why, n) from (select why, count(*) as n from waiting group by why) s) as waiting,
      (select count(*)::int from user_provision_state where due_at <= now()) as due,
      (select extract(epoch from now() - min(due_at))::float8 from user_provision_state where due_at <= now()) as oldest_due,
      (select count(*)::int from user_provision_state where state = 'deleting' and (deleting->>'released')::boolean
         and deleting->>'purgeAt' is null) as cleanups,
      (select count(*)::int from outbox where sent_at is null and parked_at is null) as outbox,
      (select extract(epoch from now() - min(created_at))::float8 from outbox where sent_at is null and parked_at is null)
        as oldest_outbox,
      (select count(*)::int from outbox where parked_at is not null) as parked`,
  });
  const raw = rows[0] as RawStats;
  return {
    users: raw.users ?? {},
    errors: raw.errors ?? {},
    waiting: raw.waiting ?? {},
    due: raw.due,
    oldestDueSeconds: raw.oldest_due ?? 0,
    cleanups: raw.cleanups,
    outbox: raw.outbox,
    oldestOutboxSeconds: raw.oldest_outbox ?? 0,
    parkedEvents: raw.parked,
  };
}
