/**
 * The operator's port: HTTP on an address of this machine alone, so that nobody reaches it but by a port-forward into the
 * Pod, which the API server grants (docs/adr/0008-operator-port.md).
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { canonicalEmail, isUUID } from "../api/names.ts";
import { endOrder, OPERATOR_HEADER, operatorName } from "../api/operator.ts";
import type { Address } from "../lib/configVariables.ts";
import { isSagaError } from "../lib/errors.ts";
import type { Part } from "../lib/lifecycle.ts";
import { withDeadline } from "../lib/deadline.ts";
import type { Log } from "../lib/log.ts";
import type { Ended, Operator } from "../reconciler/operator.ts";
import { listening } from "./listening.ts";

const MOST_BODY_BYTES = 16_384;
const DEADLINE_MS = 30_000;
/** As a browser names this machine; anything else has come by a name of somebody's choice (DNS rebinding). */
const LOCAL_HOSTS = new Set(["127.0.0.1", "localhost", "[::1]"]);

export interface OperatorServer extends Part {
  /** The port in use, known after the start. */
  port(): number;
}

interface Answer {
  readonly status: number;
  readonly body: object;
}

export function makeOperatorServer(deps: {
  readonly address: Address;
  readonly operator: Operator;
  readonly log: Log;
}): OperatorServer {
  const { address, operator, log } = deps;
  const stopping = new AbortController();

  const server = createServer({ requestTimeout: DEADLINE_MS, headersTimeout: 5_000 }, (request, response) => {
    withDeadline(stopping.signal, DEADLINE_MS, (signal) => answer(operator, request, signal))
      .catch((error: unknown) => failure(error, log))
      .then((given) => send(response, given))
      .catch(() => response.destroy());
  });

  const port = listening(server, address, (error) => log.error("failed to serve the operator's port", { error }));
  return {
    name: "operator's port",
    ...port,
    stop: () => {
      stopping.abort(new Error("shutting down"));
      return port.stop();
    },
  };
}

async function answer(operator: Operator, request: IncomingMessage, signal: AbortSignal): Promise<Answer> {
  const by = operatorName.safeParse(request.headers[OPERATOR_HEADER]);
  if (fromBrowser(request) || !by.success) {
    return refusal(
      403,
      "NotAnOperator",
      `Only a program that names its operator (${OPERATOR_HEADER}) is answered here.`,
    );
  }
  const url = new URL(request.url ?? "/", "http://localhost");
  const [version, room, id, verb, ...more] = url.pathname.split("/").slice(1);
  if (version !== "v1" || more.length > 0) return nothingThere();
  if (request.method === "GET" && id === undefined) return read(operator, room, url.searchParams, signal);
  if (request.method !== "POST" || id === undefined) return nothingThere();
  if (room === "parked-events" && id === "retry" && verb === undefined) {
    const tenant = url.searchParams.get("tenant") ?? undefined;
    return { status: 200, body: await operator.retryEvents(tenant, by.data) };
  }
  return end(operator, request, { room, uuid: id, verb, by: by.data }, signal);
}

/** A page that somebody lures the operator to can send requests to this machine, but not without telling on itself. */
function fromBrowser({ headers }: IncomingMessage): boolean {
  const host = (headers.host ?? "").replace(/:\d+$/, "");
  return !LOCAL_HOSTS.has(host) || headers.origin !== undefined || headers["sec-fetch-site"] !== undefined;
}

