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

export async function readStats(db: Queryable): Promise<StoreStats> {
  const { rows } = await db.query<StoreStats>({
    name: "standing",
    text: `select
      coalesce((select jsonb_object_agg(state, n) from (select state, count(*) as n from user_provision_state
         where confirmed_at is not null and voided_at is null group by state) s), '{}') as users,
      coalesce((select jsonb_object_agg(code, n) from (select last_error->>'code' as code, count(*) as n
         from user_provision_state where last_error is not null and state in ('failed', 'deleting') group by 1) s), '{}')
        as errors,
      coalesce((select jsonb_object_agg(why, n) from (select why, count(*) as n from waiting group by why) s), '{}')
        as waiting,
      (select count(*)::int from user_provision_state where due_at <= now()) as due,
      coalesce((select extract(epoch from now() - min(due_at))::float8 from user_provision_state where due_at <= now()), 0)
        as "oldestDueSeconds",
      (select count(*)::int from user_provision_state where state = 'deleting' and (deleting->>'released')::boolean
         and deleting->>'purgeAt' is null) as cleanups,
      (select count(*)::int from outbox where sent_at is null and parked_at is null) as outbox,
      coalesce((select extract(epoch from now() - min(created_at))::float8 from outbox
                where sent_at is null and parked_at is null), 0) as "oldestOutboxSeconds",
      (select count(*)::int from outbox where parked_at is not null) as "parkedEvents"`,
  });
  return rows[0] as StoreStats;
}
