import type { Pool, PoolClient } from "pg";
import { candidateUUID, isUUIDv4 } from "../api/names.ts";
import { REASON } from "../api/reasons.ts";
import { otherUser } from "../saga/otherUser.ts";
import type { SagaRow } from "../saga/row.ts";
import { holds } from "../saga/transitions.ts";
import type { BindRequest, Binding } from "./bindRequest.ts";
import { bindNew, bindTo, evict } from "./boundRows.ts";
import { lockRow } from "./changes.ts";
import { bindNewUser } from "./newUsers.ts";
import { type Queryable, sagaRows } from "./sagas.ts";
import { inTransaction } from "./transaction.ts";
import { firstPendingUser, putWaiting } from "./waiting.ts";

export type { BindRequest, Binding, HeldBack } from "./bindRequest.ts";

/** The pin, where a user of the tenant is known to carry it upstream. At once: a promise would be somebody's wait. */
export type Carried = (pin: string) => string | undefined;

/**
 * Chooses the uuid of an object, once, and binds the row to it. First match: this object's row; the pin; a row of
 * (tenant, email) that no living object holds; the derived uuid, "/2", "/3" only past rows whose email is another by now.
 * `carried` tells what is known of a pin that nobody here knows: one that a user of this tenant carries upstream is its
 * own (the database was lost). It asks nobody, so that no worker of the intake ever waits for an upstream. Serialised per
 * tenant: one statement where there is nothing to choose, else one transaction.
 */
export async function bind(pool: Pool, bindRequest: BindRequest, carried: Carried): Promise<Binding> {
  const row = await bindNewUser(pool, bindRequest);
  return row === undefined ? chooseAndBind(pool, bindRequest, carried) : { kind: "bound", row, returned: false };
}

/** The same for whatever there is to choose, one query after the other. */
export async function chooseAndBind(pool: Pool, bindRequest: BindRequest, carried: Carried): Promise<Binding> {
  const own = await carriedUpstream(pool, bindRequest, carried);
  return inTransaction(pool, async (client) => {
    const now = await lockTenant(client, bindRequest.tenantID);
    const binding = await choose(client, bindRequest, own, now);
    if (binding.kind !== "bound") await putWaiting(client, bindRequest, binding.reason);
    return binding;
  });
}

async function carriedUpstream(pool: Pool, bindRequest: BindRequest, carried: Carried): Promise<string | undefined> {
  const { pin: pinned } = bindRequest;
  if (pinned === undefined || isUUIDv4(pinned)) return undefined;
  const known = await knownRows(pool, bindRequest);
  return known.some((row) => row.uuid === pinned) ? undefined : carried(pinned);
}

/** Whatever binds or passes on a row of the tenant comes after the others. Answers the time of the database's clock. */
export async function lockTenant(client: PoolClient, tenantID: string): Promise<Date> {
  const { rows } = await client.query<{ now: Date }>({
    name: "lock-tenant",
    text: "select now() as now from pg_advisory_xact_lock(hashtextextended($1, 77))",
    values: [tenantID],
  });
  return (rows[0] as { now: Date }).now;
}

/**
 * Of all rows that an address ever had, which may be any number: those that somebody holds, then the others as they are chosen,
 * and no more of them than are looked at.
 */
export const HOLDERS_FIRST = `
  order by array_position(array['deleting', 'orphaned', 'retained', 'deleted'], state) nulls first,
    coalesce(deleting->>'released', 'false') = 'true', updated_at desc limit 20`;

async function knownRows(db: Queryable, bindRequest: BindRequest): Promise<SagaRow[]> {
  return sagaRows(db, {
    name: "known-rows",
    text: `(select * from user_provision_state where object_uid = $1 and confirmed_at is not null)
           union all
           (select * from user_provision_state where sme_tenant_id = $2 and email = $3 and confirmed_at is not null
            ${HOLDERS_FIRST})`,
    values: [bindRequest.uid, bindRequest.tenantID, bindRequest.email],
  });
}

async function choose(
  client: PoolClient,
  bindRequest: BindRequest,
  carried: string | undefined,
  now: Date,
): Promise<Binding> {
  const known = await knownRows(client, bindRequest);
  const mine = known.find((row) => row.objectUID === bindRequest.uid);
  if (mine !== undefined) {
    if (bindRequest.pin !== undefined && bindRequest.pin !== mine.uuid) return notYours(bindRequest.pin);
    // A new address is moved to as any other, once the row is bound again: somebody else may have it.
    if (mine.state === "orphaned") return bindTo(client, { ...bindRequest, email: mine.email }, mine, now);
    await client.query("delete from waiting where object_uid = $1", [bindRequest.uid]);
    return { kind: "bound", row: mine, returned: false };
  }
  const holder = known.find(holds);
  if (holder !== undefined) {
    if (await comesForLeaver(client, bindRequest, holder)) return full(bindRequest);
    return {
      kind: "waiting",
      reason: REASON.EmailInUse,
      message: `${bindRequest.email} belongs to ${otherUser(bindRequest.namespace, holder)}; this one takes its place when that one is deleted or changes its email.`,
    };
  }
  const pinned =
    bindRequest.pin === undefined ? undefined : await pin(client, bindRequest, bindRequest.pin, carried, now);
  if (pinned?.kind === "refused") return pinned;
  const free = known.toSorted((a, b) => rank(a) - rank(b))[0];
  const chosen = pinned === undefined ? free : pinned.kind === "row" ? pinned.row : undefined;
  if (chosen === undefined || !takesPlace(chosen)) {
    const refused = await quotaFull(client, bindRequest);
    if (refused !== undefined) return refused;
  }
  if (chosen !== undefined) return bindTo(client, bindRequest, chosen, now);
  return pinned === undefined
    ? derived(client, bindRequest, now)
    : bindNew(client, bindRequest, bindRequest.pin as string, now);
}

