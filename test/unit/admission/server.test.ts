import { once } from "node:events";
import { request } from "node:https";
import { connect } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { type AdmissionServer, makeAdmissionServer } from "../../../src/admission/server.ts";
import { type Log, type LogFields, silentLog } from "../../../src/lib/log.ts";
import type { Tracer } from "../../../src/lib/tracing.ts";
import type { AdmissionCandidate } from "../../../src/store/admissions.ts";
import { type CertificateSet, makeCertificates } from "../../../src/tls/authority.ts";
import type { TLSMaterial } from "../../../src/tls/files.ts";
import { knownTenant, reviewOf, webhookClient } from "../../support/admission.ts";
import { collectSpans } from "../../support/spans.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function certificates(): Promise<CertificateSet> {
  return makeCertificates({ dnsNames: ["localhost"], ips: ["127.0.0.1"] }, { now: Date.now() });
}

/** Certificates that arrive when the test says so. */
function delivery() {
  let listener: ((material: TLSMaterial) => void) | undefined;
  return {
    tls: {
      subscribe(wanted: (material: TLSMaterial) => void) {
        listener = wanted;
        return () => (listener = undefined);
      },
    },
    deliver: ({ cert, key }: CertificateSet) => listener?.({ cert, key, notAfter: 0 }),
  };
}

async function serve(
  options: {
    log?: Log;
    tracer?: Tracer;
    recorded?: AdmissionCandidate[];
    slow?: Promise<unknown>;
    lookup?: () => never;
    shutdownDelayMs?: number;
  } = {},
) {
  const notes: string[] = [];
  const { tls, deliver } = delivery();
  const server: AdmissionServer = makeAdmissionServer({
    listen: { host: "127.0.0.1", port: 0 },
    tls,
    shutdownDelayMs: options.shutdownDelayMs ?? 0,
    log: options.log ?? silentLog,
    ...(options.tracer === undefined ? {} : { tracer: options.tracer }),
    tenants: { lookup: options.lookup ?? (() => knownTenant()), loaded: true },
    record: async (candidate) => {
      options.recorded?.push(candidate);
      await options.slow;
      return { inserted: true, touched: false, heldBy: undefined, full: false };
    },
    observe: ({ webhook, outcome }) => notes.push(`${webhook} ${outcome}`),
  });
  await server.start();
  cleanups.push(() => server.stop());
  const set = await certificates();
  deliver(set);
  const client = webhookClient({ port: server.port(), ca: set.ca });
  cleanups.push(() => client.close());
  return { server, client, deliver, notes, set };
}

describe("over TLS", () => {
  test("completes a manifest at /mutate", async () => {
    const { client, notes } = await serve();
    const { status, headers, answer } = await client.send("/mutate?timeout=2s", reviewOf({ uid: "u-1" }));
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("application/json");
    expect(answer).toMatchObject({
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      response: { uid: "u-1", allowed: true, patchType: "JSONPatch" },
    });
    const patch = JSON.parse(Buffer.from(answer.response.patch ?? "", "base64").toString()) as unknown[];
    expect(patch).toHaveLength(2);
    expect(notes).toEqual(["mutate allowed"]);
  });

  test("checks and records it at /validate", async () => {
    const { client, notes } = await serve();
    const { answer } = await client.send("/validate", reviewOf({ uid: "u-1" }));
    expect(answer.response).toEqual({ uid: "u-1", allowed: true });
    const denied = await client.send("/validate", reviewOf({ uid: "u-2", spec: { userUUID: "x" } }));
    expect(denied.status).toBe(200);
    expect(denied.answer.response).toMatchObject({ uid: "u-2", allowed: false, status: { code: 403 } });
    expect(notes).toEqual(["validate allowed", "validate denied"]);
  });

  test("keeps a connection for at least 90 s, and uses it again", async () => {
    const { client } = await serve();
    const { headers } = await client.send("/mutate", reviewOf());
    expect(Number(/timeout=(\d+)/.exec(String(headers["keep-alive"]))?.[1])).toBeGreaterThanOrEqual(90);
  });
});

