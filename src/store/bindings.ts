import type { Pool, PoolClient } from "pg";
import { candidateUUID, isUUIDv4 } from "../api/names.ts";
import type { Reason } from "../api/reasons.ts";
import { REASON } from "../api/reasons.ts";
import { type RawRow, type Queryable, sagaRow } from "./sagas.ts";
import { inTransaction } from "./transaction.ts";
import type { SagaRow } from "../saga/row.ts";

/** An object that asks for a row. */
export interface Applicant {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: Date;
  readonly tenantID: string;
  /** Canonical. */
  readonly email: string;
  readonly pin: string | undefined;
  readonly maxUsers: number | undefined;
  readonly clusterID: string;
}

export type Binding =
  | { readonly kind: "bound"; readonly row: SagaRow; readonly returned: boolean }
  | { readonly kind: "waiting"; readonly reason: Reason; readonly message: string }
  | { readonly kind: "refused"; readonly reason: Reason; readonly message: string };

/**
 * Chooses the uuid of an object, once, and binds the row to it. First match: this object's row; the pin; a row of
 * (tenant, email) that no living object holds; the derived uuid, "/2", "/3" only past rows whose email is another by now.
 * `upstream` is asked only for a pin that nobody here knows: one that a user of this tenant carries there is its own
 * (the database was lost). One transaction, serialised per tenant.
 */
export async function bind(
  pool: Pool,
  applicant: Applicant,
  upstream: (pin: string) => Promise<string | undefined>,
): Promise<Binding> {
  // Outside the transaction: a lock on a tenant must not wait for a neighbour.
  const known = await knownRows(pool, applicant);
  const { pin: pinned } = applicant;
  const carried =
    pinned !== undefined && !isUUIDv4(pinned) && !known.some((row) => row.uuid === pinned)
      ? await upstream(pinned)
      : undefined;
  return inTransaction(pool, async (client) => {
    await lockTenant(client, applicant.tenantID);
    const binding = await choose(client, applicant, carried);
    if (binding.kind === "bound") await client.query("delete from waiting where object_uid = $1", [applicant.uid]);
    else await putWaiting(client, applicant, binding.reason);
    return binding;
  });
}

export async function lockTenant(client: PoolClient, tenantID: string): Promise<void> {
  await client.query({
    name: "lock-tenant",
    text: "select pg_advisory_xact_lock(hashtextextended($1, 77))",
    values: [tenantID],
  });
}

async function knownRows(db: Queryable, applicant: Applicant): Promise<SagaRow[]> {
  const { rows } = await db.query<RawRow>({
    name: "known-rows",
    text: `select * from user_provision_state
           where (object_uid = $1 or (sme_tenant_id = $2 and email = $3)) and confirmed_at is not null`,
    values: [applicant.uid, applicant.tenantID, applicant.email],
  });
  return rows.map(sagaRow);
}

async function choose(client: PoolClient, applicant: Applicant, carried: string | undefined): Promise<Binding> {
  const known = await knownRows(client, applicant);
  const mine = known.find((row) => row.objectUID === applicant.uid);
  if (mine !== undefined) {
    if (applicant.pin !== undefined && applicant.pin !== mine.uuid) return notYours(applicant.pin);
    return mine.state === "orphaned" ? bindTo(client, applicant, mine) : { kind: "bound", row: mine, returned: false };
  }
  const holder = known.find(holds);
  if (holder !== undefined) {
    const where = holder.namespace === applicant.namespace ? "" : ` in namespace ${holder.namespace ?? "?"}`;
    return {
      kind: "waiting",
      reason: REASON.EmailInUse,
      message: `${applicant.email} belongs to TenantUser ${holder.name ?? "?"}${where}; this one takes its place when that one is deleted or changes its email.`,
    };
  }
  const pinned = applicant.pin === undefined ? undefined : await pin(client, applicant, applicant.pin, carried);
  if (pinned?.kind === "refused") return pinned;
  const full = await quotaFull(client, applicant);
  if (full !== undefined) return full;
  if (pinned?.kind === "row") return bindTo(client, applicant, pinned.row);
  if (pinned?.kind === "fresh") return insert(client, applicant, applicant.pin as string);
  const free = known.toSorted((a, b) => rank(a) - rank(b))[0];
  if (free !== undefined) return bindTo(client, applicant, free);
  return derived(client, applicant);
}

