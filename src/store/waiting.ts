import type { PoolClient, QueryConfig } from "pg";
import { REASON, type Reason } from "../api/reasons.ts";
import type { BindRequest } from "./bindRequest.ts";
import type { Queryable } from "./sagas.ts";

/** Who waits for an email of this tenant, oldest first, without the object that holds it. */
export interface PendingUser {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: Date;
}

/** The columns of one who waits. */
const PENDING_USER = `object_uid as uid, namespace, name, created_at as "createdAt"`;

async function pendingUsers(db: Queryable, statement: QueryConfig): Promise<PendingUser[]> {
  const { rows } = await db.query<PendingUser>(statement);
  return rows;
}

/** The one who would take over; objects that have a row of their own (an email change) do not. */
export async function firstPendingUser(
  db: Queryable,
  tenantID: string,
  email: string,
): Promise<PendingUser | undefined> {
  const [first] = await pendingUsers(db, {
    name: "first-pending-user",
    text: `select ${PENDING_USER} from waiting w where w.tenant = $1 and w.email = $2 and w.why = $3
             and not exists (select 1 from user_provision_state s
                             where s.object_uid = w.object_uid and s.confirmed_at is not null)
           order by w.created_at, w.object_uid limit 1`,
    values: [tenantID, email, REASON.EmailInUse],
  });
  return first;
}

/** What objects of one tenant have given up: addresses, uuids; and objects that are to be released. */
export interface Released {
  readonly emails: readonly string[];
  readonly uuids: readonly string[];
  readonly objectUIDs: readonly string[];
}

/** Where somebody stands among those who wait: oldest first. */
export type Rank = Pick<PendingUser, "createdAt" | "uid">;

const ELIGIBLE = `why in ('${REASON.EmailInUse}', '${REASON.EmailCycle}')`;

/** The first who waits for each of these, and no more of them: one step along an index each. Oldest first. */
export async function firstPending(
  db: Queryable,
  tenantID: string,
  released: Released,
): Promise<(PendingUser & { /** Set where the email is what it waits for. */ readonly email: string | undefined })[]> {
  const { rows } = await db.query<PendingUser & { email: string | undefined }>({
    name: "first-pending",
    text: `select distinct on (created_at, object_uid) ${PENDING_USER}, case when ${ELIGIBLE} then email end as email from (
             select w.* from unnest($2::text[]) as freed (email) cross join lateral (
               select * from waiting where tenant = $1 and email = freed.email and ${ELIGIBLE}
               order by created_at, object_uid limit 1) w
             union all
             select w.* from unnest($3::uuid[]) as freed (uuid) cross join lateral (
               select * from waiting where tenant = $1 and pin = freed.uuid and why = '${REASON.UUIDNotYours}'
               order by created_at, object_uid limit 1) w
             union all
             select * from waiting where object_uid = any($4::uuid[]) and tenant = $1 and why = '${REASON.Deleting}'
           ) w order by created_at, object_uid`,
    values: [tenantID, released.emails, released.uuids, released.objectUIDs],
  });
  return rows.map(({ email, ...first }) => ({ ...first, email: email ?? undefined }));
}

/** The next who waits for this address, after one who did not take it. */
export async function nextPending(
  db: Queryable,
  tenantID: string,
  email: string,
  after: Rank,
): Promise<PendingUser | undefined> {
  const [next] = await pendingUsers(db, {
    name: "next-pending",
    text: `select ${PENDING_USER} from waiting where tenant = $1 and email = $2 and ${ELIGIBLE} and (created_at, object_uid) > ($3, $4)
           order by created_at, object_uid limit 1`,
    values: [tenantID, email, after.createdAt, after.uid],
  });
  return next;
}

/** The next of those who wait for a place, oldest first: as many as there are free places, and at most `limit`. */
export async function pendingForPlaces(
  db: Queryable,
  of: { readonly tenantID: string; readonly maxUsers: number | undefined; readonly limit: number },
  after: Rank | undefined,
): Promise<PendingUser[]> {
  return pendingUsers(db, {
    name: "pending-for-places",
    text: `select ${PENDING_USER} from waiting
           where tenant = $1 and why = '${REASON.QuotaFull}'
             and (created_at, object_uid) > (coalesce($4, '-infinity'::timestamptz), coalesce($5, '00000000-0000-0000-0000-000000000000'::uuid))
           order by created_at, object_uid
           limit case when $2::bigint is null then $3::bigint
             else greatest(0, least($3::bigint, $2::bigint - living_accounts($1, null))) end`,
    values: [of.tenantID, of.maxUsers ?? null, of.limit, after?.createdAt ?? null, after?.uid ?? null],
  });
}

/** Those in these namespaces whose waiting began under another Tenant, or for what a Tenant can change; a page of them. */
export async function pendingInNamespaces(
  db: Queryable,
  of: { readonly namespaces: readonly string[]; readonly tenantID: string | undefined; readonly limit: number },
  after: string | undefined,
): Promise<PendingUser[]> {
  return pendingUsers(db, {
    name: "pending-in-namespaces",
    text: `select ${PENDING_USER} from waiting
           where namespace = any($1::text[]) and object_uid > coalesce($3, '00000000-0000-0000-0000-000000000000'::uuid)
             and (tenant is distinct from $2 or why not in ('${REASON.EmailInUse}', '${REASON.QuotaFull}'))
           order by object_uid limit $4`,
    values: [of.namespaces, of.tenantID ?? null, after ?? null, of.limit],
  });
}

