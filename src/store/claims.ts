import type { Pool } from "pg";
import { REASON } from "../api/reasons.ts";
import type { UserEvent } from "../api/userEvent.ts";
import { patched, type RowPatch, type SagaRow } from "../saga/row.ts";
import { rechecked, undoneAgain } from "../saga/transitions.ts";
import { type AuditEntry, auditInsert, auditValue } from "./audit.ts";
import { leavingRing } from "./emailRing.ts";
import { eventsInsert, eventsValue } from "./outbox.ts";
import { changeRows, kept } from "./changes.ts";
import { assignments, type RawRow, sagaRow } from "./columns.ts";
import type { Queryable } from "./sagas.ts";
import { jsonb } from "./values.ts";

/** A lease outlives the deadline of every call made under it (10 s), so that two never act at once. */
export const LEASE_SECONDS = 30;

/** First key of the advisory locks that worker sessions hold; the second is the lease owner's number. */
export const WORKER_LOCKS = 0x75726261;

export interface Claim {
  readonly row: SagaRow;
  readonly owner: number;
}

/** How many rows of each tenant this worker holds. */
export type InFlight = ReadonlyMap<string, number>;

/**
 * Claims up to `limit` due rows, fair across tenants: one of each tenant before a second of any, and none beyond
 * `mostPerTenant` with those that it holds, so that one tenant's slow upstream never takes every worker. A lease whose owner's
 * advisory lock is free is dead at once. One statement; rows that others are claiming are skipped.
 */
export async function claimDue(
  db: Queryable,
  owner: number,
  limit: number,
  inFlight: InFlight = new Map(),
  mostPerTenant = limit,
): Promise<Claim[]> {
  const { rows } = await db.query<RawRow>({
    name: "claim-due",
    text: CLAIM_DUE,
    values: [owner, limit, LEASE_SECONDS, WORKER_LOCKS, [...inFlight.keys()], [...inFlight.values()], mostPerTenant],
  });
  return rows.map((raw) => ({ row: sagaRow(raw), owner }));
}

/** A lease is alive while its owner's session holds its lock. */
function livingOwners(locks: string): string {
  return `select objid::bigint as owner from pg_locks
    where locktype = 'advisory' and classid = ${locks}::bigint::oid and objsubid = 2 and granted
      and database = (select oid from pg_database where datname = current_database())`;
}

/** The owners whose sessions live, in no order. */
export async function livingWorkers(db: Queryable): Promise<number[]> {
  const { rows } = await db.query<{ owner: number | string }>({
    name: "living-workers",
    text: livingOwners("$1"),
    values: [WORKER_LOCKS],
  });
  return rows.map(({ owner }) => Number(owner));
}

// The recursive part walks from tenant to tenant along the index of due rows: rows at rest are never read. The lock
// finds each chosen row by its key; `coalesce` keeps the planner from reading all that are due once more for it, for at
// rest, when it learned its numbers, none were.
const CLAIM_DUE = `
with recursive tenant as (
  (select sme_tenant_id from user_provision_state where due_at is not null order by sme_tenant_id limit 1)
  union all
  select (select s.sme_tenant_id from user_provision_state s
          where s.due_at is not null and s.sme_tenant_id > tenant.sme_tenant_id
          order by s.sme_tenant_id limit 1)
  from tenant where tenant.sme_tenant_id is not null
), living as (
  ${livingOwners("$4")}
), busy as (
  select * from unnest($5::text[], $6::int[]) as b (tenant_id, n)
), due as (
  select d.sme_user_uuid, d.turn, d.due_at
  from tenant left join busy on busy.tenant_id = tenant.sme_tenant_id cross join lateral (
    select s.sme_user_uuid, s.due_at, row_number() over (order by s.due_at) as turn
    from (
      select i.sme_user_uuid, i.due_at from user_provision_state i
      where i.sme_tenant_id = tenant.sme_tenant_id and i.due_at <= now()
        and (i.lease_until is null or i.lease_until < now()
             or not exists (select 1 from living where living.owner = i.lease_owner))
      order by i.due_at limit least($2, greatest(0, $7::int - coalesce(busy.n, 0)))
    ) s
  ) d
  where tenant.sme_tenant_id is not null
  order by d.turn + coalesce(busy.n, 0), d.due_at limit $2
), locked as (
  select l.sme_user_uuid from due cross join lateral (
    select s.sme_user_uuid from user_provision_state s
    where s.sme_user_uuid = due.sme_user_uuid and coalesce(s.due_at <= now(), false)
      and (s.lease_until is null or s.lease_until < now()
           or not exists (select 1 from living where living.owner = s.lease_owner))
    for update skip locked
  ) l
)
update user_provision_state s
set lease_owner = $1, lease_until = now() + make_interval(secs => $3), version = s.version + 1
from locked where s.sme_user_uuid = locked.sme_user_uuid
returning s.*`;

