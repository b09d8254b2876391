/** What admission writes: one statement, one round trip. */
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
  /** Give it to learn whether the tenant is full. */
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

// A confirmed row of this object becomes due, unless it waits in backoff. An object without a row gets an unconfirmed one;
// it is nothing to claim until the reconciler has seen the object, so it has no due_at. Any other row is left alone: a POST
// of a name that exists comes by here with a fresh uid before the API server answers 409.
const RECORD = `
  with touched as (
    update user_provision_state
       set due_at = least(due_at, now()), touches = touches + 1
     where object_uid = $2 and confirmed_at is not null and voided_at is null and state not in ('deleted', 'orphaned')
       and (backoff_until is null or backoff_until <= now())
    returning 1
  ), inserted as (
    insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name)
    select $1, $3, $4, $2, $5, $6
     where $1::uuid is not null
       and not exists (select from user_provision_state where object_uid = $2 and voided_at is null)
    on conflict (sme_user_uuid) do nothing
    returning 1
  )
  select exists (select from touched) as touched,
         exists (select from inserted) as inserted,
         (select object_namespace || '/' || object_name from user_provision_state
           where sme_tenant_id = $3 and email = $4 and object_uid <> $2
             and confirmed_at is not null and voided_at is null and state not in ${GONE}
           limit 1) as held_by,
         case when $7::bigint is null then false
              else (select count(*) from (select from user_provision_state
                     where sme_tenant_id = $3 and object_uid <> $2
                       and confirmed_at is not null and voided_at is null and state not in ${GONE}
                     limit $7) as living) >= $7
         end as full`;

interface Answer {
  readonly touched: boolean;
  readonly inserted: boolean;
  readonly held_by: string | null;
  readonly full: boolean;
}

/** Throws pg's errors; the caller decides what they mean for the one who waits. */
export async function recordCandidate(pool: Pool, candidate: Candidate): Promise<CandidateRecord> {
  const { rows } = await pool.query<Answer>({
    name: "record-candidate",
    text: RECORD,
    values: [
      candidate.uuid ?? null,
      candidate.objectUID,
      candidate.tenantID,
      candidate.email,
      candidate.namespace,
      candidate.name,
      candidate.maxUsers ?? null,
    ],
  });
  const [row] = rows;
  if (row === undefined) throw new Error("the statement gave no row");
  return { inserted: row.inserted, touched: row.touched, heldBy: row.held_by ?? undefined, full: row.full };
}