/** One who waits, as a sweep reads it. */
export interface Pending extends PendingUser {
  readonly tenantID: string | undefined;
  readonly email: string;
  readonly why: string;
  /** Nobody holds what it waits for any more. */
  readonly free: boolean;
}

/**
 * The next few of each tenant's, after the one that was read last (by tenant; "" is those without one): a lost call is
 * found by reading pages in turn, and however many of a tenant wait, the others' are as near.
 */
export async function pendingPages(
  db: Queryable,
  after: ReadonlyMap<string, string>,
  limit: number,
): Promise<Pending[]> {
  const { rows } = await db.query<Omit<Pending, "tenantID"> & { readonly tenantID: string | null }>({
    name: "pending-pages",
    text: `with recursive tenants as (
             (select coalesce(tenant, '') as id from waiting order by tenant limit 1)
             union all
             select (select w.tenant from waiting w where w.tenant > tenants.id order by w.tenant limit 1)
             from tenants where tenants.id is not null
           ), page as (
             select w.* from (select id from tenants where id <> '') t
             left join unnest($1::text[], $2::uuid[]) as read (id, after) on read.id = t.id
             cross join lateral (
               select * from waiting where tenant = t.id
                 and object_uid > coalesce(read.after, '00000000-0000-0000-0000-000000000000'::uuid)
               order by object_uid limit $3) w
             union all
             (select * from waiting where tenant is null and object_uid > coalesce(
               (select after from unnest($1::text[], $2::uuid[]) as read (id, after) where id = ''),
               '00000000-0000-0000-0000-000000000000'::uuid) order by object_uid limit $3)
           )
           select ${PENDING_USER}, tenant as "tenantID", email, why, ${ELIGIBLE} and not exists (
               select from user_provision_state s
               where s.sme_tenant_id = page.tenant and s.email = page.email and s.confirmed_at is not null and s.voided_at is null
                 and s.state not in ('deleted', 'retained', 'orphaned')
                 and coalesce(s.deleting->>'released', 'false') <> 'true') as free
           from page order by tenant, object_uid`,
    values: [[...after.keys()], [...after.values()], limit],
  });
  return rows.map(({ tenantID, ...pending }) => ({ ...pending, tenantID: tenantID ?? undefined }));
}

/** Its status says why it waits: until it changes, or what it waits for is released, nobody needs to poll it. */
export async function notePendingTold(db: Queryable, uid: string, generation: number): Promise<void> {
  await db.query({
    name: "note-pending-told",
    text: "update waiting set told = $2 where object_uid = $1 and told is distinct from $2",
    values: [uid, generation],
  });
}

/** Which of these objects wait as they are, and have been told so. */
export async function stillPending(
  db: Queryable,
  seen: readonly { readonly uid: string; readonly generation: number }[],
): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ object_uid: string }>({
    name: "still-pending",
    text: `select w.object_uid from unnest($1::uuid[], $2::bigint[]) as seen (uid, generation)
           join waiting w on w.object_uid = seen.uid and w.told = seen.generation
             and w.why in ('${REASON.EmailInUse}', '${REASON.QuotaFull}', '${REASON.NoTenant}', '${REASON.UUIDNotYours}')`,
    values: [seen.map(({ uid }) => uid), seen.map(({ generation }) => generation)],
  });
  return new Set(rows.map((row) => row.object_uid));
}

/** Those who wait and were not in a list of all objects: perhaps gone. */
export async function pendingNotListed(db: Queryable, uids: readonly string[]): Promise<PendingUser[]> {
  return pendingUsers(db, {
    name: "pending-not-listed",
    text: `select ${PENDING_USER} from waiting w
           where not exists (select from unnest($1::uuid[]) as listed (uid) where listed.uid = w.object_uid)`,
    values: [uids],
  });
}

/** Notes an object in a namespace that no Tenant claims. */
export async function waitForTenant(db: Queryable, object: PendingUser & { readonly email: string }): Promise<void> {
  await db.query({
    name: "wait-for-tenant",
    text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
           values ($1, $2, $3, null, $4, $5, $6)
           on conflict (object_uid) do update set tenant = null, email = excluded.email, why = excluded.why`,
    values: [object.uid, object.namespace, object.name, object.email, object.createdAt, REASON.NoTenant],
  });
}

/** The object is gone, or going, without ever having had a row: nothing of it stays. */
export async function forgetBindRequest(db: Queryable, uid: string): Promise<void> {
  await db.query({
    name: "forget-bind-request",
    text: `with gone as (delete from waiting where object_uid = $1)
           update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
           where object_uid = $1 and coalesce(confirmed_at, voided_at) is null`,
    values: [uid],
  });
}

/** Notes that this object waits, for whom and why. */
export async function putWaiting(client: PoolClient, bindRequest: BindRequest, why: Reason): Promise<void> {
  await client.query({
    name: "put-waiting",
    text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why, pin)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (object_uid) do update set namespace = excluded.namespace, name = excluded.name,
             tenant = excluded.tenant, email = excluded.email, why = excluded.why, pin = excluded.pin`,
    values: [
      bindRequest.uid,
      bindRequest.namespace,
      bindRequest.name,
      bindRequest.tenantID,
      bindRequest.email,
      bindRequest.createdAt,
      why,
      bindRequest.pin ?? null,
    ],
  });
}
