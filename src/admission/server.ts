/** The webhook's door: HTTPS, two paths, certificates that change while it runs. */
import { constants } from "node:crypto";
import { createServer } from "node:https";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from "express";
import type { Address } from "../lib/configVariables.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { NO_SPAN, noTracer, type Span, traceparentOf } from "../lib/tracing.ts";
import type { TLSMaterial } from "../tls/files.ts";
import {
  type AdmissionOperation,
  type AdmissionOutcome,
  type AnswerDeps,
  answerRequest,
  operationOf,
  type Webhook,
} from "./answer.ts";
import { type Arrived, readBody } from "./body.ts";
import { makeClientCheck } from "./clients.ts";
import { type Connections, makeConnections, MOST_CONNECTIONS } from "./connections.ts";
import { type InFlight, makeInFlight, MOST_IN_FLIGHT, type Share } from "./inFlight.ts";
import { type AdmissionRequest, deny, parseReview, type ReviewRefusal, tooMuch } from "./review.ts";

/** The API server keeps its connections for 90 s; closing them first would cost a handshake for each commit. */
const KEEP_ALIVE_MS = 95_000;
/** It waits 2 s for an answer (manifests/webhook), at most 30; nobody honest sends for longer than this. */
const HANDSHAKE_MS = 5_000;
const HEADERS_MS = 5_000;
const REQUEST_MS = 10_000;
/** How often those limits are checked. */
const CHECK_EVERY_MS = 1_000;
/** How long requests in flight may still take at the end: longer than any of them does. */
const DRAIN_MS = 5_000;

/** Not about the manifest: the API server reads no sentence, and failurePolicy decides. */
const OURS: ReadonlySet<number> = new Set([404, 405, 429, 500]);

export interface AdmissionDeps extends AnswerDeps {
  readonly listen: Address;
  /** Calls the listener with what is there already, and with every later one. */
  readonly tls: { subscribe(listener: (material: TLSMaterial) => void): () => void };
  /** Whose client certificate is asked for: `names` of its subject; without any, everybody's whom the CA vouches for. */
  readonly clients?: { readonly names: readonly string[] } | undefined;
  /**
   * How long it serves on after it was asked to end, each answer closing its connection. The API server keeps its
   * connections to a Pod that has left the Service, and a request that is on its way when they are closed is lost: the
   * write is admitted without us. Default 0.
   */
  readonly shutdownDelayMs?: number;
  /** Others than the usual ones, for tests. */
  readonly limits?: { readonly connections?: number; readonly bytes?: number; readonly requestMs?: number };
  readonly log: Log;
  /** For metrics: every answer, with how long it took. */
  readonly observe?: (note: {
    readonly webhook: Webhook;
    readonly operation: AdmissionOperation;
    readonly dryRun: boolean;
    readonly outcome: AdmissionOutcome;
    readonly ms: number;
  }) => void;
}

export interface AdmissionServer extends Part {
  /** It listens, and the certificate has arrived. Says nothing about Postgres: admission works without. */
  ready(): boolean;
  /** The port that it listens on; 0 before. */
  port(): number;
}

export function makeAdmissionServer(deps: AdmissionDeps): AdmissionServer {
  const { log, listen, tls, clients, limits, shutdownDelayMs = 0 } = deps;
  const connections = makeConnections(limits?.connections ?? MOST_CONNECTIONS);
  const requestMs = limits?.requestMs ?? REQUEST_MS;
  let stopping = false;
  let hasCertificate = false;
  let unsubscribe: (() => void) | undefined;

  // Until the certificate arrives every handshake fails; nobody is sent here, for it is not ready.
  const server = createServer(
    {
      minVersion: "TLSv1.2",
      keepAlive: true,
      noDelay: true,
      keepAliveTimeout: KEEP_ALIVE_MS,
      handshakeTimeout: HANDSHAKE_MS,
      headersTimeout: Math.min(HEADERS_MS, requestMs),
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(CHECK_EVERY_MS, requestMs),
      // A session that is resumed would bring along a certificate that nobody checks again.
      ...(clients === undefined
        ? {}
        : { requestCert: true, rejectUnauthorized: true, secureOptions: constants.SSL_OP_NO_TICKET }),
    },
    makeApp({ ...deps, connections, inFlight: makeInFlight(limits?.bytes ?? MOST_IN_FLIGHT), closing: () => stopping }),
  );
  server.on("connection", (socket: Socket) => connections.add(socket));
  if (clients !== undefined) {
    const check = makeClientCheck(clients.names, log);
    server.on("tlsClientError", (error) => check.failed(error));
    // Before a byte of the request is read.
    server.prependListener("secureConnection", (socket) => check.connected(socket));
  }

  return {
    name: "admission server",
    ready: () => hasCertificate && server.listening && !stopping,
    port() {
      const bound = server.address();
      return bound !== null && typeof bound === "object" ? bound.port : 0;
    },
    async start() {
      unsubscribe = tls.subscribe(({ cert, key, clientCA }) => {
        // Without a CA every certificate would have to do: nobody is let in before it is there.
        if (clients !== undefined && clientCA === undefined) return;
        // For new handshakes only: connections that are open keep the certificate they began with.
        server.setSecureContext({
          cert,
          key,
          minVersion: "TLSv1.2",
          ...(clientCA === undefined ? {} : { ca: clientCA, secureOptions: constants.SSL_OP_NO_TICKET }),
        });
        hasCertificate = true;
      });
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(listen.port, listen.host, () => {
          server.off("error", reject);
          server.on("error", (error) => log.error("failed to serve the webhook's port", { error }));
          resolve();
        });
      });
    },
    async stop() {
      stopping = true;
      unsubscribe?.();
      if (!server.listening) return;
      if (shutdownDelayMs > 0) await sleep(shutdownDelayMs);
      const closed = new Promise((resolve) => server.close(resolve));
      // Those that wait for their next request end now; those with a request end with its answer.
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
      await closed;
      clearTimeout(timer);
    },
  };
}

