/** What somebody on the network can take from the webhook who sends much, slowly, or never to the end. */
import { once } from "node:events";
import { request, type RequestOptions } from "node:https";
import { connect, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { IncomingMessage } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import { readBody } from "../../../src/admission/body.ts";
import { makeInFlight, MOST_IN_FLIGHT } from "../../../src/admission/inFlight.ts";
import { MOST_VALUES } from "../../../src/admission/review.ts";
import { type AdmissionDeps, makeAdmissionServer } from "../../../src/admission/server.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { makeCertificates } from "../../../src/tls/authority.ts";
import { knownTenant, reviewOf, webhookClient } from "../../support/admission.ts";

const MiB = 1024 * 1024;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serve(limits?: AdmissionDeps["limits"]) {
  const set = await makeCertificates({ dnsNames: ["localhost"], ips: ["127.0.0.1"] }, { now: Date.now() });
  const server = makeAdmissionServer({
    listen: { host: "127.0.0.1", port: 0 },
    tls: {
      subscribe(listener) {
        listener({ ...set, notAfter: 0 });
        return () => undefined;
      },
    },
    ...(limits === undefined ? {} : { limits }),
    log: silentLog,
    tenants: { lookup: () => knownTenant(), loaded: true },
    record: async () => ({ inserted: true, touched: false, heldBy: undefined, full: false }),
  });
  await server.start();
  cleanups.push(() => server.stop());
  const client = webhookClient({ port: server.port(), ca: set.ca });
  cleanups.push(() => client.close());
  return { port: server.port(), ca: set.ca, client };
}

/** Sends `part` of a body that was announced as larger, and stops. */
function half(target: { port: number; ca: string }, part: Buffer, options: RequestOptions = {}) {
  const { port, ca } = target;
  const headers = { "content-type": "application/json", "content-length": part.length + 1 };
  const made = request({
    host: "127.0.0.1",
    port,
    path: "/validate",
    method: "POST",
    ca,
    agent: false,
    headers,
    ...options,
  });
  cleanups.push(() => made.destroy());
  const answered = new Promise<number | undefined>((resolve) => {
    made.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    made.on("error", () => resolve(undefined));
  });
  const sent = new Promise<void>((resolve) => {
    made.write(part, () => resolve());
    made.on("close", resolve);
  });
  return { answered, sent };
}

function heldBuffers(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().arrayBuffers;
}

describe("bodies that are never finished", () => {
  test("60 that stop at 7 MiB hold 32 MiB together, and whoever sends a manifest meanwhile is answered", async () => {
    const target = await serve();
    const part = Buffer.alloc(7 * MiB, " ");
    const before = heldBuffers();
    const stopped = Array.from({ length: 60 }, () => half(target, part));
    await Promise.all(stopped.map(({ sent }) => sent));
    // Those that had to give way end a little later; from then on no more is held.
    await expect.poll(() => heldBuffers() - before, { timeout: 15_000 }).toBeLessThan(2 * MOST_IN_FLIGHT);
    expect((await target.client.send("/validate", reviewOf())).answer.response.allowed).toBe(true);
  });

  test("that had to give way are told 429, which is no verdict about the manifest", async () => {
    const target = await serve({ bytes: 2 * MiB });
    const [large, small] = [half(target, Buffer.alloc(3 * MiB, " ")), half(target, Buffer.alloc(1024, " "))];
    expect(await large.answered).toBe(429);
    expect(await Promise.race([small.answered, sleep(200, "still open")])).toBe("still open");
  });

  test("that come drop by drop are ended", async () => {
    const target = await serve({ requestMs: 400 });
    const began = performance.now();
    expect(await half(target, Buffer.from("{")).answered).not.toBe(200);
    expect(performance.now() - began).toBeLessThan(5_000);
  });
});

describe("connections", () => {
  const open = async (port: number, localAddress: string): Promise<Socket> => {
    const socket = connect({ port, host: "127.0.0.1", localAddress });
    socket.on("error", () => undefined);
    cleanups.push(() => socket.destroy());
    await once(socket, "connect");
    return socket;
  };

  test("beyond the most close one of whoever has most of them, and not those of others", async () => {
    const { port, client } = await serve({ connections: 8 });
    await client.send("/validate", reviewOf());
    const many = await Promise.all(Array.from({ length: 40 }, () => open(port, "127.0.0.2")));
    await expect.poll(() => many.filter((socket) => socket.closed).length).toBe(33);
    const { headers, answer } = await client.send("/validate", reviewOf());
    expect(answer.response.allowed).toBe(true);
    expect(headers["connection"]).toBe("keep-alive");
  });

  test("that never say anything are ended", async () => {
    const { port } = await serve({ requestMs: 300 });
    const socket = await open(port, "127.0.0.1");
    await once(socket, "close", { signal: AbortSignal.timeout(20_000) });
    expect(socket.closed).toBe(true);
  });

  test("that are quiet between two requests stay open", async () => {
    const { client } = await serve({ requestMs: 300 });
    await client.send("/validate", reviewOf());
    await sleep(1_500);
    const { answer } = await client.send("/validate", reviewOf());
    expect(answer.response.allowed).toBe(true);
  });
});

describe("a body", () => {
  const bodyOf = async (chunks: readonly Buffer[], most?: number) => {
    const inFlight = makeInFlight(most);
    const stream = new PassThrough();
    const arrived = readBody(Object.assign(stream, { complete: true }) as unknown as IncomingMessage, (giveWay) =>
      inFlight.open(giveWay),
    );
    for (const chunk of chunks) {
      stream.write(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
    stream.end();
    return { arrived: await arrived, bytes: inFlight.bytes() };
  };

  test("is the same in one piece and in many, and counts as what is kept for it", async () => {
    const whole = Buffer.from(JSON.stringify(reviewOf()));
    const pieces = Array.from(whole, (byte) => Buffer.from([byte]));
    for (const chunks of [[whole], pieces]) {
      const { arrived, bytes } = await bodyOf(chunks);
      expect("bytes" in arrived && arrived.bytes.equals(whole)).toBe(true);
      expect(bytes).toBeGreaterThanOrEqual(whole.length);
      expect(bytes).toBeLessThanOrEqual(64 * 1024);
    }
  });

  test("gives way with its beginning, where the uid stands", async () => {
    const { arrived, bytes } = await bodyOf([Buffer.from("ab"), Buffer.alloc(100_000), Buffer.from("c")], 1000);
    expect("gaveWay" in arrived && arrived.gaveWay.toString().startsWith("ab")).toBe(true);
    expect(bytes).toBe(0);
  });

  test("of as many values as 8 MiB can hold is refused before it is parsed; text with commas is none", async () => {
    const { client } = await serve();
    const begin = '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1","x":';
    const lists = `${begin}[${"[],".repeat(MOST_VALUES)}[]]}}`;
    const { status, answer } = await client.send("/validate", lists);
    expect(status).toBe(200);
    expect(answer.response).toMatchObject({ uid: "u-1", allowed: false, status: { code: 413 } });
    const annotations = { note: ',[{"\\'.repeat(MOST_VALUES / 2) };
    expect((await client.send("/validate", reviewOf({ metadata: { annotations } }))).answer.response.allowed).toBe(
      true,
    );
  });
});

test("of those that are whole none has to give way, and small ones outlive large ones", () => {
  const inFlight = makeInFlight(100);
  const gone: string[] = [];
  const of = (name: string) => inFlight.open(() => gone.push(name));
  const [whole, large, small] = [of("whole"), of("large"), of("small")];
  whole.hold(60);
  whole.complete();
  large.hold(30);
  expect(small.hold(20)).toBe(true);
  expect(gone).toEqual(["large"]);
  expect(large.hold(1)).toBe(false);
  expect(inFlight.bytes()).toBe(80);
  whole.release();
  whole.release();
  expect(inFlight.bytes()).toBe(20);
});
