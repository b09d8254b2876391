import type { Pool, PoolClient } from "pg";

/** Runs `work` in one transaction on one connection: all of it is kept, or, when it throws, nothing. */
export async function inTransaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    const result = await work(client);
    await client.query("commit");
    client.release();
    return result;
  } catch (error) {
    // Closed, not given back: it may be the very thing that broke, and a server that is silent would be waited for once
    // more by a rollback, and again by everybody who gets the connection after us. The server rolls back by itself.
    client.release(true);
    throw error;
  }
}
