/** The bus on a real NATS server: what it promises while streams, consumers, storage and the server itself go away. */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { Bus, UserEvent } from "../../src/bus/bus.ts";
import { type BusOptions, makeBus } from "../../src/bus/nats.ts";
import { makePublish } from "../../src/bus/publish.ts";
import { CONSUMER, EVENT_SUBJECT, HEARTBEAT_SUBJECT } from "../../src/bus/streams.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { TerminalError, TransientError } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { noTracer } from "../../src/lib/tracing.ts";
import { makeNatsServer, type NatsServer } from "../support/natsServer.ts";
import { collectSpans } from "../support/spans.ts";

const PERIOD = 30_000;
const never = new AbortController().signal;
const soon = { timeout: 15_000, interval: 50 };

let server: NatsServer;
const buses: Bus[] = [];

function bus(options: Partial<BusOptions> = {}, tracer = noTracer): Bus {
  const made = makeBus(
    { log: silentLog, clock: systemClock, tracer },
    {
      servers: [new Sensitive(server.url)],
      periodMs: PERIOD,
      retryMs: 100,
      idleHeartbeatMs: 500,
      publishTimeoutMs: 1000,
      ...options,
    },
  );
  buses.push(made);
  return made;
}

const connected = (...all: Bus[]) => vi.waitFor(() => expect(all.every((each) => each.connected())).toBe(true), soon);

/** A bus whose looks are counted, once its consumer is at work. */
async function consuming() {
  const made = bus();
  let looks = 0;
  made.consumeHeartbeat(() => {
    looks += 1;
  });
  await vi.waitFor(() => expect(made.lastProgress()).toBeGreaterThan(0), soon);
  return { bus: made, looks: () => looks };
}

/** Kicks until one arrives: the way from a loss back to work. */
async function arrivesAgain(consumer: { bus: Bus; looks: () => number }): Promise<boolean> {
  const before = consumer.looks();
  for (let tries = 0; tries < 75 && consumer.looks() === before; tries++) {
    consumer.bus.kick();
    await sleep(200);
  }
  return consumer.looks() > before;
}

async function manager() {
  const nc = await server.client();
  const jsm = await jetstreamManager(nc);
  return { nc, jsm, js: jetstream(nc), [Symbol.asyncDispose]: () => nc.close() };
}

const event = (id: string): UserEvent => ({
  id,
  type: "sme.user.created",
  source: "unified-rbac",
  timestamp: "2026-01-01T00:00:00Z",
  tenant_id: "acme",
  data: {
    sme_user_uuid: "u",
    email: "ada@acme.example",
    kc_user_id: "k",
    newapi_user_id: null,
    secret_name: null,
  },
  metadata: {},
});

beforeAll(async () => {
  server = await makeNatsServer();
}, 300_000);
afterAll(() => server.remove());
beforeEach(() => server.start());
afterEach(async () => {
  await Promise.all(buses.splice(0).map((each) => each.close()));
  await server.stop({ loseStorage: true });
});

describe("the heartbeat", () => {
  it("arrives once per period whatever the number of publishers, and again in the next", async () => {
    const { looks, bus: first } = await consuming();
    const others = [bus(), bus()];
    await connected(...others);
    const t0 = 1_000 * PERIOD;
    await Promise.all([first, ...others].map((each, n) => each.publishHeartbeat(t0 + n)));
    await vi.waitFor(() => expect(looks()).toBe(1), soon);
    await Promise.all([first, ...others].map((each, n) => each.publishHeartbeat(t0 + PERIOD + n)));
    await vi.waitFor(() => expect(looks()).toBe(2), soon);
  });

  it("wakes one of several reconcilers, not all", async () => {
    const two = [await consuming(), await consuming()];
    await two[0]?.bus.publishHeartbeat(Date.now());
    await vi.waitFor(() => expect(two.reduce((sum, each) => sum + each.looks(), 0)).toBe(1), soon);
  });

  it("leaves no backlog to one that comes late", async () => {
    const publisher = await consuming();
    await publisher.bus.close();
    await using own = await manager();
    for (let n = 0; n < 50; n++) await own.js.publish(HEARTBEAT_SUBJECT, "{}");
    const late = await consuming();
    await vi.waitFor(() => expect(late.looks()).toBe(1), soon);
    await late.bus.publishHeartbeat(Date.now());
    await vi.waitFor(() => expect(late.looks()).toBe(2), soon);
  });
});