async function read(
  operator: Operator,
  room: string | undefined,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<Answer> {
  const tenant = query.get("tenant") ?? undefined;
  switch (room) {
    case "people": {
      const who = whoOf(query);
      if (who !== undefined) return { status: 200, body: await operator.people(who) };
      return refusal(400, "WhoIsMeant", "Name one by uuid, by email, or by namespace and name.");
    }
    case "audit": {
      const [since, after] = [query.get("since"), query.get("after") ?? "0"];
      const from = since === null ? undefined : new Date(since);
      if (/^\d{1,18}$/.test(after) && !Number.isNaN(from?.getTime() ?? 0)) {
        return { status: 200, body: await operator.auditPage({ since: from, after, tenantID: tenant }) };
      }
      return refusal(400, "WhoIsMeant", "Say since when in RFC 3339, and where the page begins.");
    }
    case "cleanups":
      return { status: 200, body: await operator.cleanups(tenant) };
    case "ownerless":
      return { status: 200, body: await operator.ownerless(tenant) };
    case "parked-events":
      return { status: 200, body: await operator.parkedEvents(tenant) };
    case "unmanaged-users": {
      const first = query.get("first") ?? "0";
      if (tenant === undefined || !/^\d{1,7}$/.test(first)) {
        return refusal(400, "WhoIsMeant", "Name the tenant, and where the page begins.");
      }
      const found = await operator.unmanagedUsers(tenant, Number(first), signal);
      return found.kind === "found" ? { status: 200, body: found.answer } : refusal(404, "NoSuchTenant", found.message);
    }
    case undefined:
    default:
      return nothingThere();
  }
}

function whoOf(query: URLSearchParams) {
  const [uuid, email, namespace, name] = ["uuid", "email", "namespace", "name"].map((key) => query.get(key) ?? "");
  if (uuid) return isUUID(uuid) ? { uuid } : undefined;
  if (email) return { email: canonicalEmail(email) };
  return namespace && name ? { namespace, name } : undefined;
}

async function end(
  operator: Operator,
  request: IncomingMessage,
  what: {
    readonly room: string | undefined;
    readonly uuid: string;
    readonly verb: string | undefined;
    readonly by: string;
  },
  signal: AbortSignal,
): Promise<Answer> {
  const { room, uuid, verb, by } = what;
  const waives = room === "cleanups" && verb === "waive";
  if (!waives && !(room === "people" && verb === "purge")) return nothingThere();
  const body = await bodyOf(request);
  const order = endOrder.safeParse(body);
  if (!isUUID(uuid) || !order.success) {
    return refusal(400, "NotAnOrder", "An order is JSON with the uuid in its path, the person's email, and a reason.");
  }
  const ended: Ended = waives
    ? await operator.waive(uuid, by, order.data)
    : await operator.purge(uuid, by, order.data, signal);
  switch (ended.kind) {
    case "done":
      return { status: 200, body: ended.answer };
    case "missing":
      return refusal(404, "NoSuchPerson", `The state store has nobody under ${uuid}.`);
    case "refused":
      return refusal(409, "Refused", ended.message);
    default:
      return ended satisfies never;
  }
}

/** Undefined: no JSON, or too much of it. */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  if (request.headers["content-type"] !== "application/json") return undefined;
  if (!(Number(request.headers["content-length"]) <= MOST_BODY_BYTES)) return undefined;
  try {
    return JSON.parse(await text(request)) as unknown;
  } catch {
    return undefined;
  }
}

function nothingThere(): Answer {
  return refusal(404, "NotFound", "There is no such thing here; the program that asks may be of another version.");
}

function refusal(status: number, code: string, message: string): Answer {
  return { status, body: { error: { code, message } } };
}

/** An upstream's refusal is passed on; what nobody expected stays in the log. */
function failure(error: unknown, log: Log): Answer {
  if (isSagaError(error)) return refusal(502, error.code, error.message);
  log.warn("failed to answer a request at the operator's port", { error });
  return refusal(
    503,
    "UpstreamUnavailable",
    "The state store cannot be read right now: Postgres or the cluster fails.",
  );
}

function send(response: ServerResponse, { status, body }: Answer): void {
  response.writeHead(status, {
    "content-type": "application/json",
    "cache-control": "no-store",
    // A client that was refused with its body half read opens a new connection.
    ...(status >= 400 ? { connection: "close" } : {}),
  });
  response.end(JSON.stringify(body));
}
