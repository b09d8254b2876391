import { Client } from "pg";
import { randomInt } from "node:crypto";
import { WORKER_LOCKS } from "./claims.ts";

/** One worker process's own connection: as long as it lives, the leases of `owner` are alive. */
export interface WorkerSession {
  readonly owner: number;
  /** Aborted when the connection is lost: whatever was under way under these leases must stop. */
  readonly lost: AbortSignal;
  close(): Promise<void>;
}

/** Opens the session and takes its advisory lock. Throws when Postgres cannot be reached. */
export async function openWorkerSession(url: string, applicationName: string): Promise<WorkerSession> {
  const client = new Client({
    connectionString: url,
    application_name: applicationName,
    keepAlive: true,
    connectionTimeoutMillis: 5000,
  });
  const lost = new AbortController();
  const end = (): void => lost.abort(new Error("the worker's connection to Postgres is lost"));
  client.on("error", end);
  client.on("end", end);
  await client.connect();
  const owner = randomInt(1, 2 ** 31 - 1);
  await client.query("select pg_advisory_lock($1, $2)", [WORKER_LOCKS, owner]);
  return {
    owner,
    lost: lost.signal,
    close: async () => {
      await client.end().catch(() => undefined);
    },
  };
}
