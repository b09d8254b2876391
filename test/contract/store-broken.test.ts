/** What is left when Postgres fails under us: no broken connection in the pool, no lease that nobody works under. */
import { randomUUID } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";
import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { claimDue, giveBackLost } from "../../src/store/claims.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { inTransaction } from "../../src/store/transaction.ts";
import { openWorkerSession } from "../../src/store/workerSession.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { useStore } from "../support/store.ts";

let database: TestDatabase;
let pool: Pool;
useStore((...opened) => ([pool, database] = opened));

/** A way to the database on which, from `silence` on, nothing comes back. */
async function silentDoor(): Promise<{ url: string; silence(): void }> {
  const target = new URL(database.url);
  const sockets: Socket[] = [];
  let silent = false;
  const server = createServer((caller) => {
    const upstream = connect(Number(target.port), target.hostname);
    sockets.push(caller, upstream);
    for (const socket of [caller, upstream]) socket.on("error", () => socket.destroy());
    caller.pipe(upstream);
    upstream.on("data", (answer) => {
      if (!silent) caller.write(answer);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: Object.assign(new URL(target), { port: String(port) }).href, silence: () => (silent = true) };
}

describe("a transaction whose server falls silent", () => {
  it("leaves no silent connection behind for the next one", async () => {
    const door = await silentDoor();
    const through = makePool({ url: door.url, max: 1, applicationName: "test", statementTimeoutMs: 300 });
    onTestFinished(() => through.end());
    const work = inTransaction(through, async (client) => {
      door.silence();
      await client.query("select 1");
    });
    await expect(work).rejects.toThrow("timeout");
    expect(through.totalCount).toBe(0);
  });
});

describe("a worker's session", () => {
  it("is not waited for without end when the server is silent", async () => {
    const door = await silentDoor();
    door.silence();
    await expect(openWorkerSession(door.url, "test")).rejects.toThrow("timeout");
  });
});

describe("leases of a claim whose answer was lost", () => {
  it("are given back, but for those in flight, although their owner lives", async () => {
    const uuids = [randomUUID(), randomUUID()];
    for (const uuid of uuids) {
      await pool.query(
        `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, confirmed_at, due_at)
         values ($1, 't', $2, now(), now())`,
        [uuid, `${uuid}@t.example`],
      );
    }
    const mine = await openWorkerSession(database.url, "test");
    const other = await openWorkerSession(database.url, "test");
    onTestFinished(async () => {
      await Promise.all([mine.close(), other.close()]);
    });
    const claims = await claimDue(pool, mine.owner, 10);
    expect(claims).toHaveLength(2);
    expect(await claimDue(pool, other.owner, 10)).toEqual([]);

    const [held = ""] = uuids;
    await giveBackLost(pool, mine.owner, [held]);
    const taken = await claimDue(pool, other.owner, 10);
    expect(taken.map(({ row }) => row.uuid)).toEqual([uuids[1]]);
  });
});