describe("what a review leaves behind", () => {
  const lines: LogFields[] = [];
  const log: Log = { ...silentLog, info: (message, fields) => void lines.push({ ...fields, line: message }) };
  const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const headers = { "content-type": "application/json", traceparent: parent };
  const uid = "0b000000-0000-4000-8000-0000000000aa";

  test("a denied one names object and request in the log, traced or not", async () => {
    const { client } = await serve({ log });
    await client.send("/validate", reviewOf({ uid, spec: { userUUID: "x" } }));
    expect(lines.splice(0)).toMatchObject([
      { line: "denied admission", namespace: "tenant-a", name: "ada", requestUID: uid, traceID: undefined },
    ]);
  });

  test("one that is recorded begins the trace that its row keeps", async () => {
    const [spans, recorded] = [collectSpans(), [] as AdmissionCandidate[]];
    const { client } = await serve({ log, tracer: spans.tracer, recorded });
    await client.send("/mutate", reviewOf({ uid }));
    await client.send("/validate", reviewOf({ uid }));
    await client.send("/validate", reviewOf({ uid, spec: { userUUID: "x" } }));
    const [record, review, denied] = await spans.all();
    expect([record?.name, review?.name, denied?.name]).toEqual([
      "record admission",
      "POST /validate",
      "POST /validate",
    ]);
    expect(review).toMatchObject({
      kind: "server",
      parent: undefined,
      attributes: {
        "http.route": "/validate",
        "k8s.namespace.name": "tenant-a",
        "unified_rbac.object.name": "ada",
        "unified_rbac.request.uid": uid,
        "unified_rbac.outcome": "allowed",
      },
    });
    expect(record).toMatchObject({ trace: review?.trace, parent: review?.id });
    expect(recorded).toMatchObject([
      { cause: { requestUID: uid, traceparent: `00-${review?.trace}-${review?.id}-01` } },
    ]);
    expect(lines.splice(0)).toMatchObject([{ line: "denied admission", requestUID: uid, traceID: denied?.trace }]);
  });

  test("both belong to the API server's trace where it sends one, and to its choice of what is kept", async () => {
    const spans = collectSpans();
    const { client } = await serve({ tracer: spans.tracer });
    await client.send("/mutate", reviewOf(), { headers });
    await client.send("/validate", reviewOf(), { headers });
    await client.send("/validate", reviewOf(), { headers: { ...headers, traceparent: parent.replace(/1$/, "0") } });
    const all = await spans.all();
    expect(all.map(({ name }) => name)).toEqual(["POST /mutate", "record admission", "POST /validate"]);
    expect(new Set(all.map(({ trace }) => trace))).toEqual(new Set(["0af7651916cd43dd8448eb211c80319c"]));
  });
});

describe("whatever comes in, an AdmissionReview goes out", () => {
  const json = { "content-type": "application/json" };
  const huge = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-9","x":"${"x".repeat(8 * 1024 * 1024)}"}}`;

  test.each([
    [
      "not JSON",
      "kind: TenantUser",
      json,
      "",
      400,
      "The body is not JSON; send an AdmissionReview of admission.k8s.io/v1.",
    ],
    ["nothing", "", json, "", 400, "The body is not JSON; send an AdmissionReview of admission.k8s.io/v1."],
    [
      "a wrong content type",
      JSON.stringify(reviewOf()),
      { "content-type": "text/yaml" },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
      415,
      'The content type must be application/json, it is "text/yaml".',
    ],
    ["no content type", "{}", {}, "", 415, "The content type must be application/json, it is absent."],
    ["a compressed body", "{}", { ...json, "content-encoding": "gzip" }, "", 415, "The body must not be compressed."],
    ["8 MB", huge, json, "u-9", 413, "The request is larger than 8 MiB; make the object smaller."],
    [
      "a malformed AdmissionReview",
      '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}',
      json,
      "",
      400,
      "The AdmissionReview has no request with a uid.",
    ],
    [
      "something else",
      '{"kind":"Pod","apiVersion":"v1"}',
      json,
      "",
      400,
      "The body is not an AdmissionReview of admission.k8s.io/v1.",
    ],
    ["no object", reviewOf({ uid: "u-3", object: null }), json, "u-3", 400, "The request has no object."],
  ])("%s", async (_what, body, headers, uid: unknown, code, message) => {
    const { client } = await serve();
    for (const path of ["/mutate", "/validate"]) {
      const { status, answer } = await client.send(path, body, { headers });
      expect(status).toBe(200);
      expect(answer).toEqual({
        apiVersion: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: { uid, allowed: false, status: { code, message } },
      });
    }
    // The server is as well as before.
    expect((await client.send("/mutate", reviewOf())).answer.response.allowed).toBe(true);
  });

  test.each([
    ["POST", "/", 404, 'There is nothing at "/"; use /mutate or /validate.'],
    ["POST", "/mutates", 404, 'There is nothing at "/mutates"; use /mutate or /validate.'],
    ["POST", "/%E0%A4%A", 404, 'There is nothing at "/%E0%A4%A"; use /mutate or /validate.'],
    ["GET", "/mutate", 405, "This path takes only POST."],
  ])("%s %s", async (method, path, code, message) => {
    const { client } = await serve();
    const { status, answer } = await client.send(path, method === "POST" ? reviewOf() : "", { method });
    expect(status).toBe(code);
    expect(answer.response).toEqual({ uid: "", allowed: false, status: { code, message } });
  });

  test("our own failure is a 500, so that failurePolicy decides", async () => {
    const { client } = await serve({
      lookup: () => {
        throw new Error("a bug");
      },
    });
    const { status, answer } = await client.send("/mutate", reviewOf({ uid: "u-1" }));
    expect(status).toBe(500);
    expect(answer.response).toEqual({
      uid: "u-1",
      allowed: false,
      status: { code: 500, message: "The webhook failed on this request; its log says more." },
    });
  });

  test("a client that breaks off in the middle disturbs nobody", async () => {
    const { client, server, set } = await serve();
    const broken = request({ host: "127.0.0.1", port: server.port(), path: "/validate", method: "POST", ca: set.ca });
    broken.on("error", () => {});
    broken.setHeader("content-length", "1000");
    broken.write("{");
    await once(broken, "socket");
    broken.destroy();
    expect((await client.send("/validate", reviewOf())).answer.response.allowed).toBe(true);
  });
});

