/** Brings the database to the schema that this program knows. Any number of replicas may start at once. */
import { createHash } from "node:crypto";
import pg from "pg";
import { listShipped, readShipped } from "../lib/shipped.ts";
import { connectionConfig } from "./pool.ts";
import { type DatabaseRoles, grants, missingRoles } from "./roles.ts";

export interface Migration {
  readonly number: number;
  /** File name, e.g. 0001_tables.sql. */
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the text with LF line ends, so that a checkout on another system has the same. */
  readonly checksum: string;
}

/** The database and this program do not belong together, or a migration failed. One sentence says which. */
export class MigrationError extends Error {
  override readonly name = "MigrationError";
}

export interface MigrateOptions {
  readonly url: string;
  readonly applicationName?: string;
  /** Who gets which rights afterwards; absent: nobody, for all connect as the owner. */
  readonly roles?: DatabaseRoles | undefined;
  /** Default: those that this program ships. */
  readonly migrations?: readonly Migration[];
}

/** A lock number of our own; one key (64 bit) never meets the two-key locks of the workers. */
const LOCK = 7_266_220_601;

const FOLDER = "src/store/migrations";
const FILE = /^(\d{4})_[a-z0-9_]+\.sql$/;

/** Reads and checks the numbered files that this program ships: 1, 2, 3, ... without a gap. */
export function readMigrations(): Migration[] {
  const names = listShipped(FOLDER).filter((name) => name.endsWith(".sql"));
  return names.map((name, index): Migration => {
    const number = Number(FILE.exec(name)?.[1] ?? Number.NaN);
    if (number !== index + 1) {
      throw new MigrationError(`Migration ${name} should be named ${pad(index + 1)}_<words>.sql.`);
    }
    const sql = readShipped(`${FOLDER}/${name}`).replaceAll("\r\n", "\n");
    return { number, name, sql, checksum: createHash("sha256").update(sql).digest("hex") };
  });
}

/**
 * Applies what is missing, each file in its own transaction, while holding an advisory lock: a second replica waits
 * here until the first is done, then finds nothing to do. Returns the names of what was applied.
 * Throws MigrationError, pg's error when there is no connection, or the signal's reason.
 */
export async function migrate(options: MigrateOptions, signal?: AbortSignal): Promise<string[]> {
  signal?.throwIfAborted();
  const known = options.migrations ?? readMigrations();
  const client = new pg.Client({
    ...connectionConfig({
      url: options.url,
      applicationName: options.applicationName ?? "unified-rbac migrate",
      // Waiting for the lock, or building an index on a big table, takes as long as it takes.
      statementTimeoutMs: 0,
      idleInTransactionTimeoutMs: 0,
    }),
  });
  client.on("error", () => {});
  // Ends the connection even while a statement waits; the server rolls back and frees the lock.
  const abort = () => void client.end().catch(() => {});
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await client.connect();
    await client.query("select pg_advisory_lock($1)", [LOCK]);
    const applied = await applyMissing(client, known, signal);
    if (options.roles !== undefined) await grantAll(client, options.roles);
    return applied;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
    await client.end().catch(() => {});
  }
}

async function applyMissing(client: pg.Client, known: readonly Migration[], signal?: AbortSignal): Promise<string[]> {
  await client.query(
    `create table if not exists schema_migrations (
       number     integer primary key,
       name       text not null,
       checksum   text not null,
       applied_at timestamptz not null default now()
     )`,
  );
  const { rows } = await client.query<{ number: number; name: string; checksum: string }>(
    "select number, name, checksum from schema_migrations order by number",
  );
  const applied = new Map(rows.map((row) => [row.number, row]));
  const newest = rows.at(-1);
  if (newest !== undefined && newest.number > known.length) {
    throw new MigrationError(
      `The database has schema ${newest.number} (${newest.name}), this program knows schemas up to ${known.length}: run the newer program, or restore the database from before its upgrade.`,
    );
  }
  const done: string[] = [];
  for (const migration of known) {
    signal?.throwIfAborted();
    const before = applied.get(migration.number);
    if (before === undefined) {
      await apply(client, migration);
      done.push(migration.name);
    } else if (before.checksum !== migration.checksum) {
      throw new MigrationError(
        `Migration ${migration.name} is not the text that was applied to this database as ${before.name}: restore the file, and put the change into a new one.`,
      );
    }
  }
  return done;
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  await client.query("begin");
  try {
    await client.query(migration.sql);
    await client.query("insert into schema_migrations (number, name, checksum) values ($1, $2, $3)", [
      migration.number,
      migration.name,
      migration.checksum,
    ]);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    const said = error instanceof Error ? error.message : String(error);
    throw new MigrationError(`Migration ${migration.name} failed, nothing of it was kept: ${said}.`, { cause: error });
  }
}

/** All or nothing: nobody is without a right for a moment. */
async function grantAll(client: pg.Client, roles: DatabaseRoles): Promise<void> {
  const missing = await missingRoles(client, roles);
  if (missing.length > 0) {
    throw new MigrationError(
      `The database has no role ${missing.join(", ")}: create it as docs/platform-guide.md says, or correct WEBHOOK_DATABASE_ROLE and RECONCILER_DATABASE_ROLE.`,
    );
  }
  const { rows } = await client.query<{ schema: string }>("select current_schema() as schema");
  await client.query("begin");
  for (const statement of grants(roles, rows[0]?.schema ?? "public")) await client.query(statement);
  await client.query("commit");
}

function pad(number: number): string {
  return String(number).padStart(4, "0");
}
