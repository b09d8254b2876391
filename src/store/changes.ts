/** How a row is changed by anybody but the worker that has claimed it: locked, and written as a pure function says. */
import type { Pool, PoolClient } from "pg";
import type { RowPatch, SagaRow } from "../saga/row.ts";
import { columnsOf, type RawRow, sagaRow } from "./columns.ts";
import { type Queryable, sagaRows } from "./sagas.ts";
import { inTransaction } from "./transaction.ts";
import { jsonb } from "./values.ts";

/**
 * `keep`: whoever has claimed the row continues, and leaves it due. `fence`: they can record nothing more, and nobody else
 * claims the row before their call under way has ended. `end`: they have lost it, and nothing of theirs is under way.
 */
export type LeaseEffect = "keep" | "fence" | "end";

const LEASE: Readonly<Record<LeaseEffect, string>> = {
  keep: "touches = s.touches + 1",
  fence: "touches = s.touches + 1, version = s.version + 1",
  end: "touches = s.touches + 1, version = s.version + 1, lease_owner = null, lease_until = null",
};

/** A locked row, as the database sees it. */
export interface Locked {
  readonly row: SagaRow;
  /** Of the database's clock. */
  readonly now: Date;
  readonly isLeased: boolean;
}

export interface Change {
  readonly patch: RowPatch;
  readonly lease: LeaseEffect;
}

/** The change of a row whose lease, if there is one, stays. */
export function kept(patch: RowPatch | undefined): Change | undefined {
  return patch === undefined ? undefined : { patch, lease: "keep" };
}

/** So many rows are locked at once. */
const AT_ONCE = 500;

/** Which rows: a condition on `s`, and its parameters from $1 on. */
export interface Which {
  /** What the statements are called. */
  readonly name: string;
  readonly condition: string;
  readonly values: readonly unknown[];
}

/**
 * Changes each of these rows as `transition` says, which gives undefined where nothing is to be done. Where there are none,
 * which is nearly always, it is one statement. Answers the rows that were changed, as they are now.
 */
export async function changeRows(
  pool: Pool,
  which: Which,
  transition: (locked: Locked) => Change | undefined,
): Promise<SagaRow[]> {
  const { rows } = await pool.query<{ uuid: string }>({
    name: `${which.name}-found`,
    text: `select s.sme_user_uuid as uuid from user_provision_state s where ${which.condition}`,
    values: [...which.values],
  });
  // In one order, so that two who change the same rows never wait for each other.
  const uuids = rows.map(({ uuid }) => uuid).toSorted();
  const changed: SagaRow[] = [];
  for (let from = 0; from < uuids.length; from += AT_ONCE) {
    const some = uuids.slice(from, from + AT_ONCE);
    changed.push(...(await inTransaction(pool, (client) => changeSome(client, which, some, transition))));
  }
  return changed;
}

async function changeSome(
  client: PoolClient,
  { name, condition, values }: Which,
  uuids: readonly string[],
  transition: (locked: Locked) => Change | undefined,
): Promise<SagaRow[]> {
  const locked = await lockRows(client, {
    name: `${name}-locked`,
    condition: `s.sme_user_uuid = any($${values.length + 1}::uuid[]) and (${condition})`,
    values: [...values, uuids],
  });
  const changes = locked.flatMap((each) => {
    const change = transition(each);
    return change === undefined ? [] : [{ uuid: each.row.uuid, ...change }];
  });
  const alike = Map.groupBy(changes, ({ patch, lease }) => [lease, ...Object.keys(patch)].join());
  const changed: SagaRow[] = [];
  for (const some of alike.values()) changed.push(...(await writeAlike(client, name, some)));
  return changed;
}

/** These rows, locked to the end of the transaction. */
export async function lockRows(client: PoolClient, { name, condition, values }: Which): Promise<Locked[]> {
  const { rows } = await client.query<RawRow>({
    name,
    text: `select s.*, now() as database_now from user_provision_state s where ${condition}
           order by s.sme_user_uuid for update`,
    values: [...values],
  });
  return rows.map((raw) => ({
    row: sagaRow(raw),
    now: raw["database_now"] as Date,
    isLeased: raw["lease_owner"] !== null,
  }));
}

/** One row, locked to the end of the transaction. */
export async function lockRow(client: PoolClient, uuid: string): Promise<Locked | undefined> {
  const [locked] = await lockRows(client, {
    name: "one-for-update",
    condition: "s.sme_user_uuid = $1",
    values: [uuid],
  });
  return locked;
}

/** Writes a row that is locked. `name` says in the database's journal what was done. */
export async function writeRow(client: PoolClient, name: string, uuid: string, change: Change): Promise<SagaRow> {
  const [row] = await writeAlike(client, name, [{ uuid, ...change }]);
  if (row === undefined) throw new Error("a locked row is gone");
  return row;
}

/** All patches have the same fields. */
async function writeAlike(
  client: PoolClient,
  name: string,
  changes: readonly (Change & { readonly uuid: string })[],
): Promise<SagaRow[]> {
  const [first] = changes;
  if (first === undefined) return [];
  const set = Object.keys(columnsOf(first.patch)).map((column) => `${column} = p.${column}`);
  return sagaRows(client, {
    text: `/* ${name} */ update user_provision_state s
           set ${[...set, LEASE[first.lease]].join(", ")}, updated_at = now()
           from jsonb_array_elements($1::jsonb) as e (change)
           cross join lateral jsonb_populate_record(null::user_provision_state, e.change->'columns') as p
           where s.sme_user_uuid = (e.change->>'uuid')::uuid returning s.*`,
    values: [jsonb(changes.map(({ uuid, patch }) => ({ uuid, columns: columnsOf(patch) })))],
  });
}

/** Makes a row. */
export async function insertRow(db: Queryable, name: string, patch: RowPatch): Promise<SagaRow> {
  const columns = Object.keys(columnsOf(patch)).join(", ");
  const { rows } = await db.query<RawRow>({
    text: `/* ${name} */ insert into user_provision_state (${columns})
           select ${columns} from jsonb_populate_record(null::user_provision_state, $1::jsonb) returning *`,
    values: [jsonb(columnsOf(patch))],
  });
  return sagaRow(rows[0] as RawRow);
}
