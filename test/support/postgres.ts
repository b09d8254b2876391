/** A database of one's own on a real Postgres. */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { inject } from "vitest";
import { createDatabase, databaseURL, dropDatabase } from "./postgresServer.ts";
import { startWithTemplate, TEMPLATE } from "./postgresSetup.ts";

export interface TestDatabase {
  /** postgres://..., a superuser. */
  readonly url: string;
  /** Ends every connection to it, and removes it. */
  drop(): Promise<void>;
}

let server: Promise<string> | undefined;

/** An empty database with the current schema; with `migrated: false`, without any. Takes about 50 ms. */
export async function freshDatabase(options: { migrated?: boolean } = {}): Promise<TestDatabase> {
  const main = await (server ??= theServer());
  const name = `test_${randomBytes(6).toString("hex")}`;
  await createDatabase(main, name, options.migrated === false ? undefined : TEMPLATE);
  return { url: databaseURL(main, name), drop: () => dropDatabase(main, name) };
}

/** The run's server; without our globalSetup, one for this process, which ends with it. */
async function theServer(): Promise<string> {
  const door = inject("postgresDoor") as string | undefined;
  if (door === undefined) return (await startWithTemplate()).url;
  const answer = JSON.parse(await text(connect(door))) as { url: string } | { error: string };
  if ("error" in answer) throw new Error(answer.error);
  return answer.url;
}