/** A confirmed row whose object lives, or is still being undone under it. */
export function holds(row: SagaRow): boolean {
  if (!row.confirmed || row.voided) return false;
  if (row.state === "deleted" || row.state === "retained" || row.state === "orphaned") return false;
  return row.deleting?.released !== true;
}

/** Rows that nobody holds: one that still has its accounts before one that has not. */
function rank(row: SagaRow): number {
  const order = ["deleting", "orphaned", "retained", "deleted"];
  return order.indexOf(row.state);
}

async function pin(
  client: PoolClient,
  applicant: Applicant,
  uuid: string,
  carried: string | undefined,
): Promise<{ kind: "row"; row: SagaRow } | { kind: "fresh" } | (Binding & { kind: "refused" })> {
  const row = await one(client, uuid);
  if (row === undefined || !row.confirmed) {
    // An unconfirmed row holds nothing: admission wrote it for this or another object that was never seen.
    // One that a user of this tenant carries upstream is the tenant's own, though the database was lost.
    const own = uuid === carried || uuid === candidateUUID(applicant.tenantID, applicant.email);
    return own || isUUIDv4(uuid) ? (row === undefined ? { kind: "fresh" } : { kind: "row", row }) : notYours(uuid);
  }
  if (row.tenantID !== applicant.tenantID || holds(row)) return notYours(uuid);
  return { kind: "row", row };
}

function notYours(uuid: string): Binding & { kind: "refused" } {
  return {
    kind: "refused",
    reason: REASON.UUIDNotYours,
    message: `spec.userUUID ${uuid} is not free for this person; remove it, or pin a uuid that this tenant owns and nobody uses, or a fresh version-4 one.`,
  };
}

async function quotaFull(client: PoolClient, applicant: Applicant): Promise<Binding | undefined> {
  if (applicant.maxUsers === undefined) return undefined;
  const { rows } = await client.query<{ living: string; older: string }>({
    name: "quota",
    text: `select
      (select count(*) from user_provision_state where sme_tenant_id = $1 and confirmed_at is not null and voided_at is null
         and state not in ('deleting', 'deleted', 'retained', 'orphaned')) as living,
      (select count(*) from waiting where tenant = $1 and why = $2 and object_uid <> $3
         and (created_at, object_uid) < ($4, $3)) as older`,
    values: [applicant.tenantID, REASON.QuotaFull, applicant.uid, applicant.createdAt],
  });
  const living = Number(rows[0]?.living ?? 0);
  const older = Number(rows[0]?.older ?? 0);
  if (living + older < applicant.maxUsers) return undefined;
  return {
    kind: "waiting",
    reason: REASON.QuotaFull,
    message: `This tenant has its ${applicant.maxUsers} users; delete one, or ask the platform to raise limits.maxUsers.`,
  };
}

/** The uuid from tenant and email; a plain one that is somebody else's by now is passed over. */
async function derived(client: PoolClient, applicant: Applicant): Promise<Binding> {
  for (let n = 1; ; n += 1) {
    const uuid = candidateUUID(applicant.tenantID, applicant.email, n === 1 ? undefined : n);
    const row = await one(client, uuid);
    if (row === undefined) return insert(client, applicant, uuid);
    const free = !row.confirmed || row.voided || (row.email === applicant.email && !holds(row));
    if (free) return bindTo(client, applicant, row);
  }
}

async function one(client: PoolClient, uuid: string): Promise<SagaRow | undefined> {
  const { rows } = await client.query<RawRow>({
    name: "one-for-update",
    text: "select * from user_provision_state where sme_user_uuid = $1 for update",
    values: [uuid],
  });
  return rows[0] === undefined ? undefined : sagaRow(rows[0]);
}

async function insert(client: PoolClient, applicant: Applicant, uuid: string): Promise<Binding> {
  await voidCandidates(client, applicant, uuid);
  const { rows } = await client.query<RawRow>({
    name: "insert-bound",
    text: `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, cluster_id, object_uid,
             object_namespace, object_name, object_created_at, confirmed_at, due_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, now(), now()) returning *`,
    values: [
      uuid,
      applicant.tenantID,
      applicant.email,
      applicant.clusterID,
      applicant.uid,
      applicant.namespace,
      applicant.name,
      applicant.createdAt,
    ],
  });
  return { kind: "bound", row: sagaRow(rows[0] as RawRow), returned: false };
}

