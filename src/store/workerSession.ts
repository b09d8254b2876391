import { Client } from "pg";
import { randomInt } from "node:crypto";
import { WORKER_LOCKS } from "./claims.ts";
import { connectionConfig, type PoolOptions } from "./pool.ts";

/** A worker whose host vanished without a word is noticed within half a minute, not after the system's two hours. */
const NOTICE_SILENCE = "set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3";

/** One worker process's own connection: as long as it lives, the leases of `owner` are alive. */
export interface WorkerSession {
  readonly owner: number;
  /** Aborted when the connection is lost: whatever was under way under these leases must stop. */
  readonly lost: AbortSignal;
  /** It is known to be lost before its connection says so. */
  abandon(): void;
  close(): Promise<void>;
}

/** Opens the session and takes its advisory lock. Throws when Postgres cannot be reached. */
export async function openWorkerSession(url: PoolOptions["url"], applicationName: string): Promise<WorkerSession> {
  const client = new Client({
    // With its time-outs: a server that is silent while the lock is taken must not stop the engine for ever.
    ...connectionConfig({ url, applicationName }),
  });
  const lost = new AbortController();
  const end = (): void => lost.abort(new Error("the worker's connection to Postgres is lost"));
  client.on("error", end);
  client.on("end", end);
  const owner = randomInt(1, 2 ** 31 - 1);
  try {
    await client.connect();
    await client.query(NOTICE_SILENCE);
    await client.query("select pg_advisory_lock($1, $2)", [WORKER_LOCKS, owner]);
  } catch (error) {
    void client.end().catch(() => undefined);
    throw error;
  }
  return {
    owner,
    lost: lost.signal,
    abandon: () => {
      end();
      void client.end().catch(() => undefined);
    },
    close: async () => {
      await client.end().catch(() => undefined);
    },
  };
}