/** Alone, for tests and measurements over another transport. */
export function makeApp(
  deps: AnswerDeps &
    Pick<AdmissionDeps, "log" | "observe"> & {
      readonly closing?: () => boolean;
      readonly connections?: Connections;
      readonly inFlight?: InFlight;
    },
): Express {
  const { log, observe, tracer = noTracer, closing, connections = makeConnections(), inFlight = makeInFlight() } = deps;

  const send = (response: Response, status: number, body: string): void => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const last = status === 429 || closing?.() === true;
    response.writeHead(status, last ? { ...headers, connection: "close" } : headers).end(body);
  };
  // The API server reads the sentence only where the HTTP status is 200. Where it cannot be a request of the API server's
  // for us (path, method), or we are broken or overrun, the HTTP status says so, and failurePolicy decides.
  const refuse = (response: Response, { uid, code, message }: ReviewRefusal): void =>
    send(response, OURS.has(code) ? code : 200, deny(uid, code, message));

  const traced = (
    webhook: Webhook,
    { uid, namespace, name, dryRun }: AdmissionRequest,
    parent: string | undefined,
    work: (span: Span) => Promise<AdmissionOutcome>,
  ): Promise<AdmissionOutcome> => {
    // A trace begins with the review that may record: the other one would be a trace of its own.
    if (webhook === "mutate" && parent === undefined) return work(NO_SPAN);
    const attributes = {
      "http.request.method": "POST",
      "http.route": `/${webhook}`,
      "k8s.namespace.name": namespace,
      "unified_rbac.object.name": name,
      "unified_rbac.request.uid": uid,
      "unified_rbac.dry_run": dryRun,
    };
    return tracer.inTrace(parent, `POST /${webhook}`, { kind: "server", attributes }, async (span) => {
      const outcome = await work(span);
      span.set({ "unified_rbac.outcome": outcome, "http.response.status_code": outcome === "error" ? 500 : 200 });
      return outcome;
    });
  };

  const answerTo = async (
    webhook: Webhook,
    request: Request,
    response: Response,
    arrived: Arrived,
    began: number,
  ): Promise<void> => {
    let outcome: AdmissionOutcome = "error";
    if ("gaveWay" in arrived) {
      refuse(response, tooMuch(arrived.gaveWay));
      log.warn("refused a request; too many bytes are in flight", { webhook, outcome });
      observe?.({ webhook, operation: "other", dryRun: false, outcome, ms: performance.now() - began });
      return;
    }
    const done = connections.answering(request.socket);
    const parsed = parseReview(request.headers, arrived);
    const review = "refusal" in parsed ? undefined : parsed.request;
    if ("refusal" in parsed) {
      refuse(response, parsed.refusal);
      log.warn("refused a request that is no admission review", { webhook, outcome, code: parsed.refusal.code });
    } else {
      const parent = traceparentOf(request.headers["traceparent"]);
      outcome = await traced(webhook, parsed.request, parent, async (span) => {
        const { namespace, name, uid } = parsed.request;
        const who = { webhook, namespace, name, requestUID: uid, traceID: span.traceID };
        try {
          const answer = await answerRequest(webhook, parsed.request, deps, span);
          send(response, 200, answer.body);
          const { outcome: said, message } = answer;
          if (said === "denied") log.info("denied admission", { ...who, outcome: said, message });
          return said;
        } catch (error) {
          log.error("failed to answer an admission request", { ...who, error });
          refuse(response, { uid, code: 500, message: "The webhook failed on this request; its log says more." });
          span.fail(error);
          return "error";
        }
      });
    }
    done();
    const asked = { operation: operationOf(review), dryRun: review?.dryRun === true };
    observe?.({ webhook, ...asked, outcome, ms: performance.now() - began });
  };

  const handle = (webhook: Webhook) => async (request: Request, response: Response) => {
    const began = performance.now();
    let share: Share | undefined;
    const arrived = await readBody(request, (giveWay) => (share = inFlight.open(giveWay))).catch(() => undefined);
    // Undefined: nobody is there to be answered.
    if (arrived !== undefined) await answerTo(webhook, request, response, arrived, began);
    share?.release();
  };

  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("query parser", false);
  // One layer for all: routes of express's own take as long as the rest of a review that is alone.
  const webhooks = new Map([
    ["/mutate", handle("mutate")],
    ["/validate", handle("validate")],
  ]);
  app.use(async (request: Request, response: Response) => {
    const webhook = webhooks.get(request.path);
    if (webhook === undefined) {
      const path = JSON.stringify(request.path.slice(0, 100));
      refuse(response, { uid: "", code: 404, message: `There is nothing at ${path}; use /mutate or /validate.` });
    } else if (request.method !== "POST") {
      refuse(response, { uid: "", code: 405, message: "This path takes only POST." });
    } else await webhook(request, response);
  });
  const onError: ErrorRequestHandler = (error, _request, response, _next) => {
    // Express's own, of a request that it cannot take. Anything else came after the answer, and concerns nobody outside.
    if (response.headersSent) return log.error("failed after the answer was sent", { error });
    refuse(response, { uid: "", code: 404, message: "The path cannot be read; use /mutate or /validate." });
  };
  app.use(onError);
  return app;
}
