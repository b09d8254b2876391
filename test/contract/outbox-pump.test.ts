/** How events leave, on a real Postgres: at once, and those that come closely one after the other together. */
import { randomUUID } from "node:crypto";
import { getEventListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { userEvent, type UserEvent } from "../../src/api/userEvent.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { makeOutboxPump } from "../../src/reconciler/outboxPump.ts";
import { enqueueEvents } from "../../src/store/outbox.ts";
import { makePool } from "../../src/store/pool.ts";
import { freshDatabase } from "../support/postgres.ts";
import { statementJournal } from "../support/statementJournal.ts";

function anEvent(): UserEvent {
  const of = { uuid: randomUUID(), tenantID: "acme", email: "ada@example.com", keycloakUserID: "kc-1" };
  const rest = { newapiUserID: undefined, secretName: undefined, n: "", metadata: {} };
  return userEvent({ type: "sme.user.created", ...of, ...rest }, new Date("2026-05-01T12:00:00Z"));
}

async function startPump() {
  const database = await freshDatabase();
  const journal = await statementJournal(database.url);
  const pool = makePool({ url: journal.url, max: 2, applicationName: "test" });
  // What is put in is not the pump's doing.
  const writer = makePool({ url: database.url, max: 2, applicationName: "test" });
  const published: string[] = [];
  const neighbour = { away: false, tries: 0 };
  let process: AbortSignal | undefined;
  const publish = async ({ id }: UserEvent, signal: AbortSignal): Promise<void> => {
    process = signal;
    neighbour.tries += 1;
    if (neighbour.away) throw new Error("NATS is away");
    published.push(id);
  };
  const pump = makeOutboxPump({ pool, publish, clock: systemClock, log: silentLog });
  void pump.start();
  // Its first look, which finds nothing.
  await expect.poll(() => journal.texts.filter((text) => text === "commit")).toHaveLength(1);
  return {
    published,
    neighbour,
    /** Who listens on the signal that lives as long as the process. */
    listening: () => (process === undefined ? 0 : getEventListeners(process, "abort").length),
    stop: () => pump.stop(),
    looks: () => journal.texts.filter((text) => text === "begin").length,
    async put(event: UserEvent): Promise<void> {
      await enqueueEvents(writer, [event]);
      pump.look();
    },
    async [Symbol.asyncDispose]() {
      await pump.stop();
      await Promise.all([pool.end(), writer.end()]);
      await journal[Symbol.asyncDispose]();
      await database.drop();
    },
  };
}

test("events that come alone leave as soon as they are there", async () => {
  await using pump = await startPump();
  const events = Array.from({ length: 6 }, anEvent);
  // A look without a call comes every five seconds.
  const began = performance.now();
  for (const [n, event] of events.entries()) {
    await pump.put(event);
    await expect.poll(() => pump.published).toHaveLength(n + 1);
  }
  expect(performance.now() - began).toBeLessThan(20_000);
  expect(pump.listening()).toBeLessThan(3);
});

test("events that follow each other closely leave in order, with fewer looks than there are events", async () => {
  await using pump = await startPump();
  const events = Array.from({ length: 12 }, anEvent);
  const before = pump.looks();
  for (const event of events) {
    await pump.put(event);
    await sleep(15);
  }
  await expect.poll(() => pump.published).toEqual(events.map(({ id }) => id));
  expect(pump.looks() - before).toBeLessThan(10);
});

test("events that nobody takes stay, and leave by themselves afterwards", async () => {
  await using pump = await startPump();
  pump.neighbour.away = true;
  const event = anEvent();
  await pump.put(event);
  await expect.poll(() => pump.neighbour.tries).toBeGreaterThan(0);
  expect(pump.published).toEqual([]);
  pump.neighbour.away = false;
  await expect.poll(() => pump.published).toEqual([event.id]);
});

test("a process that ends waits for nothing", async () => {
  const pump = await startPump();
  await pump.put(anEvent());
  await expect.poll(() => pump.published).toHaveLength(1);
  const began = performance.now();
  await pump.stop();
  expect(performance.now() - began).toBeLessThan(4_000);
  await pump[Symbol.asyncDispose]();
});
