/** Connections to Postgres: one pool for each kind of work, so that a slow sweep never takes the webhook's connections. */
import pg from "pg";
import { storableValues } from "./values.ts";
import { pause } from "../lib/clock.ts";

export type Pool = pg.Pool;

export interface PoolOptions {
  /** postgres://user:password@host:port/database?sslmode=...; a function is asked for each new connection. */
  readonly url: string | (() => string);
  readonly max: number;
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
  /** How long to wait for a connection, be it a free one of the pool or a new one. */
  readonly connectionTimeoutMs?: number;
  /** The server gives up a statement after this; the client does a little later, should the server be silent. */
  readonly statementTimeoutMs?: number;
  /** How long a statement waits for a row that another session has locked. */
  readonly lockTimeoutMs?: number;
  readonly idleInTransactionTimeoutMs?: number;
  /** A connection unused for so long is closed. 0: never. */
  readonly idleTimeoutMs?: number;
  /** An idle connection broke. The next statement gets a new one; this is for the log. */
  readonly onIdleError?: (error: Error) => void;
}

const INT8 = 20;
/** The client's patience beyond the server's own time-out: covers a server that hangs or a network that swallows. */
const SILENCE_MS = 250;

/** bigint columns arrive as numbers; one that a number cannot hold is an error, never a wrong value. */
function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint out of range: ${text}`);
  return value;
}

/** Parsers of this pool alone: pg's own table of parsers is global, and others may use pg in this process. */
const types = {
  getTypeParser: (oid: number, format?: "text" | "binary") =>
    oid === INT8 && format !== "binary" ? parseInt8 : pg.types.getTypeParser(oid, format),
};

function urlOf({ url }: Pick<PoolOptions, "url">): string {
  return typeof url === "string" ? url : url();
}

/** A pool makes its clients of what it was made with: a password that changes would never arrive. */
function clientOf(url: () => string) {
  return class extends pg.Client {
    constructor(config: pg.ClientConfig) {
      super({ ...config, connectionString: url() });
    }
  };
}

/** What every connection of ours has in common; also for the few that live outside a pool (LISTEN, migrate). */
export function connectionConfig(options: Omit<PoolOptions, "max" | "idleTimeoutMs" | "onIdleError">): pg.ClientConfig {
  const statement = options.statementTimeoutMs ?? 10_000;
  return {
    connectionString: urlOf(options),
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectionTimeoutMs ?? 5_000,
    statement_timeout: statement,
    query_timeout: statement === 0 ? 0 : statement + SILENCE_MS,
    ...(options.lockTimeoutMs === undefined ? {} : { lock_timeout: options.lockTimeoutMs }),
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs ?? 30_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types,
  };
}

/**
 * Opens nothing yet: the first statement connects. A statement that fails closes its connection, so none is ever
 * reused in a state that nobody knows. Never throws by itself while idle.
 */
export function makePool(options: PoolOptions): Pool {
  const { url } = options;
  const fresh = typeof url === "string" ? {} : { Client: clientOf(url) as unknown as new () => pg.ClientBase };
  const pool = new pg.Pool({
    ...connectionConfig(options),
    ...fresh,
    max: options.max,
    idleTimeoutMillis: options.idleTimeoutMs ?? 60_000,
  });
  // Without a listener an idle disconnect ends the process.
  pool.on("error", (error) => options.onIdleError?.(error));
  // The same holds for a connection in use. Whoever uses it learns of it by its next statement, so: nothing to do.
  pool.on("connect", (client) => {
    client.on("error", ignore);
    sendStorable(client);
  });
  return pool;
}

/** How long a process waits that could not open its first connections. */
const WARM_AGAIN_MS = 1_000;

/** No statement of this connection fails by a text that Postgres cannot hold. */
function sendStorable(client: pg.PoolClient): void {
  const send = client.query.bind(client) as (...args: unknown[]) => unknown;
  const query = (statement: unknown, values: unknown, ...rest: unknown[]): unknown => {
    const [first, second] = [withStorable(statement), Array.isArray(values) ? storableValues(values) : values];
    return send(first, second, ...rest);
  };
  Object.assign(client, { query });
}

function withStorable(statement: unknown): unknown {
  if (typeof statement !== "object" || statement === null || !("values" in statement)) return statement;
  // One that sends itself (a cursor, a stream) is none of ours.
  if ("submit" in statement || !Array.isArray(statement.values)) return statement;
  return { ...statement, values: storableValues(statement.values) };
}

/**
 * Opens connections before anybody needs them, for whoever has no time to wait for one, and tries again until they are open
 * or the signal aborts. Never throws.
 */
export async function warm(pool: Pool, connections: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const opened = await Promise.allSettled(Array.from({ length: connections }, () => pool.connect()));
    for (const attempt of opened) if (attempt.status === "fulfilled") attempt.value.release();
    if (opened.every(({ status }) => status === "fulfilled")) return;
    await pause(WARM_AGAIN_MS, signal);
  }
}

function ignore(): void {}
