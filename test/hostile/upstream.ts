/**
 * An upstream that a hostile tenant runs: it passes calls on to a real one, so that the Tenant's check can be green, and
 * answers a share of them in every way that no real one does.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { makeRandom, type Random } from "./random.ts";

/** `pass`: as the real one. `mixed`: most answers are one of {@link KINDS}. `slow`: one call a second, in order. */
export type Manner = "pass" | "mixed" | "slow";

export interface HostileUpstream {
  readonly url: string;
  behave(manner: Manner): void;
  /** How many answers were given of each kind; exact after the process has ended. */
  counts(): Readonly<Record<string, number>>;
  close(): Promise<void>;
}

interface Told {
  readonly url?: string;
  readonly counts?: Readonly<Record<string, number>>;
}

/** In a process of its own: what it costs to be hostile is not to slow down who measures. */
export async function startHostileUpstream(target: string, seed: number, mark: string): Promise<HostileUpstream> {
  const child = fork(import.meta.filename, [target, String(seed), mark], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  let counts: Readonly<Record<string, number>> = {};
  const begun = Promise.withResolvers<string>();
  child.on("message", (told: Told) => {
    counts = told.counts ?? counts;
    if (told.url !== undefined) begun.resolve(told.url);
  });
  child.once("exit", (code) => begun.reject(new Error(`the hostile upstream ended with ${code}`)));
  return {
    url: await begun.promise,
    behave: (manner) => void child.send(manner),
    counts: () => counts,
    async close() {
      process.off("exit", kill);
      child.disconnect();
      await once(child, "exit");
    },
  };
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly random: Random;
  readonly mark: string;
}

const json = { "content-type": "application/json" };
const BOMB = gzipSync(Buffer.alloc(64 * 1024 * 1024, "[1,"));
const PAGE = Buffer.alloc(64 * 1024, " ");

/** Writes until the caller has had enough. */
function stream({ response }: Call, first: string, chunk: Buffer, everyMs: number): void {
  response.write(first);
  const timer = setInterval(() => {
    if (response.writableLength < 1024 * 1024) response.write(chunk);
  }, everyMs);
  response.once("close", () => clearInterval(timer));
}

const say = (
  { response }: Call,
  status: number,
  body: string | Buffer,
  headers: Record<string, string> = json,
): void => {
  response.writeHead(status, headers);
  response.end(body);
};

/** Each is one way to answer; what it may not do is in the one who asked. */
const KINDS: Readonly<Record<string, (call: Call) => void>> = {
  "endless body": (call) => stream(call, "[", PAGE, 1),
  "a byte a second": (call) => stream(call, "[", Buffer.from(" "), 1_000),
  "gzip bomb": (call) => say(call, 200, BOMB, { ...json, "content-encoding": "gzip" }),
  "8 MiB of JSON": (call) => say(call, 200, `["${"x".repeat(8 * 1024 * 1024)}"]`),
  "a full page of users, always": (call) =>
    say(
      call,
      200,
      JSON.stringify(
        Array.from({ length: 500 }, (_, n) => ({
          id: `${call.mark}-${call.random.below(1e9)}-${n}`,
          username: `${call.mark}${n}`,
          email: `${n}@${call.mark}.example`,
          enabled: true,
          attributes: {},
        })),
      ),
    ),
  "deep nesting": (call) => say(call, 200, "[".repeat(100_000)),
  "no JSON": (call) => say(call, 200, `<html>${call.mark}</html>`, { "content-type": "text/html" }),
  "wrong types": (call) =>
    say(call, 200, call.random.pick(["null", "true", "0", '""', "[[]]", '{"id":{}}', '[{"id":null,"email":[1]}]'])),
  "bad ids": (call) =>
    say(
      call,
      200,
      JSON.stringify({ id: "..", user_id: "../../realms/master", api_key: "\u0000", success: true, data: { id: 0 } }),
    ),
  "controls in a message": (call) =>
    say(call, 400, JSON.stringify({ error: `\u0000\u001b[2J${call.mark}\u202e\ud800`, message: `\u0000${call.mark}` })),
  "240 kB that look like tokens": (call) => say(call, 400, "-eyJ".repeat(60_000)),
  redirect: (call) => say(call, 302, "", { location: `http://127.0.0.1:1/${call.mark}` }),
  "redirect to itself": (call) => say(call, 307, "", { location: call.request.url ?? "/" }),
  "absurd Retry-After": (call) =>
    say(call, call.random.pick([429, 503]), "{}", {
      ...json,
      "retry-after": call.random.pick(["99999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "-1", "soon", "1e309"]),
    }),
  "1,000 headers": ({ response }) => {
    for (let n = 0; n < 1_000; n += 1) response.setHeader(`x-${n}`, "y".repeat(10));
    response.end("{}");
  },
  "absurd Location": (call) =>
    say(call, 201, "{}", {
      ...json,
      location: call.random.pick(["..", "/", `/${"a".repeat(6_000)}`, "http://[", "%"]),
    }),
  "server error with a secret": (call) => say(call, 500, `{"password":"sk-${call.mark}-secret"}`),
  "bad gateway": (call) => say(call, 502, ""),
  unauthorized: (call) => say(call, 401, '{"error":"invalid_token"}'),
  "a token that ends at once": (call) => say(call, 200, '{"access_token":"x","expires_in":-99999999999999}'),
  "a token for ever": (call) => say(call, 200, '{"access_token":"x","expires_in":1e300}'),
  reset: ({ request }) => void request.socket.destroy(),
  silence: () => {},
  "half an answer": ({ response }) => {
    response.writeHead(200, { ...json, "content-length": "1000" });
    response.write("[");
    setTimeout(() => response.destroy(), 50);
  },
  "lying length": ({ request }) => void request.socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[1,2,3]]]]"),
  "no HTTP": ({ request }) => void request.socket.end(`\u0000\u0001\u0002${"z".repeat(100)}`),
};

