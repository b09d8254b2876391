/** The way to the API server: one call at a time with a deadline, or a stream of lines for a watch. */
import { type ClientHttp2Stream, constants, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from "node:http2";
import type { ObserveCall } from "../api/upstreamOperations.ts";
import { bodyRefusedBy, makeBodyGuard } from "../lib/body.ts";
import type { Clock } from "../lib/clock.ts";
import { redact, SagaError } from "../lib/errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import { CALL_DEADLINE_MS, type HttpAnswer, tooMuch } from "../lib/http.ts";
import type { Access, Credentials } from "./access.ts";
import { API_SERVER_LIMITS } from "./bodyLimits.ts";
import { kubernetesOperation } from "./operations.ts";
import { makeLines, type NextLine } from "./lines.ts";
import { makeSessions, type SessionTiming } from "./sessions.ts";
import { unavailable } from "./failures.ts";

export const PATCH_TYPES = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  /** Server-side apply; JSON is YAML. */
  apply: "application/apply-patch+yaml",
} as const;

/** What to accept where the metadata are enough: a CRD is 40 kB, its metadata 1. */
export const METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** A PATCH must name its type: there is no default that would be right. */
  readonly patchType?: keyof typeof PATCH_TYPES;
  /** Values that must not appear in an error made from this call. */
  readonly secrets?: readonly string[];
}

export interface ApiStream {
  readonly status: 200;
  /** Throws when the connection breaks; undefined: the server has said all. */
  readonly next: NextLine;
  /** Ends the stream, if it has not ended. */
  cancel(): void;
}

export interface ApiClient {
  readonly clock: Clock;
  /** One exchange within CALL_DEADLINE_MS; every status is returned. Throws TransientError when no answer came, or one that is too much. */
  send(request: ApiRequest, signal: AbortSignal): Promise<HttpAnswer>;
  /**
   * A long GET, or the whole answer when that is not 200. Deadline and signal hold until then; an open stream ends with its
   * `cancel`. `onBytes` hears of all that comes. Throws TransientError like `send`.
   */
  stream(request: ApiRequest, onBytes: () => void, signal: AbortSignal): Promise<ApiStream | HttpAnswer>;
  /** Open connections: a number for metrics. */
  sessions(): number;
  close(): void;
}

export interface ApiClientOptions {
  readonly deadlineMs?: number;
  readonly timing?: Partial<SessionTiming>;
}

export function makeApiClient(
  access: Access,
  deps: { readonly clock: Clock; readonly observe?: ObserveCall },
  options: ApiClientOptions = {},
): ApiClient {
  const deadlineMs = options.deadlineMs ?? CALL_DEADLINE_MS;
  const sessions = makeSessions(access.server, options.timing);

  /** One request; `work` gets the stream once its head is there. Both end with `cut`, and what is open after them does not. */
  const exchange = async <T>(
    use: "call" | "watch",
    { request, credentials }: { readonly request: ApiRequest; readonly credentials: Credentials },
    work: (stream: ClientHttp2Stream, head: Head) => Promise<T>,
    cut: AbortSignal,
  ): Promise<T> => {
    cut.throwIfAborted();
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    const stream = sessions.open(use, credentials, headersOf(access.server, request, credentials), {
      endStream: body === undefined,
    });
    // Whoever waits for the stream learns of it from its end.
    stream.on("error", ignore);
    // By hand, for what the stream's own option `signal` leaves on both of them stays as long as the stream.
    const end = (): void => cancel(stream);
    cut.addEventListener("abort", end, { once: true });
    try {
      if (body !== undefined) stream.end(body);
      return await work(stream, await answered(stream));
    } catch (error) {
      cut.throwIfAborted();
      throw error;
    } finally {
      cut.removeEventListener("abort", end);
    }
  };

  /**
   * A second sending is no retry: after a refused token the server has done nothing, and REFUSED_STREAM is its word
   * that it has not looked at the request (a connection that was being closed).
   */
  const twice = async <T extends { readonly status: number }>(
    request: ApiRequest,
    once: (credentials: Credentials) => Promise<T>,
  ): Promise<T> => {
    try {
      const answer = await once(await access.credentials()).catch(async (error: unknown) => {
        if (error instanceof RefusedStream) return once(await access.credentials());
        throw error;
      });
      if (answer.status !== 401 || !(await access.renew())) return answer;
      return await once(await access.credentials());
    } catch (error) {
      throw unreachable(error, request, deadlineMs);
    }
  };

  /** Of a stream, until it is open. */
  const measured = async <T extends { readonly status: number }>(
    use: "call" | "watch",
    { method, path }: ApiRequest,
    work: () => Promise<T>,
  ): Promise<T> => {
    if (deps.observe === undefined) return work();
    const operation = kubernetesOperation(use, method, path);
    const { over } = deps.observe({ upstream: "kubernetes", operation, method, origin: access.server.origin });
    let status: number | undefined;
    try {
      const answer = await work();
      ({ status } = answer);
      return answer;
    } finally {
      over(status);
    }
  };

  return {
    clock: deps.clock,
    send(request, signal) {
      return withDeadline(signal, deadlineMs, (cut) =>
        measured("call", request, () =>
          twice(request, (credentials) => exchange("call", { request, credentials }, wholeAnswer, cut)),
        ),
      );
    },
    stream(request, onBytes, signal) {
      const begun = (stream: ClientHttp2Stream, head: Head) =>
        head[":status"] === 200 ? Promise.resolve(openStream(stream, onBytes)) : wholeAnswer(stream, head);
      return withDeadline(signal, deadlineMs, (cut) =>
        measured("watch", request, () =>
          twice(request, (credentials) =>
            exchange<ApiStream | HttpAnswer>("watch", { request, credentials }, begun, cut),
          ),
        ),
      );
    },
    sessions: () => sessions.count(),
    close: () => sessions.close(),
  };
}

