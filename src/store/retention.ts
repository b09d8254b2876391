/** What is deleted from the database, and when: in batches, so that nobody waits behind them. */
import { type Queryable, written } from "./sagas.ts";

/**
 * Deletes candidates of admission that were given up ten minutes ago, for nobody saw their object; an object that is seen
 * later gets a new row. Of each tenant the oldest, so that one who makes up many holds up nobody else's. Returns how many.
 */
export async function deleteUnseen(
  db: Queryable,
  batch: { readonly perTenant: number; readonly most: number },
): Promise<number> {
  return written(db, {
    name: "delete-unseen",
    text: `delete from user_provision_state where ctid = any (array(
             select old.ctid
             from (select distinct sme_tenant_id as id from user_provision_state
                   where coalesce(confirmed_at, 'infinity') = 'infinity' and voided_at is not null) as tenant
             cross join lateral (
               select u.ctid from user_provision_state u
               where u.sme_tenant_id = tenant.id and coalesce(u.confirmed_at, 'infinity') = 'infinity'
                 and u.voided_at < now() - interval '10 minutes' and ${NOTHING_BEGUN}
               order by u.voided_at limit $1 for update skip locked
             ) as old
             limit $2))`,
    values: [batch.perTenant, batch.most],
  });
}

/** Nothing outside was ever made for it. */
const NOTHING_BEGUN = `u.reached = 'pending' and u.kc_user_id is null and u.newapi_user_id is null
  and u.secret_uid is null and u.secret_places = '[]' and u.deleting is null`;

/**
 * Deletes rows of people who are gone, and of whom nothing is left outside, so many days after their end. Never those
 * whose accounts were kept. Returns how many.
 */
export async function deleteEnded(
  db: Queryable,
  limits: { readonly afterDays: number; readonly most: number },
): Promise<number> {
  return written(db, {
    name: "delete-ended",
    text: `delete from user_provision_state where ctid = any (array(
             select u.ctid from user_provision_state u
             where ((u.state = 'deleted' and u.run is null)
                    or (u.voided_at is not null and ${NOTHING_BEGUN}))
               and u.updated_at < now() - make_interval(days => $1) and u.due_at is null
             order by u.updated_at limit $2 for update skip locked))`,
    values: [limits.afterDays, limits.most],
  });
}

/** Deletes audit entries of that age; none younger than 30 days, whatever is asked for. Returns how many. */
export async function deleteAudit(
  db: Queryable,
  limits: { readonly afterDays: number; readonly most: number },
): Promise<number> {
  const { rows } = await db.query<{ gone: number }>({
    name: "delete-audit",
    text: "select forget_audit(now() - make_interval(days => $1), $2::bigint) as gone",
    values: [limits.afterDays, limits.most],
  });
  return rows[0]?.gone ?? 0;
}