/**
 * Gives a row to the object. A row with a past begins a run that finds what is there and mends what is not; after a
 * finished deletion the accounts are new or enabled again, and the key that was let go of is never handed out again.
 */
async function bindTo(client: PoolClient, applicant: Applicant, row: SagaRow): Promise<Binding> {
  await voidCandidates(client, applicant, row.uuid);
  const past = row.confirmed && !row.voided;
  const ended = row.state === "deleted";
  const purged = ended || (row.deleting?.undone.includes("keycloak") ?? false);
  const { rows } = await client.query<RawRow>({
    name: "bind-row",
    text: `update user_provision_state set
        email = $3, sme_tenant_id = $2, cluster_id = $4, object_uid = $5, object_namespace = $6, object_name = $7,
        object_created_at = $8, confirmed_at = now(), voided_at = null, due_at = now(), backoff_until = null,
        blocked_on = null, retry_count = 0, failed_since = null, deleting = null, touches = touches + 1,
        version = version + 1, lease_owner = null, lease_until = null, updated_at = now(),
        run = $9, handled = null, reached = case when $10 then 'pending' else reached end,
        state = case when $10 then 'pending' else reached end,
        kc_user_id = case when $10 then null else kc_user_id end,
        adopted = case when $10 then false else adopted end,
        invited_kc_user_id = case when $10 then null else invited_kc_user_id end,
        rotation = case when $11 then jsonb_build_object('toGeneration', key_generation) else rotation end
      where sme_user_uuid = $1 returning *`,
    values: [
      row.uuid,
      applicant.tenantID,
      applicant.email,
      applicant.clusterID,
      applicant.uid,
      applicant.namespace,
      applicant.name,
      applicant.createdAt,
      past ? JSON.stringify({ reason: "recovered", generation: -1, step: "keycloak", attempt: 0, done: false }) : null,
      purged,
      ended && row.newapiUserID !== undefined,
    ],
  });
  return { kind: "bound", row: sagaRow(rows[0] as RawRow), returned: past };
}

/** Candidates that admission wrote for this object under another uuid hold nothing and never will. */
async function voidCandidates(client: PoolClient, applicant: Applicant, chosen: string): Promise<void> {
  await client.query({
    name: "void-candidates",
    text: `update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
           where object_uid = $1 and sme_user_uuid <> $2 and confirmed_at is null and voided_at is null`,
    values: [applicant.uid, chosen],
  });
}

