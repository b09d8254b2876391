import { type Queryable } from "./sagas.ts";

/** One object as the watch saw it. */
export interface Sighting {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly deleting: boolean;
  readonly requestedAt: string | undefined;
  readonly rotateRequestedAt: string | undefined;
}

/**
 * Makes the row of this object due now, whatever it was waiting for. False: no confirmed row has this uid. A touch during
 * a claim is not lost: the record of that claim sees it.
 */
export async function touchObject(db: Queryable, uid: string): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "touch-object",
    text: `update user_provision_state set due_at = now(), backoff_until = null, touches = touches + 1
           where object_uid = $1 and confirmed_at is not null and voided_at is null and state <> 'orphaned'`,
    values: [uid],
  });
  return (rowCount ?? 0) > 0;
}

/**
 * What makes a finished person's steps from `$1` on due; and what notes it for later where a run is under way, which may
 * have passed that step by already and would end without looking back.
 */
export const recheckFrom = (step: string, version: string): string => `
  run = coalesce(run, jsonb_build_object('reason', 'drift', 'generation', handled->'generation',
                                         'step', ${step}, 'attempt', 0, 'done', false)),
  recheck = case
    when run is null then null
    when recheck is null or recheck ? 'version'
         or array_position(${STEP_ORDER}, ${step}) < array_position(${STEP_ORDER}, recheck->>'step')
      then jsonb_strip_nulls(jsonb_build_object('step', ${step}, 'version', ${version}))
    else recheck end`;

const STEP_ORDER = "array['keycloak', 'newapi', 'secret']";

/** Finished, or about to be: a person of whom there is something to recheck. */
export const RECHECKABLE = `confirmed_at is not null and voided_at is null and deleting is null
  and ((state = 'done' and handled is not null) or (run is not null and secret_name is not null))`;

/**
 * The Secret of this name was written (`version`: its resourceVersion) or went: the row looks at its Secret again.
 * False: nobody's Secret, or the service's own writing.
 */
export async function touchSecret(db: Queryable, namespace: string, name: string, version?: string): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "touch-secret",
    text: `update user_provision_state set due_at = now(), touches = touches + 1,
             ${recheckFrom("'secret'", "$3::text")}
           where secret_namespace = $1 and secret_name = $2 and ($3::text is null or secret_version is distinct from $3)
             and ${RECHECKABLE}`,
    values: [namespace, name, version ?? null],
  });
  return (rowCount ?? 0) > 0;
}

export interface ListOutcome {
  /** Objects that have no confirmed row: to be bound. */
  readonly strangers: readonly Sighting[];
  /** Living rows of this cluster whose object was not in the list. Not deleted: to be looked at one by one. */
  readonly missing: readonly {
    readonly uuid: string;
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
  }[];
}

/**
 * Compares a whole list of objects with the rows: makes due what has moved while nobody watched, and names what has no
 * row and what has no object.
 */
export async function compareList(db: Queryable, clusterID: string, seen: readonly Sighting[]): Promise<ListOutcome> {
  const uids = seen.map((sighting) => sighting.uid);
  await db.query({
    text: `update user_provision_state s set due_at = now(), touches = touches + 1
           from unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::text[], $5::text[])
             as o (uid, generation, deleting, requested_at, rotate_requested_at)
           where s.object_uid = o.uid and s.confirmed_at is not null and s.voided_at is null and s.due_at is null
             and s.state <> 'orphaned'
             and (o.deleting or (s.blocked_on is null and (s.handled is null
                  or (s.handled->>'generation')::bigint <> o.generation
                  or coalesce(s.handled->>'requestedAt', '') <> coalesce(o.requested_at, '')
                  or coalesce(s.handled->>'rotateRequestedAt', '') <> coalesce(o.rotate_requested_at, '')))
                  or s.blocked_on not like o.generation || '|%'
                  or s.blocked_on not like '%|' || coalesce(o.requested_at, '') || '|' || coalesce(o.rotate_requested_at, ''))`,
    values: [
      uids,
      seen.map((sighting) => sighting.generation),
      seen.map((sighting) => sighting.deleting),
      seen.map((sighting) => sighting.requestedAt ?? null),
      seen.map((sighting) => sighting.rotateRequestedAt ?? null),
    ],
  });
  const known = await db.query<{ object_uid: string }>(
    `select object_uid from user_provision_state
     where object_uid = any($1::uuid[]) and confirmed_at is not null and voided_at is null and state <> 'orphaned'`,
    [uids],
  );
  const withRow = new Set(known.rows.map((row) => row.object_uid));
  const missing = await db.query<{
    sme_user_uuid: string;
    object_namespace: string;
    object_name: string;
    object_uid: string;
  }>(
    `select sme_user_uuid, object_namespace, object_name, object_uid from user_provision_state
     where cluster_id = $1 and confirmed_at is not null and voided_at is null and object_uid is not null
       and deleting is null and state not in ('deleted', 'retained', 'orphaned') and object_uid <> all($2::uuid[])`,
    [clusterID, uids],
  );
  return {
    strangers: seen.filter((sighting) => !withRow.has(sighting.uid)),
    missing: missing.rows.map((row) => ({
      uuid: row.sme_user_uuid,
      namespace: row.object_namespace,
      name: row.object_name,
      uid: row.object_uid,
    })),
  };
}

