import type { Pool, PoolClient } from "pg";
import { candidateUUID, isUUIDv4 } from "../api/names.ts";
import { REASON, type Reason } from "../api/reasons.ts";
import { bindNew, bindTo } from "./boundRows.ts";
import { bindNewcomer } from "./newcomers.ts";
import { type RawRow, type Queryable, sagaRow } from "./sagas.ts";
import { inTransaction } from "./transaction.ts";
import { putWaiting } from "./waiting.ts";
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
 * (the database was lost). Serialised per tenant: one statement where there is nothing to choose, else one transaction.
 */
export async function bind(
  pool: Pool,
  applicant: Applicant,
  upstream: (pin: string) => Promise<string | undefined>,
): Promise<Binding> {
  const row = await bindNewcomer(pool, applicant);
  return row === undefined ? chooseAndBind(pool, applicant, upstream) : { kind: "bound", row, returned: false };
}

/** The same for whatever there is to choose, one look after the other. */
export async function chooseAndBind(
  pool: Pool,
  applicant: Applicant,
  upstream: (pin: string) => Promise<string | undefined>,
): Promise<Binding> {
  const carried = await carriedUpstream(pool, applicant, upstream);
  return inTransaction(pool, async (client) => {
    await lockTenant(client, applicant.tenantID);
    const binding = await choose(client, applicant, carried);
    if (binding.kind !== "bound") await putWaiting(client, applicant, binding.reason);
    return binding;
  });
}

/** Asked outside the transaction: a lock on a tenant must not wait for a neighbour. */
async function carriedUpstream(
  pool: Pool,
  applicant: Applicant,
  upstream: (pin: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  const { pin: pinned } = applicant;
  if (pinned === undefined || isUUIDv4(pinned)) return undefined;
  const known = await knownRows(pool, applicant);
  return known.some((row) => row.uuid === pinned) ? undefined : upstream(pinned);
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
    if (mine.state === "orphaned") return bindTo(client, applicant, mine);
    await client.query("delete from waiting where object_uid = $1", [applicant.uid]);
    return { kind: "bound", row: mine, returned: false };
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
  if (pinned?.kind === "fresh") return bindNew(client, applicant, applicant.pin as string);
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
  const row = await rowForUpdate(client, uuid);
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
    const row = await rowForUpdate(client, uuid);
    if (row === undefined) return bindNew(client, applicant, uuid);
    const free = !row.confirmed || row.voided || (row.email === applicant.email && !holds(row));
    if (free) return bindTo(client, applicant, row);
  }
}

/** The row, locked to the end of the transaction. */
export async function rowForUpdate(client: PoolClient, uuid: string): Promise<SagaRow | undefined> {
  const { rows } = await client.query<RawRow>({
    name: "one-for-update",
    text: "select * from user_provision_state where sme_user_uuid = $1 for update",
    values: [uuid],
  });
  return rows[0] === undefined ? undefined : sagaRow(rows[0]);
}