describe("its certificate", () => {
  test("may arrive after the start; only then it is ready", async () => {
    const { tls, deliver } = delivery();
    const server = makeAdmissionServer({
      listen: { host: "127.0.0.1", port: 0 },
      tls,
      log: silentLog,
      tenants: { lookup: () => undefined, loaded: false },
      record: async () => undefined,
    });
    await server.start();
    cleanups.push(() => server.stop());
    expect(server.ready()).toBe(false);
    const set = await certificates();
    const early = webhookClient({ port: server.port(), ca: set.ca });
    await expect(early.send("/mutate", reviewOf())).rejects.toThrow("handshake failure");
    deliver(set);
    expect(server.ready()).toBe(true);
    expect((await early.send("/mutate", reviewOf())).status).toBe(200);
    early.close();
  });

  test("changes without a restart, and without breaking open connections", async () => {
    const { server, client, deliver } = await serve();
    const next = await certificates();
    await client.send("/mutate", reviewOf());
    deliver(next);
    expect((await client.send("/mutate", reviewOf())).status).toBe(200);
    const later = webhookClient({ port: server.port(), ca: next.ca });
    expect((await later.send("/mutate", reviewOf())).status).toBe(200);
    later.close();
  });

  test("is not offered to TLS 1.1", async () => {
    const { server, set } = await serve();
    const old = connect({
      host: "127.0.0.1",
      port: server.port(),
      ca: set.ca,
      maxVersion: "TLSv1.1",
      minVersion: "TLSv1",
    });
    await expect(once(old, "secureConnect")).rejects.toThrow(/protocol version|unsupported protocol|no protocols/);
  });
});

describe("at the end", () => {
  test("a request in flight is answered, its connection closed, nobody new is let in", async () => {
    const gate = Promise.withResolvers<void>();
    const { server, client, set } = await serve({ slow: gate.promise });
    await client.send("/mutate", reviewOf());
    const inFlight = client.send("/validate", reviewOf({ uid: "last" }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const port = server.port();
    const stopping = server.stop();
    expect(server.ready()).toBe(false);
    const late = webhookClient({ port, ca: set.ca });
    await expect(late.send("/mutate", reviewOf())).rejects.toThrow("ECONNREFUSED");
    gate.resolve();
    const { headers, answer } = await inFlight;
    expect(answer.response).toMatchObject({ uid: "last", allowed: true });
    expect(headers["connection"]).toBe("close");
    await stopping;
  });

  test("under load every request is answered, though the clients keep their connections until they are told", async () => {
    const { server, set } = await serve({ shutdownDelayMs: 500 });
    const port = server.port();
    const answers: { late: boolean; closes: boolean }[] = [];
    let isStopping = false;
    let isStopped = false;
    // As the API server's: each keeps one connection, and goes to another replica once it was told to close it.
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      const client = webhookClient({ port, ca: set.ca });
      try {
        for (let n = 0; !isStopped; n += 1) {
          const late = isStopping;
          const { answer, headers } = await client.send("/mutate", reviewOf({ uid: `w${writer}-${n}` }));
          expect(answer.response).toMatchObject({ allowed: true });
          const closes = headers["connection"] === "close";
          answers.push({ late, closes });
          if (closes) return;
          // Longer than a close of idle connections would leave them.
          await new Promise((resolve) => setTimeout(resolve, writer * 20));
        }
      } finally {
        client.close();
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    isStopping = true;
    const stopped = server.stop();
    expect(server.ready()).toBe(false);
    await Promise.all(writers);
    await stopped;
    isStopped = true;
    expect(answers.filter(({ closes }) => closes)).toHaveLength(8);
    expect(answers.filter(({ late, closes }) => late && !closes)).toEqual([]);
  });
});
