/** What admission writes: one round trip for as many as came together. */
import type { Pool } from "./pool.ts";

/** What admission has seen of an object. */
export interface Candidate {
  /** The uuid that the object would get where nothing else decides; undefined: admission cannot tell. */
  readonly uuid: string | undefined;
  readonly tenantID: string;
  /** Canonical. */
  readonly email: string;
  readonly objectUID: string;
  readonly namespace: string;
  readonly name: string;
  /** The object is being made: nothing can be known of it yet. */
  readonly isNew: boolean;
  /** Of a new one: give it to learn whether the tenant is full. */
  readonly maxUsers: number | undefined;
}

export interface CandidateRecord {
  readonly inserted: boolean;
  readonly touched: boolean;
  /** Name of another living object of the tenant that has this email, as namespace/name. */
  readonly heldBy: string | undefined;
  readonly full: boolean;
}

// States in which no living object stands behind a row, or not for long.
const GONE = "('deleting', 'deleted', 'retained', 'orphaned')";

// Each look at the table is a subquery of one object, which only an index can answer: as a join the planner would read
// the whole table, for it learned its numbers when it was small. For the same reason what was locked is updated by its
// place. Rows are made in the order of their keys, so that two batches never wait for each other.
const COLUMNS = "(uuid, object_uid, tenant_id, email, namespace, name, max_users, n)";
const MANY = `seen as (
    select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
      with ordinality as s ${COLUMNS}
  )`;
const ONE = `seen ${COLUMNS} as not materialized (
    select $1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::text, null::bigint, 1
  )`;

// Nobody waits for the disk: what a crash of Postgres makes it forget the watch records again (docs/adr/0011). Said in the
// statement, for it is true of these alone, and needs no round trip here.
const UNFLUSHED = "unflushed as materialized (select set_config('synchronous_commit', 'off', true))";

// An object without a row gets an unconfirmed one; it is nothing to claim until the reconciler has seen the object, so it
// has no due_at. Any other row is left alone: a POST of a name that exists comes by here with a fresh uid before the API
// server answers 409.
const inserted = (which: string): string => `inserted as (
    insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name)
    select uuid, tenant_id, email, object_uid, namespace, name from seen where uuid is not null ${which} order by uuid
    on conflict (sme_user_uuid) do nothing
    returning object_uid
  )`;

const INSERTED = "seen.object_uid in (select object_uid from inserted) as inserted";
// `is distinct from`: an index of the objects, which a plain comparison could be answered from, would be read whole.
const HELD_BY = `(select u.object_namespace || '/' || u.object_name from user_provision_state u
           where u.sme_tenant_id = seen.tenant_id and u.email = seen.email and u.object_uid is distinct from seen.object_uid
             and u.confirmed_at is not null and u.voided_at is null and u.state not in ${GONE}
           limit 1) as held_by`;

/**
 * One object that is being made, of a tenant without a limit. Who comes alone waits for nothing else, and arrays are planned
 * anew each time, which takes as long as the rest: this is planned once a connection.
 */
const RECORD_ONE = `
  with ${UNFLUSHED}, ${ONE}, ${inserted("")}
  select false as touched, ${INSERTED}, ${HELD_BY}, false as full from seen, unflushed`;

/** Objects that are being made: nobody has a row of them. */
const RECORD_NEW = `
  with ${UNFLUSHED}, ${MANY}, ${inserted("")}, tenant as materialized (
    select id, (select count(*) from (select from user_provision_state u
                 where u.sme_tenant_id = limited.id
                   and u.confirmed_at is not null and u.voided_at is null and u.state not in ${GONE}
                 limit limited.most) as those) as living
      from (select tenant_id as id, max(max_users) as most from seen where max_users is not null group by 1) as limited
  )
  select false as touched, ${INSERTED}, ${HELD_BY},
         coalesce((select living >= seen.max_users from tenant where tenant.id = seen.tenant_id), false) as full
    from seen, unflushed order by n`;

// A confirmed row of an object becomes due, unless it waits in backoff; one that somebody is writing right now is passed
// over, for nobody here has time to wait, and the watch touches it too.
const RECORD_CHANGED = `
  with ${UNFLUSHED}, ${MANY}, free as (
    select (select u.ctid from user_provision_state u
             where u.object_uid = seen.object_uid and u.confirmed_at is not null and u.voided_at is null
               and u.state not in ('deleted', 'orphaned') and (u.backoff_until is null or u.backoff_until <= now())
               for update skip locked) as place
      from seen
  ), touched as (
    update user_provision_state u set due_at = least(u.due_at, now()), touches = u.touches + 1
     where u.ctid = any (array(select place from free where place is not null))
    returning u.object_uid
  ), ${inserted(`and (select u.object_uid from user_provision_state u
             where u.object_uid = seen.object_uid and u.voided_at is null limit 1) is null`)}
  select seen.object_uid in (select object_uid from touched) as touched, ${INSERTED}, ${HELD_BY}, false as full
    from seen, unflushed order by n`;

interface Answer {
  readonly touched: boolean;
  readonly inserted: boolean;
  readonly held_by: string | null;
  readonly full: boolean;
}

/** Records them all or, when it throws pg's error, perhaps some of them; answers in their order. May be repeated. */
export async function recordCandidates(pool: Pool, candidates: readonly Candidate[]): Promise<CandidateRecord[]> {
  const made = candidates.filter(({ isNew }) => isNew);
  const changed = candidates.filter(({ isNew }) => !isNew);
  if (made.length === 0 || changed.length === 0) return write(pool, candidates);
  const [ofMade, ofChanged] = await Promise.all([write(pool, made), write(pool, changed)]);
  const records = new Map([...made, ...changed].map((candidate, n) => [candidate, [...ofMade, ...ofChanged][n]]));
  return candidates.map((candidate) => records.get(candidate) as CandidateRecord);
}

/** All of them new, or none. */
async function write(pool: Pool, alike: readonly Candidate[]): Promise<CandidateRecord[]> {
  const [first] = alike;
  if (first === undefined) return [];
  if (alike.length === 1 && first.isNew && first.maxUsers === undefined) {
    return answers(
      await pool.query<Answer>({ name: "record-one", text: RECORD_ONE, values: valuesOf(first).slice(0, 6) }),
    );
  }
  const statement = first.isNew
    ? { name: "record-new", text: RECORD_NEW }
    : { name: "record-changed", text: RECORD_CHANGED };
  const all = alike.map(valuesOf);
  const values = valuesOf(first).map((_, at) => all.map((of) => of[at]));
  return answers(await pool.query<Answer>({ ...statement, values }));
}

/** In the order of `seen`. */
function valuesOf({ uuid, objectUID, tenantID, email, namespace, name, maxUsers }: Candidate): unknown[] {
  return [uuid ?? null, objectUID, tenantID, email, namespace, name, maxUsers ?? null];
}

function answers({ rows }: { readonly rows: readonly Answer[] }): CandidateRecord[] {
  return rows.map((row) => ({
    inserted: row.inserted,
    touched: row.touched,
    heldBy: row.held_by ?? undefined,
    full: row.full,
  }));
}