/** Notes that this object waits, for whom and why. */
async function putWaiting(client: PoolClient, applicant: Applicant, why: Reason): Promise<void> {
  await client.query({
    name: "put-waiting",
    text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
           values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (object_uid) do update set namespace = excluded.namespace, name = excluded.name,
             tenant = excluded.tenant, email = excluded.email, why = excluded.why`,
    values: [
      applicant.uid,
      applicant.namespace,
      applicant.name,
      applicant.tenantID,
      applicant.email,
      applicant.createdAt,
      why,
    ],
  });
}

/**
 * The row of a living object takes a new address. It waits while another living object holds that address; two that
 * want each other's would wait for ever, which is refused naming both. Fenced by the row's version; undefined: somebody
 * else works on the row by now.
 */
export async function moveEmail(pool: Pool, row: SagaRow, email: string): Promise<Binding | undefined> {
  return inTransaction(pool, async (client) => {
    await lockTenant(client, row.tenantID);
    const binding = await takeEmail(client, row, email);
    return binding;
  });
}

async function takeEmail(client: PoolClient, row: SagaRow, email: string): Promise<Binding | undefined> {
  const fence = await client.query({
    name: "fence-row",
    text: "select 1 from user_provision_state where sme_user_uuid = $1 and version = $2 for update",
    values: [row.uuid, row.version],
  });
  if (fence.rowCount === 0) return undefined;
  const { rows } = await client.query<RawRow>({
    name: "rows-of-email",
    text: `select * from user_provision_state where sme_tenant_id = $1 and email = $2 and confirmed_at is not null`,
    values: [row.tenantID, email],
  });
  const holder = rows.map(sagaRow).find((other) => other.uuid !== row.uuid && holds(other));
  if (holder === undefined) {
    const moved = await client.query<RawRow>({
      name: "move-email",
      text: "update user_provision_state set email = $2, updated_at = now() where sme_user_uuid = $1 returning *",
      values: [row.uuid, email],
    });
    await client.query("delete from waiting where object_uid = $1", [row.objectUID]);
    return { kind: "bound", row: sagaRow(moved.rows[0] as RawRow), returned: false };
  }
  await client.query({
    name: "wait-for-email",
    text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
           select object_uid, object_namespace, object_name, sme_tenant_id, $2, object_created_at, $3
           from user_provision_state where sme_user_uuid = $1
           on conflict (object_uid) do update set email = excluded.email, why = excluded.why`,
    values: [row.uuid, email, REASON.EmailInUse],
  });
  const cycle = await client.query({
    name: "email-cycle",
    text: "select 1 from waiting where object_uid = $1 and email = $2",
    values: [holder.objectUID, row.email],
  });
  if ((cycle.rowCount ?? 0) > 0) {
    await tellBoth(client, row.objectUID, holder.objectUID);
    return {
      kind: "refused",
      reason: REASON.EmailCycle,
      message: `${row.name ?? "?"} and ${holder.name ?? "?"} want each other's email; give one of them a third address first.`,
    };
  }
  return {
    kind: "waiting",
    reason: REASON.EmailInUse,
    message: `${email} belongs to TenantUser ${holder.name ?? "?"}; the change follows when that one is deleted or changes its email.`,
  };
}

/** A cycle has two ends: the other one, which waited so far, looks again, once, and is told the same. */
async function tellBoth(client: PoolClient, mine: string | undefined, other: string | undefined): Promise<void> {
  await client.query({
    name: "tell-both",
    text: `with told as (
             update waiting set why = $3 where object_uid = any(array[$1, $2]::uuid[]) and why <> $3 returning object_uid
           )
           update user_provision_state set due_at = now(), touches = touches + 1
           where object_uid = $2 and object_uid in (select object_uid from told) and confirmed_at is not null`,
    values: [mine, other, REASON.EmailCycle],
  });
}

/** Who waits for an email of this tenant, oldest first, without the object that holds it. */
export interface Waiter {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: Date;
}

interface RawWaiter {
  object_uid: string;
  namespace: string;
  name: string;
  created_at: Date;
}

const waiter = (raw: RawWaiter): Waiter => ({
  uid: raw.object_uid,
  namespace: raw.namespace,
  name: raw.name,
  createdAt: raw.created_at,
});

/** The one who would take over; objects that have a row of their own (an email change) do not. */
export async function firstWaiter(db: Queryable, tenantID: string, email: string): Promise<Waiter | undefined> {
  const { rows } = await db.query<RawWaiter>({
    name: "first-waiter",
    text: `select w.* from waiting w where w.tenant = $1 and w.email = $2 and w.why = $3
             and not exists (select 1 from user_provision_state s
                             where s.object_uid = w.object_uid and s.confirmed_at is not null)
           order by w.created_at, w.object_uid limit 1`,
    values: [tenantID, email, REASON.EmailInUse],
  });
  return rows[0] === undefined ? undefined : waiter(rows[0]);
}

/** Those who may go on when something of this tenant was released; all of them when `tenantID` is undefined. */
export async function listWaiting(db: Queryable, tenantID: string | undefined): Promise<Waiter[]> {
  const { rows } = await db.query<RawWaiter>({
    name: "list-waiting",
    text: "select * from waiting where $1::text is null or tenant = $1 or tenant is null order by created_at, object_uid",
    values: [tenantID ?? null],
  });
  return rows.map(waiter);
}