/** Rows of other clusters than this one, while their objects are not here: orphans until the objects come back. */
export async function orphanForeignRows(db: Queryable, clusterID: string): Promise<number> {
  const { rowCount } = await db.query({
    text: `update user_provision_state set state = 'orphaned', due_at = null, run = null, updated_at = now(),
             version = version + 1, lease_owner = null, lease_until = null
           where cluster_id <> $1 and confirmed_at is not null and voided_at is null
             and state not in ('deleted', 'retained', 'orphaned', 'deleting')`,
    values: [clusterID],
  });
  return rowCount ?? 0;
}

/**
 * The deletion of this object was seen (a DELETED event on a live watch, then 404, under a living CRD) although it was
 * never held: what it caused is undone. False: its row is going or gone already.
 */
export async function markSeenDeleted(
  db: Queryable,
  uid: string,
  clusterID: string,
  graceMs: number,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "mark-seen-deleted",
    text: `update user_provision_state set state = 'deleting', due_at = now(), backoff_until = null, run = null,
             blocked_on = null, rotation = null, retry_count = 0, touches = touches + 1, updated_at = now(),
             deleting = jsonb_strip_nulls(jsonb_build_object('since', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
               'objectUID', object_uid, 'undone', '[]'::jsonb, 'locked', '[]'::jsonb, 'released', true,
               'purgeAt', case when $3::float8 > 0 then to_char((now() + make_interval(secs => $3::float8 / 1000)) at time zone 'utc',
                                                        'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end))
           where object_uid = $1 and cluster_id = $2 and confirmed_at is not null and deleting is null
             and state not in ('deleted', 'retained', 'orphaned')`,
    values: [uid, clusterID, graceMs],
  });
  return (rowCount ?? 0) > 0;
}

/** Voids candidates whose object was not seen within two minutes of its admission. */
export async function voidUnconfirmed(db: Queryable): Promise<number> {
  const { rowCount } = await db.query({
    name: "void-unconfirmed",
    text: `update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
           where confirmed_at is null and voided_at is null and created_at < now() - interval '2 minutes'`,
  });
  return rowCount ?? 0;
}

/**
 * The tenant became ready, or its neighbour answers again: whoever is not settled goes on, over `spreadMs`. Of those who
 * wait for a person, the ones stopped by an error of one of these codes.
 */
export async function touchUnsettled(
  db: Queryable,
  tenantID: string,
  spreadMs: number,
  resumed: readonly string[] = [],
): Promise<number> {
  const { rowCount } = await db.query({
    name: "touch-unsettled",
    text: `update user_provision_state
           set due_at = now() + make_interval(secs => random() * $2::float8 / 1000), backoff_until = null, blocked_on = null,
             touches = touches + 1
           where sme_tenant_id = $1 and confirmed_at is not null and voided_at is null
             and (blocked_on is null or last_error->>'code' = any($3::text[]))
             and (state in ('pending', 'kc_created', 'newapi_created', 'secret_applied', 'failed', 'deleting')
                  or (state = 'done' and (run is not null or due_at is not null)))`,
    values: [tenantID, spreadMs, resumed],
  });
  return rowCount ?? 0;
}

/**
 * All our Secrets of this namespace, as listed: whose is missing, or of another version than the service knows, has its
 * Secret step due. Returns how many.
 */
export async function compareSecrets(
  db: Queryable,
  namespace: string,
  listed: readonly { readonly uid: string; readonly version: string }[],
): Promise<number> {
  const { rowCount } = await db.query({
    name: "compare-secrets",
    text: `update user_provision_state s set due_at = now(), touches = touches + 1,
             ${recheckFrom("'secret'", "seen.listed_version")}
           from (
             select p.sme_user_uuid as uuid, l.version as listed_version
             from user_provision_state p left join unnest($2::uuid[], $3::text[]) as l (uid, version) on l.uid = p.secret_uid
             where p.secret_namespace = $1 and p.secret_uid is not null and l.version is distinct from p.secret_version
           ) seen
           where s.sme_user_uuid = seen.uuid and ${RECHECKABLE}`,
    values: [namespace, listed.map(({ uid }) => uid), listed.map(({ version }) => version)],
  });
  return rowCount ?? 0;
}
