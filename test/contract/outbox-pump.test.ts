/** How events leave, on a real Postgres: at once, and those that come closely one after the other together. */
import { randomUUID } from "node:crypto";
import { getEventListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, test, vi } from "vitest";
import { userEvent, type UserEvent } from "../../src/api/userEvent.ts";
import { TerminalError } from "../../src/lib/errors.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { makeOutboxPump } from "../../src/reconciler/outboxPump.ts";
import { coalesceWaiting, enqueueEvents, EVENTS_PER_DAY, parkedEvents, unsentEvents } from "../../src/store/outbox.ts";
import { makePool } from "../../src/store/pool.ts";
import { freshDatabase } from "../support/postgres.ts";
import { statementJournal } from "../support/statementJournal.ts";

function anEvent(uuid: string = randomUUID(), n = "", tenantID = "acme"): UserEvent {
  const of = { uuid, tenantID, email: "ada@example.com", keycloakUserID: "kc-1" };
  const rest = { newapiUserID: undefined, secretName: undefined, n, metadata: {} };
  return userEvent({ type: "sme.user.updated", ...of, ...rest }, new Date("2026-05-01T12:00:00Z"));
}

/** `people` persons of one tenant with `each` events, as they come: one of each, then the next of each. */
const eventsOf = (people: number, each: number, tenantID?: string): UserEvent[] => {
  const uuids = Array.from({ length: people }, () => randomUUID());
  return Array.from({ length: each }, (_, n) => uuids.map((uuid) => anEvent(uuid, String(n), tenantID))).flat();
};

/** What was sent of each person, in the order in which it was. */
const byPerson = (events: readonly UserEvent[]) =>
  Object.fromEntries(
    [...Map.groupBy(events, ({ data }) => data.sme_user_uuid)].map(([uuid, own]) => [uuid, own.map(({ id }) => id)]),
  );

interface Nats {
  /** Takes nothing. */
  away: boolean;
  tries: number;
  /** How long an ack takes, in milliseconds. */
  ackMs: number;
  /** What it does with an event that it does not take. */
  refuse: (event: UserEvent) => Error | undefined;
}

const tooLarge = () => new TerminalError({ code: "EventRefused", upstream: "nats", message: "It has 1100000 bytes." });

async function startPump(
  given: { readonly nats?: Partial<Nats>; readonly before?: readonly UserEvent[]; readonly perDay?: number } = {},
) {
  const database = await freshDatabase();
  const journal = await statementJournal(database.url);
  const pool = makePool({ url: journal.url, max: 2, applicationName: "pump" });
  // What is put in is not the pump's doing.
  const writer = makePool({ url: database.url, max: 2, applicationName: "test" });
  const sent: UserEvent[] = [];
  const nats: Nats = { away: false, tries: 0, ackMs: 0, refuse: () => undefined, ...given.nats };
  await enqueueEvents(writer, given.before ?? []);
  let process: AbortSignal | undefined;
  const publish = async (event: UserEvent, signal: AbortSignal): Promise<void> => {
    process = signal;
    nats.tries += 1;
    if (nats.ackMs > 0) await sleep(nats.ackMs, undefined, { signal });
    const refusal = nats.away ? new Error("NATS is away") : nats.refuse(event);
    if (refusal !== undefined) throw refusal;
    sent.push(event);
  };
  const turns = (): number => journal.texts.filter((text) => text.includes("pg_advisory_unlock")).length;
  const { perDay = EVENTS_PER_DAY } = given;
  const pump = makeOutboxPump({ pool, publish, clock: systemClock, log: silentLog, perDay });
  void pump.start();
  // Its first look, which finds nothing.
  if (given.before === undefined) await vi.waitUntil(() => turns() === 1, { timeout: 15_000, interval: 10 });
  return {
    sent,
    published: () => sent.map(({ id }) => id),
    nats,
    database,
    writer,
    /** Who listens on the signal that lives as long as the process. */
    listening: () => (process === undefined ? 0 : getEventListeners(process, "abort").length),
    stop: () => pump.stop(),
    turns,
    async put(event: UserEvent): Promise<void> {
      await enqueueEvents(writer, [event]);
      pump.notify();
    },
    async [Symbol.asyncDispose]() {
      await pump.stop();
      await Promise.all([pool.end(), writer.end()]);
      await journal[Symbol.asyncDispose]();
      await database.drop();
    },
  };
}

