import { OBJECTIVE_SECONDS } from "../api/metrics/work.ts";
import { REASONS } from "../api/reasons.ts";
import type { Queryable } from "./sagas.ts";

/** What stands in the store, for metrics: bounded labels only. Moments are seconds since 1970; 0: there is none. */
export interface StoreStats {
  /** Rows by state. */
  readonly users: Readonly<Record<string, number>>;
  /** Rows by the code of their error. */
  readonly errors: Readonly<Record<string, number>>;
  /** Who is past the objective and whose tenant need not act. */
  readonly overdue: { readonly ready: number; readonly removed: number };
  /** Objects without a row, by why they wait. */
  readonly waiting: Readonly<Record<string, number>>;
  readonly due: number;
  readonly oldestDueAt: number;
  /** Of the drift checks of Tenants that are ready. */
  readonly oldestDriftCheckAt: number;
  readonly cleanups: number;
  readonly outbox: number;
  readonly oldestOutboxAt: number;
  /** Events that NATS does not take as they are. */
  readonly parkedEvents: number;
}

/** Who waits for one of these waits for the tenant, and for nobody of the platform. */
const TENANT_ACTS = Object.entries(REASONS)
  .filter(([, { actor }]) => actor === "tenant")
  .map(([reason]) => reason);

/**
 * Never Ready in this life, of a tenant that is not suspended, and there is something to do: due, failed, or its Tenant is
 * not ready. (A user who is suspended has none of these.)
 */
const READY_LATE = `u.handled is null and u.deleting is null
  and u.state not in ('done', 'deleted', 'retained', 'orphaned')
  and u.object_created_at < now() - make_interval(secs => $1) and coalesce(u.last_error->>'code', '') <> all($2::text[])
  and coalesce((t.accepted->>'suspend')::boolean, false) is false
  and (u.due_at is not null or u.last_error is not null or t.ready is not true)`;
/** Its object is still held. What is undone once more, after a late worker, has been released before. */
const REMOVED_LATE = `u.deleting is not null and u.state <> 'orphaned'
  and not (u.deleting->>'released')::boolean and (u.deleting->>'again')::boolean is not true
  and (u.deleting->>'since')::timestamptz < now() - make_interval(secs => $1)`;

/** One statement, which reads the table of users once. Throws what Postgres throws. */
export async function readStats(db: Queryable): Promise<StoreStats> {
  const { rows } = await db.query<StoreStats>({
    name: "standing",
    text: `with by_state as (
        select u.state, count(*)::int as n,
          count(*) filter (where ${READY_LATE})::int as ready_late,
          count(*) filter (where ${REMOVED_LATE})::int as removed_late,
          count(*) filter (where u.state = 'deleting' and (u.deleting->>'released')::boolean
            and u.deleting->>'purgeAt' is null)::int as cleanups
        from user_provision_state u left join tenants t on t.tenant_id = u.sme_tenant_id
        where u.confirmed_at is not null and u.voided_at is null group by u.state)
    select
      coalesce((select jsonb_object_agg(state, n) from by_state), '{}') as users,
      coalesce((select jsonb_object_agg(code, n) from (select last_error->>'code' as code, count(*) as n
         from user_provision_state where last_error is not null and state in ('failed', 'deleting') group by 1) s), '{}')
         as errors,
      jsonb_build_object(
        'ready', (select coalesce(sum(ready_late), 0) from by_state) + (select count(*) from waiting
           where created_at < now() - make_interval(secs => $1) and why <> all($2::text[])),
        'removed', (select coalesce(sum(removed_late), 0) from by_state)) as overdue,
      coalesce((select jsonb_object_agg(why, n) from (select why, count(*) as n from waiting group by why) s), '{}')
        as waiting,
      (select count(*)::int from user_provision_state where due_at <= now()) as due,
      coalesce((select extract(epoch from min(due_at))::float8 from user_provision_state where due_at <= now()), 0)
        as "oldestDueAt",
      coalesce((select extract(epoch from min(d.next_at))::float8 from drift_checks d join tenants t using (tenant_id)
         where d.next_at <= now() and t.ready and coalesce((t.accepted->>'suspend')::boolean, false) is false), 0)
        as "oldestDriftCheckAt",
      (select coalesce(sum(cleanups), 0)::int from by_state) as cleanups,
      (select count(*)::int from outbox where sent_at is null and parked_at is null) as outbox,
      coalesce((select extract(epoch from min(created_at))::float8 from outbox
                where sent_at is null and parked_at is null), 0) as "oldestOutboxAt",
      (select count(*)::int from outbox where parked_at is not null) as "parkedEvents"`,
    values: [OBJECTIVE_SECONDS, TENANT_ACTS],
  });
  return rows[0] as StoreStats;
}
