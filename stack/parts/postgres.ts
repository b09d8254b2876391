import { chownSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";

import { run } from "../process.ts";
import { readableCopy, type Context, type Part } from "./part.ts";

const home = ({ openDir }: Context): string => join(openDir, "postgres");
const data = (context: Context): string => join(home(context), "data");

const binary = (context: Context, name: string): string =>
  join(readableCopy(context, context.obtained.postgres, "postgres-program"), "bin", name);

/** As manifests/deploy names them; they share the owner's password, for it is one machine. */
export const DATABASE_ROLES = { webhook: "unified_rbac_webhook", reconciler: "unified_rbac_reconciler" } as const;

export const postgres: Part = {
  name: "postgres",
  title: "Postgres",
  needs: [],
  prepare: initialise,
  command: (context) => ({
    file: binary(context, "postgres"),
    args: [
      "-D",
      data(context),
      "-h",
      "127.0.0.1",
      "-p",
      `${context.ports.postgres}`,
      "-k",
      "",
      "-c",
      "max_connections=300",
    ],
    cwd: home(context),
    user: context.user,
  }),
  ready: async ({ env }) => (await query(env.POSTGRES_URL, "SELECT 1").catch(() => undefined)) !== undefined,
  settle: async ({ env }) => {
    const name = new URL(env.DATABASE_URL).pathname.slice(1);
    const found = await query(env.POSTGRES_URL, `SELECT 1 FROM pg_database WHERE datname = '${name}'`);
    if (found === 0) await query(env.POSTGRES_URL, `CREATE DATABASE "${name}"`);
    const { password } = new URL(env.DATABASE_URL);
    for (const role of Object.values(DATABASE_ROLES)) {
      const known = await query(env.POSTGRES_URL, `SELECT 1 FROM pg_roles WHERE rolname = '${role}'`);
      if (known === 0) await query(env.POSTGRES_URL, `CREATE ROLE "${role}" LOGIN PASSWORD '${password}'`);
    }
  },
};

/** Into a draft folder first: a killed initdb leaves a folder that looks done. */
async function initialise(context: Context): Promise<void> {
  if (existsSync(data(context))) return;
  const { user, secrets } = context;
  mkdirSync(home(context), { recursive: true, mode: 0o700 });
  const passwordFile = join(home(context), "password");
  writeFileSync(passwordFile, secrets.postgres, { mode: 0o600 });
  for (const path of [home(context), passwordFile]) if (user) chownSync(path, user.uid, user.gid);
  const draft = `${data(context)}.draft`;
  rmSync(draft, { recursive: true, force: true });
  const options = ["--username=postgres", "--auth=scram-sha-256", `--pwfile=${passwordFile}`];
  await run({
    file: binary(context, "initdb"),
    args: [`--pgdata=${draft}`, ...options, "--encoding=UTF8", "--locale=C", "--no-sync"],
    cwd: home(context),
    user,
  });
  rmSync(passwordFile);
  renameSync(draft, data(context));
}

/** The number of rows. */
async function query(url: string, sql: string): Promise<number> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 3_000 });
  // A server that stops while we talk to it reports so here as well; the query's own error is enough.
  client.on("error", () => {});
  try {
    await client.connect();
    return (await client.query(sql)).rows.length;
  } finally {
    await client.end().catch(() => {});
  }
}
