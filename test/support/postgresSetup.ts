/** vitest's globalSetup: one Postgres for a whole run, started when the first test file asks for it, never before. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { migrate } from "../../src/store/migrate.ts";
import { createDatabase, databaseURL, type PostgresServer, startPostgres } from "./postgresServer.ts";

/** Migrated once; every fresh database is a copy of it. */
export const TEMPLATE = "migrated";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "unified-rbac-tests-"));
  const door = join(folder, "postgres");
  let server: Promise<PostgresServer> | undefined;
  const broker = createServer((socket) => {
    socket.on("error", () => {});
    server ??= startWithTemplate();
    server.then(
      ({ url }) => socket.end(JSON.stringify({ url })),
      (error: unknown) => socket.end(JSON.stringify({ error: String(error) })),
    );
  });
  await new Promise<void>((resolve) => broker.listen(door, resolve));
  project.provide("postgresDoor", door);
  return async () => {
    broker.close();
    await server?.then(
      (running) => running.stop(),
      () => {},
    );
    await rm(folder, { recursive: true, force: true });
  };
}

export async function startWithTemplate(): Promise<PostgresServer> {
  const server = await startPostgres();
  await createDatabase(server.url, TEMPLATE);
  await migrate({ url: databaseURL(server.url, TEMPLATE) });
  return server;
}

declare module "vitest" {
  interface ProvidedContext {
    /** Path of a socket: whoever connects gets the address of the Postgres of this run. */
    postgresDoor: string;
  }
}