function takesPlace({ confirmed, voided, state }: SagaRow): boolean {
  return confirmed && !voided && state !== "deleting" && state !== "deleted";
}

/** Rows that nobody holds: one that still has its accounts before one that has not. */
function rank(row: SagaRow): number {
  const order = ["deleting", "orphaned", "retained", "deleted"];
  return order.indexOf(row.state);
}

async function pin(
  client: PoolClient,
  bindRequest: BindRequest,
  uuid: string,
  carried: string | undefined,
  now: Date,
): Promise<{ kind: "row"; row: SagaRow } | { kind: "fresh" } | (Binding & { kind: "refused" })> {
  const row = (await lockRow(client, uuid))?.row;
  if (row === undefined || !row.confirmed) {
    // An unconfirmed row holds nothing: admission wrote it for this or another object that was never seen.
    // One that a user of this tenant carries upstream is the tenant's own, though the database was lost.
    const own = uuid === carried || uuid === candidateUUID(bindRequest.tenantID, bindRequest.email);
    return own || isUUIDv4(uuid) ? (row === undefined ? { kind: "fresh" } : { kind: "row", row }) : notYours(uuid);
  }
  if (await evict(client, row, bindRequest, now)) return { kind: "fresh" };
  if (row.tenantID !== bindRequest.tenantID || holds(row)) return notYours(uuid);
  // An adopted account keeps its own email, and was never made for anybody else.
  if (row.adopted && row.email !== bindRequest.email) return notYours(uuid);
  return { kind: "row", row };
}

function notYours(uuid: string): Binding & { kind: "refused" } {
  return {
    kind: "refused",
    reason: REASON.UUIDNotYours,
    message: `spec.userUUID ${uuid} is not free for this person; remove it, or pin a uuid that this tenant owns and nobody uses, or a fresh version-4 one.`,
  };
}

async function quotaFull(client: PoolClient, bindRequest: BindRequest): Promise<Binding | undefined> {
  if (bindRequest.maxUsers === undefined) return undefined;
  const { rows } = await client.query<{ living: string; older: string }>({
    name: "quota",
    text: `select living_accounts($1, $3) as living,
      (select count(*) from waiting where tenant = $1 and why = $2 and object_uid <> $3
         and (created_at, object_uid) < ($4, $3)) as older`,
    values: [bindRequest.tenantID, REASON.QuotaFull, bindRequest.uid, bindRequest.createdAt],
  });
  const living = Number(rows[0]?.living ?? 0);
  const older = Number(rows[0]?.older ?? 0);
  if (living + older < bindRequest.maxUsers) return undefined;
  return full(bindRequest);
}

/**
 * Whoever waits for somebody who is going takes over that account with its place. One who came only when the place was given
 * up, and taken by another, takes over nothing.
 */
async function comesForLeaver(client: PoolClient, bindRequest: BindRequest, holder: SagaRow): Promise<boolean> {
  if (bindRequest.maxUsers === undefined || holder.state !== "deleting" || holder.deletionPolicy === "Retain")
    return false;
  // Somebody waits already, it or another: the place is still the account's.
  if ((await firstPendingUser(client, bindRequest.tenantID, bindRequest.email)) !== undefined) return false;
  const { rows } = await client.query<{ living: string }>({
    name: "living",
    text: "select living_accounts($1, null) as living",
    values: [bindRequest.tenantID],
  });
  return Number(rows[0]?.living ?? 0) >= bindRequest.maxUsers;
}

function full({ maxUsers }: BindRequest): Binding {
  return {
    kind: "waiting",
    reason: REASON.QuotaFull,
    message: `This tenant has its ${maxUsers} users; delete one, or ask the platform to raise limits.maxUsers.`,
  };
}

/** The uuid from tenant and email; a plain one that is somebody else's by now is passed over. */
async function derived(client: PoolClient, bindRequest: BindRequest, now: Date): Promise<Binding> {
  for (let n = 1; ; n += 1) {
    const uuid = candidateUUID(bindRequest.tenantID, bindRequest.email, n === 1 ? undefined : n);
    const row = (await lockRow(client, uuid))?.row;
    if (row === undefined) return bindNew(client, bindRequest, uuid, now);
    if (row.confirmed && (await evict(client, row, bindRequest, now))) {
      return bindNew(client, bindRequest, uuid, now);
    }
    const free = !row.confirmed || row.voided || (row.email === bindRequest.email && !holds(row));
    if (free) return bindTo(client, bindRequest, row, now);
  }
}