describe("a kick", () => {
  it("arrives each time, though the heartbeat of its period was sent already", async () => {
    const consumer = await consuming();
    await consumer.bus.publishHeartbeat(Date.now());
    await vi.waitFor(() => expect(consumer.looks()).toBe(1), soon);
    consumer.bus.kick();
    await vi.waitFor(() => expect(consumer.looks()).toBe(2), soon);
    consumer.bus.kick();
    await vi.waitFor(() => expect(consumer.looks()).toBe(3), soon);
  });

  it("never throws, with no server there and after the end", async () => {
    await server.stop();
    const alone = bus();
    alone.kick();
    await alone.close();
    alone.kick();
    expect(alone.connected()).toBe(false);
  });
});

describe("an event", () => {
  it("names the trace of what it tells of in its headers, and the span of its sending tells of both", async () => {
    const { tracer, all } = collectSpans();
    const own = bus({}, tracer);
    await vi.waitFor(() => expect(own.connected()).toBe(true), soon);
    const publish = makePublish({ bus: own, tracer });
    await publish(event("e-1"), never, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    await publish(event("e-2"), never, undefined);
    const spans = await all();
    expect(spans).toMatchObject([
      {
        name: "publish sme.user.events",
        kind: "producer",
        trace: "0af7651916cd43dd8448eb211c80319c",
        parent: "b7ad6b7169203331",
        attributes: { "messaging.system": "nats", "messaging.message.id": "e-1" },
      },
    ]);
    await using side = await manager();
    const stream = await side.jsm.streams.find(EVENT_SUBJECT);
    const stored = async (seq: number) => (await side.jsm.streams.getMessage(stream, { seq }))?.header;
    expect((await stored(1))?.get("traceparent")).toBe(`00-${spans[0]?.trace}-${spans[0]?.id}-01`);
    expect((await stored(1))?.get("Nats-Msg-Id")).toBe("e-1");
    expect((await stored(2))?.has("traceparent")).toBe(false);
  });

  it("is stored once, however often the outbox sends it", async () => {
    const { bus: own } = await consuming();
    for (let n = 0; n < 3; n++) await own.publishEvent(event("e-1"), never);
    await own.publishEvent(event("e-2"), never);
    await using side = await manager();
    const stream = await side.jsm.streams.find(EVENT_SUBJECT);
    expect((await side.jsm.streams.info(stream)).state.messages).toBe(2);
    const stored = await side.jsm.streams.getMessage(stream, { seq: 1 });
    expect(stored?.header.get("Nats-Msg-Id")).toBe("e-1");
    expect(stored?.json()).toEqual(event("e-1"));
  });

  it("is a TransientError while NATS is away", async () => {
    await server.stop();
    await expect(bus().publishEvent(event("e-1"), never)).rejects.toBeInstanceOf(TransientError);
  });

  it("lets its caller continue when the signal aborts", async () => {
    const { bus: own } = await consuming();
    await expect(own.publishEvent(event("e-1"), AbortSignal.abort())).rejects.toBeInstanceOf(TransientError);
  });

  it("finds its stream again after it was deleted", async () => {
    const { bus: own } = await consuming();
    await using side = await manager();
    await side.jsm.streams.delete(await side.jsm.streams.find(EVENT_SUBJECT));
    await own.publishEvent(event("e-1"), never);
    expect((await side.jsm.streams.info(await side.jsm.streams.find(EVENT_SUBJECT))).state.messages).toBe(1);
  });

  it("goes into the platform's own stream where that is named, and into no other that takes the subject", async () => {
    await using side = await manager();
    await side.jsm.streams.add({ name: "PLATFORM", subjects: ["sme.>"] });
    const named = bus({ streams: { events: "PLATFORM" } });
    await connected(named);
    await named.publishEvent(event("e-1"), never);
    expect((await side.jsm.streams.info("PLATFORM")).state.messages).toBe(1);

    const unnamed = bus();
    await connected(unnamed);
    const refused = unnamed.publishEvent(event("e-2"), never);
    await expect(refused).rejects.toBeInstanceOf(TransientError);
    await expect(refused).rejects.toThrow("PLATFORM takes sme.user.events already");
    expect((await side.jsm.streams.info("PLATFORM")).state.messages).toBe(1);
  });

  it("does not count as sent when somebody else than the stream acknowledges it", async () => {
    await using side = await manager();
    side.nc.subscribe(EVENT_SUBJECT, {
      callback: (_error, message) => void message.respond(JSON.stringify({ stream: "ELSEWHERE", seq: 1 })),
    });
    const own = bus();
    await connected(own);
    await expect(own.publishEvent(event("e-1"), never)).rejects.toBeInstanceOf(TransientError);
  });

  it("does not go into a stream that stores nothing", async () => {
    await using side = await manager();
    await side.jsm.streams.add({ name: "SME_USER_EVENTS", subjects: [EVENT_SUBJECT], no_ack: true });
    const own = bus();
    await connected(own);
    await expect(own.publishEvent(event("e-1"), never)).rejects.toBeInstanceOf(TransientError);
  });

  it("that is larger than NATS takes is refused for good, by the server's limit and by the stream's", async () => {
    const { bus: own } = await consuming();
    const large = (bytes: number): UserEvent => ({ ...event("e-1"), metadata: { note: "x".repeat(bytes) } });
    await expect(own.publishEvent(large(1_100_000), never)).rejects.toBeInstanceOf(TerminalError);
    await expect(own.publishEvent(large(100_000), never)).rejects.toBeInstanceOf(TerminalError);
    await own.publishEvent(event("e-2"), never);
    await using side = await manager();
    const { config, state } = await side.jsm.streams.info("SME_USER_EVENTS");
    expect(state.messages).toBe(1);
    expect(config.max_bytes).toBeGreaterThan(0);
  });
});

describe("a flood of messages on the heartbeat's subject", () => {
  it("wakes a reconciler ten times a second at most, and the last one is not lost", async () => {
    const consumer = await consuming();
    await using side = await manager();
    const began = performance.now();
    for (let n = 0; n < 20_000; n++) {
      side.nc.publish(HEARTBEAT_SUBJECT, "{}");
      if (n % 1_000 === 0) await side.nc.flush();
    }
    await side.nc.flush();
    await sleep(500);
    const seconds = (performance.now() - began) / 1_000;
    expect(consumer.looks()).toBeLessThanOrEqual(10 * seconds + 2);
    const before = consumer.looks();
    consumer.bus.kick();
    await vi.waitFor(() => expect(consumer.looks()).toBeGreaterThan(before), soon);
  });

  it("of our own kicks is few messages", async () => {
    const consumer = await consuming();
    await using side = await manager();
    let sent = 0;
    side.nc.subscribe(HEARTBEAT_SUBJECT, { callback: () => void (sent += 1) });
    await side.nc.flush();
    for (let n = 0; n < 5_000; n++) consumer.bus.kick();
    await vi.waitFor(() => expect(sent).toBe(2), soon);
    await vi.waitFor(() => expect(consumer.looks()).toBe(2), soon);
  });
});

describe("the bus survives", () => {
  it("a server that appears only later", async () => {
    await server.stop();
    const own = bus();
    let looks = 0;
    own.consumeHeartbeat(() => {
      looks += 1;
    });
    expect(own.connected()).toBe(false);
    await expect(own.publishHeartbeat(Date.now())).rejects.toBeInstanceOf(TransientError);
    await server.start();
    await connected(own);
    expect(await arrivesAgain({ bus: own, looks: () => looks })).toBe(true);
  });

  it("a restart of the server", async () => {
    const consumer = await consuming();
    await server.stop();
    await vi.waitFor(() => expect(consumer.bus.connected()).toBe(false), soon);
    await server.start();
    await connected(consumer.bus);
    expect(await arrivesAgain(consumer)).toBe(true);
  });

  it("a restart with the loss of everything stored", async () => {
    const consumer = await consuming();
    await server.stop({ loseStorage: true });
    await server.start();
    await connected(consumer.bus);
    expect(await arrivesAgain(consumer)).toBe(true);
    await consumer.bus.publishEvent(event("e-1"), never);
  });

  it("the deletion of its consumer", async () => {
    const consumer = await consuming();
    await using side = await manager();
    await side.jsm.consumers.delete(await side.jsm.streams.find(HEARTBEAT_SUBJECT), CONSUMER);
    expect(await arrivesAgain(consumer)).toBe(true);
  });

  it("the deletion of its stream", async () => {
    const consumer = await consuming();
    await using side = await manager();
    await side.jsm.streams.delete(await side.jsm.streams.find(HEARTBEAT_SUBJECT));
    expect(await arrivesAgain(consumer)).toBe(true);
  });

  it("an outage, and shows by lastProgress that nothing comes", async () => {
    const consumer = await consuming();
    const before = consumer.bus.lastProgress();
    await vi.waitFor(() => expect(consumer.bus.lastProgress()).toBeGreaterThan(before), soon);
    await server.stop();
    await vi.waitFor(() => expect(consumer.bus.connected()).toBe(false), soon);
    const standing = consumer.bus.lastProgress();
    await sleep(1200);
    expect(consumer.bus.lastProgress()).toBe(standing);
  });
});

it("closes within a moment, connected or not, and can be closed twice", async () => {
  const { bus: open } = await consuming();
  await open.close();
  await open.close();
  await server.stop();
  const alone = bus();
  alone.consumeHeartbeat(() => {});
  await alone.close();
  expect([open.connected(), alone.connected()]).toEqual([false, false]);
}, 5000);
