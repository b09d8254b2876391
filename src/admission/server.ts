/** The webhook's door: HTTPS, two paths, certificates that change while it runs. */
import { createServer } from "node:https";
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from "express";
import type { Address } from "../lib/config.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import type { TLSMaterial } from "../tls/files.ts";
import { type AnswerDeps, answerRequest, type Outcome, type Webhook } from "./answer.ts";
import { readBody } from "./body.ts";
import { deny, parseReview, type Refusal } from "./review.ts";

/** The API server keeps its connections for 90 s; closing them first would cost a handshake for each commit. */
const KEEP_ALIVE_MS = 95_000;
/** How long requests in flight may still take at the end: longer than any of them does. */
const DRAIN_MS = 5_000;

export interface AdmissionDeps extends AnswerDeps {
  readonly listen: Address;
  /** Calls the listener with what is there already, and with every later one. */
  readonly tls: { subscribe(listener: (material: TLSMaterial) => void): () => void };
  readonly log: Log;
  /** For metrics: every answer, with how long it took. */
  readonly observe?: (note: { readonly webhook: Webhook; readonly outcome: Outcome; readonly ms: number }) => void;
}

export interface AdmissionServer extends Part {
  /** It listens, and the certificate has arrived. Says nothing about Postgres: admission works without. */
  ready(): boolean;
  /** The port that it listens on; 0 before. */
  port(): number;
}

export function makeAdmissionServer(deps: AdmissionDeps): AdmissionServer {
  const { log, listen, tls } = deps;
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
      headersTimeout: KEEP_ALIVE_MS + 5_000,
      requestTimeout: KEEP_ALIVE_MS + 10_000,
    },
    makeApp({ ...deps, closing: () => stopping }),
  );

  return {
    name: "admission server",
    ready: () => hasCertificate && server.listening && !stopping,
    port() {
      const bound = server.address();
      return bound !== null && typeof bound === "object" ? bound.port : 0;
    },
    async start() {
      unsubscribe = tls.subscribe(({ cert, key }) => {
        // For new handshakes only: connections that are open keep the certificate they began with.
        server.setSecureContext({ cert, key, minVersion: "TLSv1.2" });
        hasCertificate = true;
      });
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(listen.port, listen.host, () => {
          server.off("error", reject);
          server.on("error", (error) => log.error("the webhook's socket failed", { error }));
          resolve();
        });
      });
    },
    async stop() {
      stopping = true;
      unsubscribe?.();
      if (!server.listening) return;
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
  deps: AnswerDeps & Pick<AdmissionDeps, "log" | "observe"> & { readonly closing?: () => boolean },
): Express {
  const { log, observe, closing } = deps;

  const send = (response: Response, status: number, body: string): void => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    response.writeHead(status, closing?.() === true ? { ...headers, connection: "close" } : headers).end(body);
  };
  // The API server reads the sentence only where the HTTP status is 200. Where it cannot be a request of the API server's
  // for us (path, method), or we are broken, the HTTP status says so, and failurePolicy decides.
  const refuse = (response: Response, { uid, code, message }: Refusal): void =>
    send(response, code === 404 || code === 405 || code === 500 ? code : 200, deny(uid, code, message));

  const handle = (webhook: Webhook) => async (request: Request, response: Response) => {
    const began = performance.now();
    const body = await readBody(request).catch(() => undefined);
    if (body === undefined) return; // Nobody is there to be answered.
    let outcome: Outcome = "error";
    const parsed = parseReview(request.headers, body);
    if ("refusal" in parsed) {
      refuse(response, parsed.refusal);
      log.warn("not an admission request", { webhook, outcome, code: parsed.refusal.code });
    } else {
      const { namespace, uid } = parsed.request;
      try {
        const answer = await answerRequest(webhook, parsed.request, deps);
        outcome = answer.outcome;
        send(response, 200, answer.body);
        if (outcome === "denied") log.info("denied", { webhook, ns: namespace, outcome, message: answer.message });
      } catch (error) {
        log.error("admission failed", { webhook, ns: namespace, error });
        refuse(response, { uid, code: 500, message: "The webhook failed on this request; its log says more." });
      }
    }
    observe?.({ webhook, outcome, ms: performance.now() - began });
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
    if (response.headersSent) return log.error("after the answer", { error });
    refuse(response, { uid: "", code: 404, message: "The path cannot be read; use /mutate or /validate." });
  };
  app.use(onError);
  return app;
}
