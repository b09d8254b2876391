import { type Queryable, written } from "./sagas.ts";

/** As in the index on them. */
const OBSTRUCTED = `last_error->>'code' in ('SecretForeign', 'SecretTerminating', 'SecretRefused')
  and confirmed_at is not null and voided_at is null and deleting is null and state not in ('deleted', 'retained', 'orphaned')`;

export interface WaitedName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The names under which a Secret stands in somebody's way, at most so many of a tenant: those who have waited the
 * shortest, for they are the likeliest to be fixed.
 */
export async function waitedSecrets(db: Queryable, mostPerTenant: number): Promise<readonly WaitedName[]> {
  const { rows } = await db.query<{ namespace: string; name: string }>({
    name: "waited-secrets",
    text: `select distinct namespace, name from (
           select place.namespace, place.name, row_number() over (partition by sme_tenant_id order by place_in_line) as n from (
             select sme_tenant_id, secret_namespace, secret_name, secret_places,
               row_number() over (partition by sme_tenant_id order by last_error->>'at' desc, sme_user_uuid) as place_in_line
             from user_provision_state
             where ${OBSTRUCTED} and last_error->>'code' in ('SecretForeign', 'SecretTerminating')
           ) waiting
           cross join lateral (
             select secret_namespace as namespace, secret_name as name
             union all
             select noted->>'namespace', noted->>'name' from jsonb_array_elements(secret_places) noted
           ) place
           where place_in_line <= $1 and place.namespace is not null and place.name is not null
           ) named where n <= $1`,
    values: [mostPerTenant],
  });
  return rows;
}

/** What stood under this name is gone: whoever waited for that resumes. */
export async function wakeForSecret(db: Queryable, { namespace, name }: WaitedName): Promise<boolean> {
  return (
    (await written(db, {
      name: "wake-for-secret",
      text: `update user_provision_state
           set due_at = now(), backoff_until = null, blocked_on = null, touches = touches + 1
           where ${OBSTRUCTED}
             and ((secret_namespace = $1 and secret_name = $2)
                  or secret_places @> jsonb_build_array(jsonb_build_object('namespace', $1::text, 'name', $2::text)))`,
      values: [namespace, name],
    })) > 0
  );
}

/** Whoever is stopped by a Secret of others, and was not polled for so long: a few of each tenant are polled again. */
export async function wakeLongObstructed(db: Queryable, forMs: number, mostPerTenant: number): Promise<boolean> {
  return (
    (await written(db, {
      name: "wake-long-obstructed",
      text: `update user_provision_state
           set due_at = now(), blocked_on = null, touches = touches + 1
           where sme_user_uuid in (
             select sme_user_uuid from (
               select sme_user_uuid, row_number() over (partition by sme_tenant_id order by updated_at) as place_in_line
               from user_provision_state
               where ${OBSTRUCTED} and blocked_on is not null and updated_at < now() - make_interval(secs => $1::float8 / 1000)
             ) longest where place_in_line <= $2
           )`,
      values: [forMs, mostPerTenant],
    })) > 0
  );
}