/** Notes an object in a namespace that no Tenant claims. */
export async function waitForTenant(db: Queryable, object: Waiter & { readonly email: string }): Promise<void> {
  await db.query({
    name: "wait-for-tenant",
    text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
           values ($1, $2, $3, null, $4, $5, $6)
           on conflict (object_uid) do update set tenant = null, email = excluded.email, why = excluded.why`,
    values: [object.uid, object.namespace, object.name, object.email, object.createdAt, REASON.NoTenant],
  });
}

/** The object is gone, or going, without ever having had a row: nothing of it stays. */
export async function forgetApplicant(db: Queryable, uid: string): Promise<void> {
  await db.query({
    name: "forget-applicant",
    text: `with gone as (delete from waiting where object_uid = $1)
           update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
           where object_uid = $1 and confirmed_at is null and voided_at is null`,
    values: [uid],
  });
}

/**
 * The deleted holder gives its saga to the waiter: same uuid, ids and key. Fenced like a record; false: the lease is
 * lost. What the step keycloak and secret find to differ for the new object, they correct.
 */
export async function handOver(
  pool: Pool,
  claim: { readonly row: SagaRow; readonly owner: number },
  to: Waiter,
): Promise<boolean> {
  return inTransaction(pool, async (client) => {
    await lockTenant(client, claim.row.tenantID);
    const purged = claim.row.deleting?.undone.includes("keycloak") ?? false;
    // The object that goes has no row from here on: whoever waits is looked at again, and so it is let go.
    await client.query({
      name: "wait-for-release",
      text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
             select object_uid, object_namespace, object_name, sme_tenant_id, email, coalesce(object_created_at, now()), $4
             from user_provision_state
             where sme_user_uuid = $1 and lease_owner = $2 and version = $3 and object_uid is not null
             on conflict (object_uid) do update set why = excluded.why`,
      values: [claim.row.uuid, claim.owner, claim.row.version, REASON.Deleting],
    });
    const moved = await client.query({
      name: "hand-over",
      text: `update user_provision_state set object_uid = $4, object_namespace = $5, object_name = $6, object_created_at = $7,
               deleting = null, run = $8, handled = null, state = case when $9 then 'pending' else reached end,
               reached = case when $9 then 'pending' else reached end,
               adopted = adopted and not $9,
               kc_user_id = case when $9 then null else kc_user_id end,
               retry_count = 0, backoff_until = null, blocked_on = null, lease_owner = null, lease_until = null,
               due_at = now(), version = version + 1, updated_at = now()
             where sme_user_uuid = $1 and lease_owner = $2 and version = $3`,
      values: [
        claim.row.uuid,
        claim.owner,
        claim.row.version,
        to.uid,
        to.namespace,
        to.name,
        to.createdAt,
        JSON.stringify({ reason: "handover", generation: -1, step: "keycloak", attempt: 0, done: false }),
        purged,
      ],
    });
    const given = (moved.rowCount ?? 0) > 0;
    // Without the saga it waits on.
    if (given) await client.query("delete from waiting where object_uid = $1", [to.uid]);
    return given;
  });
}

/**
 * The database was lost, and the person's account carries another uuid of this tenant than the one chosen anew: the row
 * takes it over, while it knows no upstream id. Fenced like a record. False: a living object holds that uuid, or the
 * lease is lost.
 */
export async function takeOver(
  pool: Pool,
  claim: { readonly row: SagaRow; readonly owner: number },
  uuid: string,
): Promise<boolean> {
  return inTransaction(pool, async (client) => {
    await lockTenant(client, claim.row.tenantID);
    const other = await one(client, uuid);
    if (other !== undefined) {
      if (other.confirmed && (other.tenantID !== claim.row.tenantID || holds(other))) return false;
      // What stood under that uuid had ended, or was never seen; the audit keeps what it did.
      await client.query("delete from user_provision_state where sme_user_uuid = $1", [uuid]);
    }
    const moved = await client.query({
      name: "take-over",
      text: `update user_provision_state set sme_user_uuid = $4, run = null, backoff_until = null, blocked_on = null,
               lease_owner = null, lease_until = null, due_at = now(), version = version + 1, updated_at = now()
             where sme_user_uuid = $1 and lease_owner = $2 and version = $3 and kc_user_id is null`,
      values: [claim.row.uuid, claim.owner, claim.row.version, uuid],
    });
    if (moved.rowCount === 0) throw new TakeOverLost();
    return true;
  }).catch((error: unknown) => {
    if (error instanceof TakeOverLost) return false;
    throw error;
  });
}

/** Undoes the transaction: the lease is somebody else's. */
class TakeOverLost extends Error {}
