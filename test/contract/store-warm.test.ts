/** Connections that are open before the first review needs one. */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { expect, it, onTestFinished } from "vitest";

import { makePool, warm } from "../../src/store/pool.ts";
import { choosePorts } from "../../stack/ports.ts";
import { freshDatabase } from "../support/postgres.ts";

it("opens the first connections as soon as Postgres answers, though it did not at the start", async () => {
  const database = await freshDatabase();
  onTestFinished(() => database.drop());
  const target = new URL(database.url);
  const url = new URL(database.url);
  url.hostname = "127.0.0.1";
  url.port = String((await choosePorts({}, new Set())).postgres);
  const pool = makePool({ url: url.href, max: 8, applicationName: "test", connectionTimeoutMs: 200, idleTimeoutMs: 0 });
  onTestFinished(() => pool.end());
  const warming = warm(pool, 4, AbortSignal.timeout(30_000));
  await expect(pool.query("select 1")).rejects.toThrow("ECONNREFUSED");

  const door = createServer((socket) => {
    const behind = connect(Number(target.port), target.hostname);
    socket.on("error", () => behind.destroy()).pipe(behind);
    behind.on("error", () => socket.destroy()).pipe(socket);
  }).listen(Number(url.port), "127.0.0.1");
  onTestFinished(() => void door.close());
  await once(door, "listening");
  await warming;
  expect(pool.idleCount).toBe(4);
});

it("gives up when the process ends", async () => {
  const pool = makePool({ url: "postgres://nobody@127.0.0.1:1/none", max: 8, applicationName: "test" });
  onTestFinished(() => pool.end());
  const stopping = new AbortController();
  const warming = warm(pool, 4, stopping.signal);
  stopping.abort();
  await warming;
  expect(pool.totalCount).toBe(0);
});
