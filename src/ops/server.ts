import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Address } from "../lib/configVariables.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { listening } from "./listening.ts";
import type { Liveness } from "./liveness.ts";
import type { Metrics } from "./metrics.ts";

/** One condition for traffic. Must answer from memory: probes come every few seconds. */
export interface Check {
  readonly name: string;
  /** undefined: fine; else one sentence about what is missing. */
  readonly problem: () => string | undefined;
}

export interface OpsServer extends Part {
  /** The port in use, known after the start. */
  port(): number;
}

/** /livez, /readyz and /metrics over plain HTTP, for the kubelet and Prometheus. Says nothing secret. */
export function makeOpsServer(deps: {
  readonly address: Address;
  readonly metrics: Pick<Metrics, "text" | "contentType">;
  readonly liveness: Liveness;
  readonly ready: readonly Check[];
  readonly log: Log;
}): OpsServer {
  const { address, metrics, liveness, ready, log } = deps;

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url?.split("?", 1)[0];
    if (request.method !== "GET" && request.method !== "HEAD") send(response, 405, "only GET\n");
    else if (path === "/livez") sendLines(response, liveness.report().map(describeLoop));
    else if (path === "/readyz") {
      sendLines(
        response,
        ready.map(({ name, problem }) => describeCheck(name, problem())),
      );
    } else if (path === "/metrics") {
      const text = await metrics.text();
      send(response, 200, text, metrics.contentType);
    } else send(response, 404, "there are /livez, /readyz and /metrics\n");
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      log.error("failed to answer a request", { error });
      if (!response.headersSent) send(response, 500, "internal error\n");
      else response.destroy();
    });
  });

  return {
    name: "ops server",
    ...listening(server, address, (error) => log.error("failed to serve health and metrics", { error })),
  };
}

interface Line {
  readonly ok: boolean;
  readonly text: string;
}

function inSeconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}

function describeLoop(loop: ReturnType<Liveness["report"]>[number]): Line {
  return { ok: loop.ok, text: `${loop.name}: ${inSeconds(loop.ageMs)} of ${inSeconds(loop.allowedMs)}` };
}

function describeCheck(name: string, problem: string | undefined): Line {
  return { ok: problem === undefined, text: problem === undefined ? name : `${name}: ${problem}` };
}

function sendLines(response: ServerResponse, lines: readonly Line[]): void {
  const text = lines.map(({ ok, text: said }) => `[${ok ? "+" : "-"}] ${said}\n`).join("");
  send(response, lines.every(({ ok }) => ok) ? 200 : 503, text === "" ? "ok\n" : text);
}

function send(response: ServerResponse, status: number, text: string, type = "text/plain; charset=utf-8"): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(text);
}