/** Each has a database of its own, and waits most of the time: they run side by side. */
describe.concurrent("the outbox's pump", () => {
  test("events that come alone leave as soon as they are there", async ({ expect }) => {
    await using pump = await startPump();
    const events = Array.from({ length: 6 }, () => anEvent());
    // A look without a call comes every five seconds.
    const began = performance.now();
    for (const [n, event] of events.entries()) {
      await pump.put(event);
      await expect.poll(() => pump.published()).toHaveLength(n + 1);
    }
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(pump.listening()).toBeLessThan(3);
  });

  test("events that follow each other closely leave in order, with fewer batches than there are events", async ({
    expect,
  }) => {
    await using pump = await startPump();
    const events = Array.from({ length: 12 }, () => anEvent());
    const before = pump.turns();
    for (const event of events) {
      await pump.put(event);
      await sleep(15);
    }
    await expect.poll(() => pump.published()).toEqual(events.map(({ id }) => id));
    expect(pump.turns() - before).toBeLessThan(10);
  });

  test("events that nobody takes stay, and leave by themselves afterwards", async ({ expect }) => {
    await using pump = await startPump();
    pump.nats.away = true;
    const event = anEvent();
    await pump.put(event);
    await expect.poll(() => pump.nats.tries).toBeGreaterThan(0);
    expect(pump.published()).toEqual([]);
    pump.nats.away = false;
    await expect.poll(() => pump.published()).toEqual([event.id]);
  });

  test("while NATS is away, the outbox is given back each time, and its connection stays", async ({ expect }) => {
    await using pump = await startPump();
    pump.nats.away = true;
    await pump.put(anEvent());
    const connections = async () =>
      (
        await pump.writer.query<{ pid: number }>(
          "select pid from pg_stat_activity where datname = current_database() and application_name = 'pump' order by pid",
        )
      ).rows;
    await expect.poll(() => pump.nats.tries).toBe(1);
    const before = await connections();
    await expect.poll(() => pump.nats.tries, { timeout: 10_000 }).toBe(3);
    await expect.poll(() => pump.turns()).toBeGreaterThanOrEqual(4);
    expect(await connections()).toEqual(before);
    const { rows } = await pump.writer.query(
      "select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
    );
    expect(rows).toEqual([]);
  });

  test("a process that ends waits for nothing", async ({ expect }) => {
    const pump = await startPump();
    await pump.put(anEvent());
    await expect.poll(() => pump.published()).toHaveLength(1);
    const began = performance.now();
    await pump.stop();
    expect(performance.now() - began).toBeLessThan(4_000);
    await pump[Symbol.asyncDispose]();
  });

  test("an event that NATS never takes is parked, and stops nobody", async ({ expect }) => {
    const [poisoned, next] = eventsOf(1, 2) as [UserEvent, UserEvent];
    await using pump = await startPump({
      before: [poisoned, next, ...eventsOf(30, 2)],
      nats: { refuse: ({ id }) => (id === poisoned.id ? tooLarge() : undefined) },
    });
    await expect.poll(() => pump.sent).toHaveLength(61);
    expect(pump.published()).not.toContain(poisoned.id);
    expect(pump.published()).toContain(next.id);
    expect(await parkedEvents(pump.writer, undefined, 10)).toMatchObject([
      { id: poisoned.id, reason: "It has 1100000 bytes." },
    ]);
  });

  test("an event that fails while others are taken holds back its own person, and leaves in order later", async ({
    expect,
  }) => {
    const [first, second] = eventsOf(1, 2) as [UserEvent, UserEvent];
    const others = eventsOf(20, 1);
    let broken = true;
    await using pump = await startPump({
      before: [first, second, ...others],
      nats: { refuse: ({ id }) => (broken && id === first.id ? new Error("a reason that nobody knows") : undefined) },
    });
    await expect.poll(() => pump.sent).toHaveLength(20);
    await expect
      .poll(async () => (await pump.writer.query("select from outbox where retry_at is not null")).rowCount)
      .toBe(1);
    broken = false;
    await expect.poll(() => pump.published().slice(20)).toEqual([first.id, second.id]);
  });

  test("an ack that takes long does not set the pace, and nothing waits in a transaction meanwhile", async ({
    expect,
  }) => {
    const events = eventsOf(40, 4);
    await using pump = await startPump({ before: events, nats: { ackMs: 300 } });
    let idleInTransaction = 0;
    while (pump.sent.length < events.length) {
      const { rows } = await pump.writer.query<{ n: number }>(
        "select count(*)::int as n from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'",
      );
      idleInTransaction += rows[0]?.n ?? 0;
      await sleep(50);
    }
    expect(idleInTransaction).toBe(0);
    // Each was sent once: what was acknowledged is marked as it comes, not when all are.
    expect(pump.nats.tries).toBe(events.length);
    expect(byPerson(pump.sent)).toEqual(byPerson(events));
  });

  test("several replicas send each person's events in order, and each once", async ({ expect }) => {
    const events = eventsOf(25, 12);
    await using pump = await startPump({ before: events, nats: { ackMs: 2 } });
    const pool = makePool({ url: pump.database.url, max: 2, applicationName: "test" });
    const other = makeOutboxPump({
      pool,
      publish: async (event) => {
        await sleep(3);
        pump.sent.push(event);
      },
      clock: systemClock,
      log: silentLog,
    });
    void other.start();
    await expect.poll(() => pump.sent.length).toBeGreaterThanOrEqual(events.length);
    await other.stop();
    await pool.end();
    expect(pump.sent).toHaveLength(events.length);
    expect(byPerson(pump.sent)).toEqual(byPerson(events));
  });

  test("a tenant with a long queue delays nobody else's event", async ({ expect }) => {
    const queue = eventsOf(400, 3);
    await using pump = await startPump({ before: queue, nats: { ackMs: 20 } });
    await expect.poll(() => pump.sent.length).toBeGreaterThan(0);
    const late = anEvent(randomUUID(), "", "zeta");
    const before = pump.sent.length;
    await pump.put(late);
    await expect.poll(() => pump.published()).toContain(late.id);
    expect(pump.published().indexOf(late.id) - before).toBeLessThan(200);
    expect(await unsentEvents(pump.writer, 1, 1)).toHaveLength(1);
  });

  test("a tenant that never stops sends so many events a day; of the rest the newest of each person waits, and nobody else", async ({
    expect,
  }) => {
    const perDay = 60;
    const edits = eventsOf(2, 100);
    await using pump = await startPump({ before: edits, perDay });
    await expect.poll(() => pump.sent.length).toBeGreaterThanOrEqual(perDay);
    const late = anEvent(randomUUID(), "", "zeta");
    await pump.put(late);
    await expect.poll(() => pump.published()).toContain(late.id);
    const sent = pump.sent.length - 1;
    // What a batch takes of one tenant is not cut.
    expect(sent).toBeLessThanOrEqual(perDay + 50);
    expect(await coalesceWaiting(pump.writer, perDay)).toEqual(["acme"]);
    const waiting = async () =>
      (await pump.writer.query<{ id: string }>("select id from outbox where sent_at is null order by seq")).rows;
    expect(await waiting()).toEqual(edits.slice(-2).map(({ id }) => ({ id })));
    // Another day.
    await pump.writer.query("update outbox set sent_at = sent_at - interval '1 day' where sent_at is not null");
    await pump.put(anEvent(randomUUID(), "", "zeta"));
    await expect.poll(waiting).toEqual([]);
    expect(pump.published()).toEqual(expect.arrayContaining(edits.slice(-2).map(({ id }) => id)));
    expect(await coalesceWaiting(pump.writer, perDay)).toEqual([]);
  });

  test("of what waits only edits are said by later ones", async ({ expect }) => {
    await using pump = await startPump({ perDay: 0 });
    const uuid = randomUUID();
    const of = { uuid, tenantID: "acme", email: "a@example.com", keycloakUserID: "kc-1", newapiUserID: undefined };
    const told = (type: UserEvent["type"], n: string) =>
      userEvent({ type, ...of, secretName: undefined, n, metadata: {} }, new Date());
    const events = [
      told("sme.user.created", ""),
      told("sme.user.updated", "1"),
      told("sme.user.key-rotated", "1"),
      told("sme.user.updated", "2"),
      told("sme.user.key-rotated", "2"),
      told("sme.user.deleted", ""),
    ];
    await enqueueEvents(pump.writer, events);
    expect(await coalesceWaiting(pump.writer, 0)).toEqual(["acme"]);
    const { rows } = await pump.writer.query<{ id: string }>("select id from outbox order by seq");
    expect(rows.map(({ id }) => id)).toEqual(events.filter((_, index) => index !== 1).map(({ id }) => id));
  });

  test("is not taken for alive while every batch fails by our own mistake", async ({ expect }) => {
    const database = await freshDatabase();
    const pool = makePool({ url: database.url, max: 2, applicationName: "test" });
    await pool.query("drop table outbox cascade");
    const pump = makeOutboxPump({ pool, publish: () => Promise.resolve(), clock: systemClock, log: silentLog });
    const stood = pump.lastProgress();
    void pump.start();
    await sleep(500);
    expect(pump.lastProgress()).toBe(stood);
    await pump.stop();
    await pool.end();
    await database.drop();
  });
});
