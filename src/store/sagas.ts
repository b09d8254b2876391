import type { Pool, PoolClient } from "pg";
import type { SagaRow } from "../saga/row.ts";
import { type RawRow, sagaRow } from "./columns.ts";

/** Anything that runs a statement: the pool, or the client of an open transaction. */
export type Queryable = Pick<Pool | PoolClient, "query">;

/** One row, or undefined. */
export async function loadSaga(db: Queryable, uuid: string): Promise<SagaRow | undefined> {
  const { rows } = await db.query<RawRow>({
    name: "load-saga",
    text: "select * from user_provision_state where sme_user_uuid = $1",
    values: [uuid],
  });
  return rows[0] === undefined ? undefined : sagaRow(rows[0]);
}