/**
 * Ends this owner's leases on all rows but those that it still holds: the claims whose answer was lost, and those that were given up
 * when Postgres failed under them. Their rows are due at once; otherwise they would wait until the lease runs out.
 */
export async function giveBackLost(db: Queryable, owner: number, inFlight: readonly string[]): Promise<void> {
  await db.query({
    name: "give-back-lost",
    text: `update user_provision_state set lease_owner = null, lease_until = null, version = version + 1
           where lease_owner = $1 and due_at is not null and sme_user_uuid <> all($2::uuid[])`,
    values: [owner, inFlight],
  });
}

/**
 * Milliseconds from now to when the next row may be claimed, negative for one that waits already; undefined when none
 * is due. A row that somebody living holds counts from the end of its lease. However many are due, one step along the
 * index finds the first that is free; only when all that are due now are held, those few are read.
 */
export async function earliestDueMs(db: Queryable): Promise<number | undefined> {
  const { rows } = await db.query<{ ms: number | null }>({
    name: "earliest-due",
    text: EARLIEST_DUE,
    values: [WORKER_LOCKS],
  });
  return rows[0]?.ms ?? undefined;
}

const EARLIEST_DUE = `
with living as materialized (${livingOwners("$1")}), free as (
  select min(due_at) as due_at from (
    select s.due_at from user_provision_state s
    where s.due_at is not null
      and (s.lease_until is null or s.lease_until < now()
           or not exists (select 1 from living where living.owner = s.lease_owner))
    order by s.due_at limit 1
  ) first
)
select extract(epoch from case
  when free.due_at <= now() then free.due_at
  else least(free.due_at, (select min(s.lease_until) from user_provision_state s where s.due_at <= now()))
end - now())::float8 * 1000 as ms
from free`;

/**
 * A worker that had lost these rows may have done something outside since: who is finished is rechecked from the first
 * step on, and who was undone is undone once more. Answers those whose undoing is under way: to be asked again.
 */
export async function lookAfterLate(pool: Pool, uuids: readonly string[]): Promise<readonly string[]> {
  const held: string[] = [];
  const late = { name: "recheck-late", condition: "s.sme_user_uuid = any($1::uuid[])", values: [uuids] };
  await changeRows(pool, late, ({ row, now, isLeased }) => {
    if (row.state === "deleted" && !isLeased) return { patch: undoneAgain(row, now), lease: "end" };
    const isUndone = row.state === "deleted" || (row.state === "deleting" && row.deleting?.again !== true);
    if (isUndone && isLeased) held.push(row.uuid);
    return kept(rechecked(row, "keycloak", undefined, now));
  });
  return held;
}

export interface Recording {
  readonly patch: RowPatch;
  /** `keep`: the claim continues. Otherwise it ends, and the row is due again at `dueAt`, or idle (null). */
  readonly lease: "keep" | { readonly dueAt: Date | null };
  readonly audit: readonly AuditEntry[];
  readonly events: readonly UserEvent[];
  /** The trace that the events belong to. */
  readonly traceparent?: string | undefined;
}

/** Something was changed outside while the run continued, and not by the run itself. */
const PENDING = "(recheck is not null and (recheck->>'version') is distinct from secret_version)";

/**
 * Records an outcome, fenced by owner and version, with its audit rows and events: one statement, one round trip.
 * Undefined: the lease is lost; the audit is kept, for what was written outside was written, whoever has the row by now,
 * and the caller stops quietly. A touch that came after the claim keeps the row due.
 */
