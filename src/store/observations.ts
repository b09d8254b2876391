/** What the watch of TenantUsers saw. */
import type { Pool } from "pg";
import { isUUID } from "../api/names.ts";
import { orphanedElsewhere, seenDeleted } from "../saga/transitions.ts";
import { changeRows, kept } from "./changes.ts";
import { type Queryable, written } from "./sagas.ts";
import { sparingTheRest } from "./values.ts";

/** One object as the watch saw it. */
export interface ObservedObject {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly deleting: boolean;
  /** As `mark` makes them of the annotations: short and plain, or a hash. */
  readonly requestedAt: string | undefined;
  readonly rotateRequestedAt: string | undefined;
}

/**
 * Makes the row of this object due now, whatever it was waiting for. False: no confirmed row has this uid. A touch during
 * a claim is not lost: the record of that claim sees it.
 */
export async function touchObject(db: Queryable, uid: string): Promise<boolean> {
  return (
    (await written(db, {
      name: "touch-object",
      text: `update user_provision_state set due_at = now(), backoff_until = null, touches = touches + 1
           where object_uid = $1 and confirmed_at is not null and voided_at is null and state <> 'orphaned'`,
      values: [uid],
    })) > 0
  );
}

export interface ListOutcome {
  /** Objects that have no confirmed row: to be bound. */
  readonly unbound: readonly ObservedObject[];
  /** Living rows of this cluster whose object was not in the list. Not deleted: to be checked one by one. */
  readonly missing: readonly (Pick<ObservedObject, "uid" | "namespace" | "name"> & { readonly uuid: string })[];
}

/**
 * Compares a whole list of objects with the rows: makes due what has moved while nobody watched, and names what has no
 * row and what has no object. One that no statement takes is given to `skipped`, and the others are not.
 */
export async function compareList(
  db: Queryable,
  clusterID: string,
  seen: readonly ObservedObject[],
  skipped: (object: ObservedObject, error: unknown) => void = ignore,
): Promise<ListOutcome> {
  // What the API server names otherwise can be no row's object.
  const named = seen.filter(({ uid }) => isUUID(uid.toLowerCase()));
  const uids = named.map((object) => object.uid);
  await sparingTheRest(named, (some) => touchMoved(db, some), skipped);
  const known = await db.query<{ object_uid: string }>(
    `select object_uid from user_provision_state
     where object_uid = any($1::uuid[]) and confirmed_at is not null and voided_at is null and state <> 'orphaned'`,
    [uids],
  );
  const withRow = new Set(known.rows.map((row) => row.object_uid));
  const missing = await db.query<ListOutcome["missing"][number]>(
    `select sme_user_uuid as uuid, object_namespace as namespace, object_name as name, object_uid as uid
     from user_provision_state
     where cluster_id = $1 and confirmed_at is not null and voided_at is null and object_uid is not null
       and deleting is null and state not in ('deleted', 'retained', 'orphaned') and object_uid <> all($2::uuid[])`,
    [clusterID, uids],
  );
  return {
    unbound: named.filter((object) => !withRow.has(object.uid)),
    missing: missing.rows,
  };
}

/**
 * Texts that tenants wrote are bound, and only compared: a row is blocked on its object's generation, the Tenant's revision and
 * the two requests, parted by what stands in none of them.
 */
async function touchMoved(db: Queryable, seen: readonly ObservedObject[]): Promise<void> {
  await db.query({
    name: "touch-moved",
    text: `update user_provision_state s set due_at = now(), touches = touches + 1
           from unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::text[], $5::text[])
             as o (uid, generation, deleting, requested_at, rotate_requested_at)
           where s.object_uid = o.uid and s.confirmed_at is not null and s.voided_at is null and s.due_at is null
             and s.state <> 'orphaned'
             and (o.deleting or (s.blocked_on is null and (s.handled is null
                  or (s.handled->>'generation')::bigint <> o.generation
                  or coalesce(s.handled->>'requestedAt', '') <> coalesce(o.requested_at, '')
                  or coalesce(s.handled->>'rotateRequestedAt', '') <> coalesce(o.rotate_requested_at, '')))
                  or split_part(s.blocked_on, '|', 1) <> o.generation::text
                  or split_part(s.blocked_on, '|', 3) <> coalesce(o.requested_at, '')
                  or split_part(s.blocked_on, '|', 4) <> coalesce(o.rotate_requested_at, ''))`,
    values: [
      seen.map((object) => object.uid),
      seen.map((object) => object.generation),
      seen.map((object) => object.deleting),
      seen.map((object) => object.requestedAt ?? null),
      seen.map((object) => object.rotateRequestedAt ?? null),
    ],
  });
}

function ignore(): void {}

/** Rows of other clusters than this one, while their objects are not here: orphans until the objects come back. */
export async function orphanForeignRows(pool: Pool, clusterID: string): Promise<number> {
  const foreign = {
    name: "orphan-foreign",
    condition: `s.cluster_id <> $1 and s.confirmed_at is not null and s.voided_at is null
                and s.state not in ('deleted', 'retained', 'orphaned')`,
    values: [clusterID],
  };
  const orphaned = await changeRows(pool, foreign, () => ({ patch: orphanedElsewhere(), lease: "end" }));
  return orphaned.length;
}

/**
 * The deletion of this object was seen (a DELETED event on a live watch, then 404, under a living CRD) although it was
 * never held. Undefined: its row is going or gone already.
 */
export async function markSeenDeleted(
  pool: Pool,
  uid: string,
  clusterID: string,
  graceMs: number,
  /** Of those whose accounts were to stay; undefined: they may. */
  withheldMs?: number,
): Promise<{ readonly uuid: string; readonly tenantID: string; readonly email: string } | undefined> {
  const itsRow = {
    name: "mark-seen-deleted",
    condition: `s.object_uid = $1 and s.cluster_id = $2 and s.confirmed_at is not null and s.deleting is null
                and s.state not in ('deleted', 'retained', 'orphaned')`,
    values: [uid, clusterID],
  };
  const [marked] = await changeRows(pool, itsRow, ({ row, now }) =>
    kept(seenDeleted(row, { graceMs, withheldMs }, now)),
  );
  return marked === undefined ? undefined : { uuid: marked.uuid, tenantID: marked.tenantID, email: marked.email };
}

/** Voids candidates whose object was not seen within two minutes of its admission. */
export async function voidUnconfirmed(db: Queryable): Promise<number> {
  return written(db, {
    name: "void-unconfirmed",
    text: `update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
           where confirmed_at is null and voided_at is null and created_at < now() - interval '2 minutes'`,
  });
}
