/** A bare client of a real API server, for tests that care about the very request and the very answer. */
import { once } from "node:events";
import { IncomingMessage } from "node:http";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import { json, text } from "node:stream/consumers";
import { KubeConfig } from "@kubernetes/client-node";
import * as z from "zod";

export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** What kubectl would print after "Warning:". */
  readonly warnings: readonly string[];
}

export interface ApiServer {
  /** `body` is sent as JSON; `type` is its content type; `as` is the user to impersonate. */
  send(method: string, path: string, body?: unknown, type?: string, as?: string): Promise<Answer>;
  /** What a path answers that does not speak JSON, such as /metrics. */
  text(path: string): Promise<string>;
  close(): void;
}

/** Lists of thousands of large objects take their time on a busy machine. */
const DEADLINE_MS = 60_000;

const object = z.record(z.string(), z.unknown());

export async function connectApiServer(kubeconfig: string): Promise<ApiServer> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const server = config.getCurrentCluster()?.server;
  if (server === undefined) throw new Error(`${kubeconfig} names no server`);
  const tls: RequestOptions = {};
  await config.applyToHTTPSOptions(tls);
  const { ca, cert, key, rejectUnauthorized } = tls;
  // A bearer token, where the kubeconfig has one instead of a client certificate.
  const credentials = z.record(z.string(), z.string()).catch({}).parse(tls.headers);
  const agent = new Agent({ keepAlive: true, maxSockets: 8, ca, cert, key, rejectUnauthorized });

  return {
    async text(path) {
      const sent = httpsRequest(new URL(path, server), {
        agent,
        headers: credentials,
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      sent.on("error", () => {});
      sent.end();
      const [answer] = z.tuple([z.instanceof(IncomingMessage)]).parse(await once(sent, "response"));
      return text(answer);
    },
    async send(method, path, body, type = "application/json", as) {
      const sent = httpsRequest(new URL(path, server), {
        method,
        agent,
        headers: {
          ...credentials,
          accept: "application/json",
          ...(body !== undefined && { "content-type": type }),
          ...(as !== undefined && { "impersonate-user": as }),
        },
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      // Told by the answer's body, when its end does not come.
      sent.on("error", () => {});
      sent.end(body === undefined ? undefined : JSON.stringify(body));
      const [answer] = z.tuple([z.instanceof(IncomingMessage)]).parse(await once(sent, "response"));
      return {
        status: answer.statusCode ?? 0,
        body: object.parse(await json(answer)),
        warnings: warningsIn(answer.headers.warning),
      };
    },
    close: () => agent.destroy(),
  };
}

/** `299 - "text"`, several separated by commas; quotes inside a text are escaped. */
function warningsIn(header: string | undefined): string[] {
  return [...(header ?? "").matchAll(/\d{3} \S+ "((?:[^"\\]|\\.)*)"/g)].map(([, text = ""]) =>
    text.replaceAll(/\\(.)/g, "$1"),
  );
}