export async function record(db: Queryable, claim: Claim, recording: Recording): Promise<Recorded | undefined> {
  const { patch, lease, audit, events, traceparent } = recording;
  const { clauses, values } = assignments(patch, 5);
  if (patch.cause === null) {
    // What was asked for since the claim is not finished.
    const at = Object.keys(patch).indexOf("cause");
    clauses[at] = `cause = nullif(cause, $${5 + at}::jsonb)`;
    values[at] = claim.row.cause === undefined ? null : jsonb(claim.row.cause);
  }
  const finished = lease !== "keep" && patch.run === null ? patch.handled?.generation : undefined;
  if (finished !== undefined) {
    // Another run follows for what was changed outside during this one.
    const at = Object.keys(patch).indexOf("run");
    clauses[at] = `recheck = null, run = case when ${PENDING} then
        jsonb_build_object('reason', 'drift', 'generation', $${6 + values.length}::bigint, 'step', recheck->>'step', 'attempt', 0, 'done', false)
        else $${5 + at}::jsonb end`;
  }
  if (lease !== "keep") {
    // Whoever touched the row meanwhile wants it polled now, whatever this claim has to wait for.
    const pause = clauses.findIndex((clause) => clause.startsWith("backoff_until = "));
    if (pause >= 0) {
      clauses[pause] = `backoff_until = case when touches > $4 then null else $${5 + pause}::timestamptz end`;
    }
  }
  const leaseClauses =
    lease === "keep"
      ? ["lease_until = now() + make_interval(secs => $4)"]
      : [
          `lease_owner = null, lease_until = null, due_at = case when touches > $4${
            finished === undefined ? "" : ` or ${PENDING}`
          } then now() else $${5 + values.length}::timestamptz end`,
        ];
  const all = [
    claim.row.uuid,
    claim.owner,
    claim.row.version,
    lease === "keep" ? LEASE_SECONDS : claim.row.touches,
    ...values,
    ...(lease === "keep" ? [] : [lease.dueAt]),
    ...(finished === undefined ? [] : [finished]),
  ];
  const parts = [
    `recorded as (
       update user_provision_state set ${[...clauses, ...leaseClauses].join(", ")}, version = version + 1, updated_at = now()
       where sme_user_uuid = $1 and lease_owner = $2 and version = $3
       returning object_uid, version, deleting, deletion_policy)`,
    ...(audit.length === 0 ? [] : [`told as (${auditInsert(`$${all.push(auditValue(audit))}`)})`]),
    ...(events.length === 0
      ? []
      : [
          `sent as (${eventsInsert(`$${all.push(eventsValue(events))}`, `$${all.push(traceparent ?? null)}`, "where exists (select from recorded)")})`,
        ]),
    // Who is done waits for no other email any more, though it may have wanted one for a while.
    ...(events.length === 0 || patch.state !== "done" ? [] : [WAITS_NO_MORE]),
  ];
  const text = `with ${parts.join(", ")} select version, deleting, deletion_policy as "deletionPolicy" from recorded`;
  const { rows } = await db.query<RawRecorded>({ name: statementName(text), text, values: all });
  const [raw] = rows;
  return raw && { ...raw, version: Number(raw.version), deleting: raw.deleting ?? undefined };
}

/**
 * What a record tells of a row beside its own patch: the version, and the deletion that others may have seen under the
 * lease. Whatever else they touched since the claim counts as unseen until the next claim.
 */
export type Recorded = Pick<SagaRow, "version" | "deleting" | "deletionPolicy">;

interface RawRecorded extends Pick<SagaRow, "deletionPolicy"> {
  readonly version: number | string;
  readonly deleting: SagaRow["deleting"] | null;
}

/** The claim as it continues after a record. */
export function afterRecord({ owner, row }: Claim, patch: RowPatch, recorded: Recorded): Claim {
  return { owner, row: { ...patched(row, patch), ...recorded } };
}

/** Which columns are set differs from outcome to outcome, and there are some dozens: each is planned once a connection. */
function statementName(text: string): string {
  const known = statementNames.get(text);
  if (known !== undefined) return known;
  const name = `record-${statementNames.size + 1}`;
  statementNames.set(text, name);
  return name;
}
const statementNames = new Map<string, string>();

const WAITS_NO_MORE = `
  gone as (delete from waiting where object_uid = (select object_uid from recorded) returning tenant, object_uid, why),
  left_ring as (
    ${leavingRing({ tenant: `(select tenant from gone where why = '${REASON.EmailCycle}')`, mine: "(select object_uid from gone)" })})`;
