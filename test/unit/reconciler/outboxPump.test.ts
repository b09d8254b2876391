import { randomUUID } from "node:crypto";
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { UserEvent } from "../../../src/api/userEvent.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { deletedEvent } from "../../../src/reconciler/notices.ts";
import { makeOutboxPump, type OutboxPump } from "../../../src/reconciler/outboxPump.ts";
import { enqueueEvents } from "../../../src/store/outbox.ts";
import { makePool, type Pool } from "../../../src/store/pool.ts";
import { deletingRow, NOW } from "../../support/builders.ts";
import { freshDatabase, type TestDatabase } from "../../support/postgres.ts";
import { soon } from "../../support/soon.ts";

let database: TestDatabase;
let pool: Pool;
let pump: OutboxPump;
let sent: string[];
let broken: boolean;
let tries: number;
let listening: number;

beforeEach(async () => {
  database = await freshDatabase();
  pool = makePool({ url: database.url, max: 2, applicationName: "test" });
  sent = [];
  broken = false;
  tries = listening = 0;
  pump = makeOutboxPump({
    pool,
    publish: (event, signal) => {
      tries += 1;
      listening = Math.max(listening, getEventListeners(signal, "abort").length);
      if (broken) return Promise.reject(new Error("NATS is away"));
      sent.push(event.id);
      return Promise.resolve();
    },
    clock: systemClock,
    log: silentLog,
  });
  await pump.start();
});
afterEach(async () => {
  await pump.stop();
  await pool.end();
  await database.drop();
});

/** Says something new, as whoever has recorded an outcome does. */
async function happens(): Promise<UserEvent> {
  const event = deletedEvent(deletingRow({ uuid: randomUUID() }), NOW);
  await enqueueEvents(pool, [event]);
  pump.look();
  return event;
}

describe("events", () => {
  it("leave when something has happened, in order", async () => {
    const ids = [(await happens()).id, (await happens()).id, (await happens()).id];
    await soon(() => expect(sent).toEqual(ids));
  });

  it("that came while others left go too", async () => {
    const ids: string[] = [];
    for (let n = 0; n < 30; n += 1) ids.push((await happens()).id);
    await soon(() => expect(sent).toEqual(ids));
  });

  it("stay while nobody takes them, and leave by themselves afterwards", async () => {
    broken = true;
    const { id } = await happens();
    await soon(() => expect(tries).toBeGreaterThan(0));
    expect(sent).toEqual([]);
    broken = false;
    await soon(() => expect(sent).toEqual([id]));
  });

  it("leave nothing behind on the signal that lives as long as the process", async () => {
    for (let n = 0; n < 10; n += 1) {
      const { id } = await happens();
      await soon(() => expect(sent).toContain(id));
    }
    expect(listening).toBeLessThan(3);
  });

  it("keep nobody waiting at the end", async () => {
    const { id } = await happens();
    await soon(() => expect(sent).toEqual([id]));
    const began = performance.now();
    await pump.stop();
    expect(performance.now() - began).toBeLessThan(4_000);
  });
});
