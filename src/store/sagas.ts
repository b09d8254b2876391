import type { Pool, PoolClient, QueryConfig } from "pg";
import type { SagaRow } from "../saga/row.ts";
import { type RawRow, sagaRow } from "./columns.ts";

/** Anything that runs a statement: the pool, or the client of an open transaction. */
export type Queryable = Pick<Pool | PoolClient, "query">;

/** The rows of a statement that gives all columns of some. */
export async function sagaRows(db: Queryable, statement: QueryConfig): Promise<SagaRow[]> {
  const { rows } = await db.query<RawRow>(statement);
  return rows.map(sagaRow);
}

/** How many rows a statement has written. */
export async function written(db: Queryable, statement: QueryConfig): Promise<number> {
  const { rowCount } = await db.query(statement);
  return rowCount ?? 0;
}

/** One row, or undefined. */
export async function loadSaga(db: Queryable, uuid: string): Promise<SagaRow | undefined> {
  const [row] = await sagaRows(db, {
    name: "load-saga",
    text: "select * from user_provision_state where sme_user_uuid = $1",
    values: [uuid],
  });
  return row;
}