/** The body of a 2xx answer. Throws TransientError when it is no JSON: a proxy or a half-started server answered. */
export function json(answer: HttpAnswer): unknown {
  try {
    return JSON.parse(answer.text);
  } catch (cause) {
    throw unavailable(`kubernetes gave an answer that is not its own (${answer.status}).`, {
      upstreamStatus: answer.status,
      cause,
    });
  }
}

/** The server's word (RST_STREAM with REFUSED_STREAM) that it has not acted on the request. */
class RefusedStream extends Error {}

/** Names and values in turn: each stream keeps its headers, and an object of them is three times as large. */
function headersOf(server: URL, request: ApiRequest, credentials: Credentials): string[] {
  const query = new URLSearchParams(request.query).toString();
  const prefix = server.pathname.replace(/\/$/, "");
  const headers: Record<string, string> = {
    [constants.HTTP2_HEADER_METHOD]: request.method,
    // Joined, for a string that is added up is kept in all its pieces, and the stream keeps its headers.
    [constants.HTTP2_HEADER_PATH]: [prefix, request.path, query === "" ? "" : "?", query].join(""),
    [constants.HTTP2_HEADER_SCHEME]: server.protocol.slice(0, -1),
    [constants.HTTP2_HEADER_AUTHORITY]: server.host,
    ...request.headers,
    accept: request.accept ?? "application/json",
    "user-agent": "unified-rbac",
    ...credentials.headers,
  };
  if (request.body !== undefined) {
    if (request.method === "PATCH" && request.patchType === undefined) throw new TypeError("a PATCH without its type");
    headers["content-type"] = request.patchType === undefined ? "application/json" : PATCH_TYPES[request.patchType];
  }
  return Object.entries(headers).flat();
}

type Head = IncomingHttpHeaders & IncomingHttpStatusHeader;

function answered(stream: ClientHttp2Stream): Promise<Head> {
  const { promise, resolve, reject } = Promise.withResolvers<Head>();
  const closed = (): void => reject(broken(stream));
  stream.once("close", closed);
  stream.once("response", (head) => {
    stream.off("close", closed);
    resolve(head);
  });
  return promise;
}

async function wholeAnswer(stream: ClientHttp2Stream, head: Head): Promise<HttpAnswer> {
  const parts: Buffer[] = [];
  const guard = makeBodyGuard(head[":status"], API_SERVER_LIMITS);
  try {
    for await (const chunk of stream) {
      if (!Buffer.isBuffer(chunk)) continue;
      guard(chunk);
      parts.push(chunk);
    }
  } catch (error) {
    cancel(stream);
    throw bodyRefusedBy(error) ?? broken(stream, error);
  }
  if (wasCut(stream)) throw broken(stream);
  return { status: head[":status"] ?? 0, headers: plainHeaders(head), text: Buffer.concat(parts).toString("utf8") };
}

/** Of these there may be thousands, for hours: nothing of the request or of the answer's head is kept. */
function openStream(stream: ClientHttp2Stream, onBytes: () => void): ApiStream {
  return { status: 200, next: makeLines(stream, onBytes, fault), cancel: () => cancel(stream) };
}

/** Node ends a stream that was cut like one that is complete. */
function wasCut(stream: ClientHttp2Stream): boolean {
  return !stream.readableEnded || stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR;
}

function fault(stream: ClientHttp2Stream): Error | undefined {
  return wasCut(stream) ? broken(stream) : undefined;
}

function ignore(): void {}

function cancel(stream: ClientHttp2Stream): void {
  if (stream.destroyed) return;
  stream.close(constants.NGHTTP2_CANCEL);
  // At once, even where nothing can be written any more.
  stream.destroy();
}

function broken(stream: ClientHttp2Stream, cause: unknown = stream.errored): Error {
  if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) return new RefusedStream("the server refused the stream");
  return cause instanceof Error ? cause : new Error(`the connection broke (HTTP/2 code ${stream.rstCode})`);
}

function plainHeaders(head: Head): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(head)) {
    if (typeof value === "string" && !name.startsWith(":")) headers.set(name, value);
  }
  return headers;
}

function unreachable(error: unknown, request: ApiRequest, deadlineMs: number): SagaError {
  if (error instanceof SagaError) return error;
  const refused = tooMuch("kubernetes", error);
  if (refused !== undefined) return refused;
  const causes: Error[] = [];
  for (let next = error; next instanceof Error; next = next.cause) causes.push(next);
  const timedOut = causes.some((cause) => cause.name === "TimeoutError");
  const detail = redact(causes.at(-1)?.message ?? "no answer", request.secrets);
  return unavailable(
    timedOut
      ? `kubernetes did not answer within ${deadlineMs / 1000} s.`
      : `kubernetes could not be reached (${detail}).`,
    { cause: error },
  );
}