const NAMES = Object.keys(KINDS) as [string, ...string[]];

async function serve(target: string, random: Random, mark: string): Promise<void> {
  let manner: Manner = "pass";
  const counts: Record<string, number> = {};
  let turn: Promise<void> = Promise.resolve();
  const real = new URL(target);

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const sent = forward({
      host: real.hostname,
      port: real.port,
      method: request.method,
      path: request.url,
      headers: { ...request.headers, host: real.host },
    });
    sent.once("error", () => response.destroy());
    sent.once("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      answer.once("error", () => response.destroy());
    });
    sent.end(body);
  }

  const server = createServer({ keepAlive: true }, (request, response) => {
    response.once("error", () => response.destroy());
    if (manner === "slow") {
      turn = turn.then(() => new Promise((resolve) => setTimeout(resolve, 1_000)));
      void turn.then(() => pass(request, response)).catch(() => response.destroy());
      return;
    }
    // One in four is passed on, or nothing would ever come as far as the calls that follow the first.
    if (manner === "pass" || random.next() < 0.25) {
      void pass(request, response).catch(() => response.destroy());
      return;
    }
    const kind = random.pick(NAMES);
    counts[kind] = (counts[kind] ?? 0) + 1;
    request.resume();
    KINDS[kind]?.({ request, response, random, mark });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the hostile upstream has no port");
  process.send?.({ url: `http://127.0.0.1:${address.port}` } satisfies Told);
  setInterval(() => process.send?.({ counts } satisfies Told), 500);
  process.on("message", (next: Manner) => {
    manner = next;
    // Whoever hangs is released: the next phase is to be about itself.
    server.closeAllConnections();
  });
  process.once("disconnect", () => process.exit(0));
}

if (import.meta.main) {
  const [target = "", seed = "0", mark = ""] = process.argv.slice(2);
  await serve(target, makeRandom(Number(seed)), mark);
}
