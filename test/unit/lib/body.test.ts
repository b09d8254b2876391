import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeAdminClients } from "../../../src/keycloak/adminClients.ts";
import { makeSession } from "../../../src/keycloak/session.ts";
import { makeTokens } from "../../../src/keycloak/token.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { TransientError } from "../../../src/lib/errors.ts";
import { call } from "../../../src/lib/http.ts";
import { Sensitive } from "../../../src/lib/sensitive.ts";
import { openOperatorClient } from "../../../src/plugin/operatorClient.ts";
import { HOSTILE_BODIES, type HostileServer, startHostileServer } from "../../support/hostileServer.ts";
import * as z from "zod";

let server: HostileServer;
const { signal } = new AbortController();

beforeEach(async () => {
  server = await startHostileServer();
});
afterEach(() => server.close());

const TOKEN = { value: new Sensitive("t"), renewAt: Number.POSITIVE_INFINITY };

const READERS: Readonly<Record<string, () => Promise<unknown>>> = {
  "a gateway": () => call("newapi", { method: "GET", url: server.url }, signal),
  "a realm": () => {
    const session = makeSession({
      server: { url: server.url, realm: "acme", dispatcher: () => undefined },
      clients: makeAdminClients(),
      tokens: { current: () => Promise.resolve(TOKEN), after: () => Promise.resolve(TOKEN) },
      clock: systemClock,
      away: () => undefined,
      gone: () => undefined,
    });
    return session(signal)("a search", z.unknown(), (client) => client.users.find({}));
  },
  "the login to a realm": () => {
    const client = { clientID: "c", clientSecret: new Sensitive("s"), clock: systemClock };
    return makeTokens({ url: server.url, realm: "acme", dispatcher: () => undefined, ...client }).current(signal);
  },
};

describe.each(Object.entries(READERS))("an answer of %s", (_name, read) => {
  it.each(Object.entries(HOSTILE_BODIES))("is not read when it is %s", async (_body, answer) => {
    server.answer = answer;
    const before = process.memoryUsage().rss;
    const failure: unknown = await read().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(TransientError);
    const { message, upstreamStatus } = failure as TransientError;
    expect(message).toMatch(
      /is not read: it (is larger than 4 MiB|has more than 100000 values|is nested deeper than 64)/,
    );
    // It answered: nobody takes this for silence.
    expect(upstreamStatus).toBeGreaterThanOrEqual(200);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
  });

  it("is not waited for without end when it comes in drops", async () => {
    const cut = new AbortController();
    server.answer = (response) => {
      response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" });
      const drop = setInterval(() => (response.destroyed ? clearInterval(drop) : response.write(" ")), 20);
    };
    setTimeout(() => cut.abort(new Error("over")), 200);
    const session = call("newapi", { method: "GET", url: server.url }, cut.signal);
    await expect(session).rejects.toBeInstanceOf(TransientError);
  });

  it("leads nowhere when it is a redirect", async () => {
    let asked = 0;
    server.answer = (response) => {
      asked += 1;
      response.writeHead(307, { location: `${server.url.replace("127.0.0.1", "localhost")}/stolen` }).end("{}");
    };
    await read().catch(() => undefined);
    expect(asked).toBe(1);
  });
});

describe("what may be read", () => {
  const users = JSON.stringify([{ id: "1", username: "zoë" }]);

  it.each([
    ["as it is", undefined, (text: string) => Buffer.from(text)],
    ["in gzip", "gzip", gzipSync],
    ["in deflate", "deflate", deflateSync],
    ["in brotli", "br", brotliCompressSync],
  ] as const)("comes whole %s, from a gateway and from a realm", async (_name, coding, encode) => {
    server.answer = (response) => {
      if (coding !== undefined) response.setHeader("content-encoding", coding);
      response.end(encode(users));
    };
    expect(await READERS["a realm"]?.()).toEqual(JSON.parse(users));
    expect(await READERS["a gateway"]?.()).toMatchObject({ status: 200, text: users });
  });

  it("may hold 4 MiB, in a string too, whatever brackets are in it", async () => {
    const text = JSON.stringify([`${'[{",\\'.repeat(300_000)}`]);
    server.answer = (response) => response.end(text);
    expect(await READERS["a realm"]?.()).toEqual(JSON.parse(text));
    expect(await READERS["a gateway"]?.()).toMatchObject({ text });
  });

  it("keeps an encoding that nobody asked for out, and an answer that breaks off", async () => {
    server.answer = (response) => response.setHeader("content-encoding", "gzip, gzip").end(gzipSync(gzipSync(users)));
    await expect(READERS["a realm"]?.()).rejects.toThrow("encoded in a way that was not asked for");
    server.answer = (response) => response.setHeader("content-encoding", "gzip").end(gzipSync(users).subarray(0, 20));
    await expect(READERS["a realm"]?.()).rejects.toThrow("cannot be decompressed");
  });

  it("makes no prototype of a key that is called so", async () => {
    server.answer = (response) => response.end('{"__proto__":{"access_token":"x","accessToken":"x"}}');
    await expect(READERS["the login to a realm"]?.()).rejects.toThrow("not its own");
    expect(Reflect.get({}, "access_token")).toBeUndefined();
  });
});

describe("the plugin", () => {
  it.each(Object.entries(HOSTILE_BODIES))("takes no reconciler's answer that is %s", async (_body, answer) => {
    server.answer = answer;
    await expect(openOperatorClient(server.url, "me", signal).cleanups(undefined)).rejects.toThrow(
      "is no reconciler of this version",
    );
  });
});
