/** The way to the API server: one call at a time with a deadline, or a stream of lines for a watch. */
import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import type { Clock } from "../lib/clock.ts";
import { redact, SagaError, TransientError } from "../lib/errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import { CALL_DEADLINE_MS, type HttpAnswer } from "../lib/http.ts";
import type { Access, Credentials } from "./access.ts";
import { makeSessions, type SessionTiming } from "./sessions.ts";

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
  readonly status: number;
  readonly headers: () => Headers;
  /** Ends by throwing when the connection breaks, and by returning when the server has said all. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Ends the stream, if it has not ended. */
  cancel(): void;
}

export interface Connection {
  readonly clock: Clock;
  /** One exchange within CALL_DEADLINE_MS; every status is returned. Throws TransientError when no answer came. */
  send(request: ApiRequest, signal: AbortSignal): Promise<HttpAnswer>;
  /** A long GET. Only the time to the answer's headers has a deadline. Throws TransientError like `send`. */
  stream(request: ApiRequest, signal: AbortSignal): Promise<ApiStream>;
  /** Open connections: a number for metrics. */
  sessions(): number;
  close(): void;
}

export interface ConnectionOptions {
  readonly deadlineMs?: number;
  readonly timing?: Partial<SessionTiming>;
}

export function makeConnection(
  access: Access,
  deps: { readonly clock: Clock },
  options: ConnectionOptions = {},
): Connection {
  const deadlineMs = options.deadlineMs ?? CALL_DEADLINE_MS;
  const sessions = makeSessions(access.server, options.timing);

  const open = (use: "call" | "watch", request: ApiRequest, credentials: Credentials, signal: AbortSignal) => {
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    const stream = sessions.open(use, credentials, headersOf(access.server, request), {
      endStream: body === undefined,
      signal,
    });
    if (body !== undefined) stream.end(body);
    return stream;
  };

  /**
   * A second sending is no retry: after a refused token the server has done nothing, and REFUSED_STREAM is its word
   * that it has not looked at the request (a connection that was being closed).
   */
  const twice = async <T extends { readonly status: number }>(
    request: ApiRequest,
    once: (credentials: Credentials) => Promise<T>,
    discard: (answer: T) => void,
  ): Promise<T> => {
    try {
      const answer = await once(await access.credentials()).catch(async (error: unknown) => {
        if (error instanceof RefusedStream) return once(await access.credentials());
        throw error;
      });
      if (answer.status !== 401 || !(await access.renew())) return answer;
      discard(answer);
      return await once(await access.credentials());
    } catch (error) {
      throw unreachable(error, request, deadlineMs);
    }
  };

  return {
    clock: deps.clock,
    send(request, signal) {
      return withDeadline(signal, deadlineMs, (cut) =>
        twice(
          request,
          async (credentials) => {
            const stream = open("call", request, credentials, cut);
            const parts: Buffer[] = [];
            const { status, head } = await answered(stream);
            for await (const chunk of chunksOf(stream)) parts.push(chunk);
            return { status, headers: plainHeaders(head), text: Buffer.concat(parts).toString("utf8") };
          },
          () => undefined,
        ),
      );
    },
    stream(request, signal) {
      return twice(
        request,
        async (credentials) => {
          // Of these there may be thousands, for hours: nothing is kept that only a refusal needs.
          const stream = open("watch", request, credentials, signal);
          const late = (): void => void stream.destroy(new DOMException("no answer in time", "TimeoutError"));
          const timer = setTimeout(late, deadlineMs);
          try {
            const { status, head } = await answered(stream);
            return {
              status,
              headers: () => plainHeaders(head),
              chunks: chunksOf(stream),
              cancel: () => cancel(stream),
            };
          } finally {
            clearTimeout(timer);
          }
        },
        (answer) => answer.cancel(),
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
    throw new TransientError({
      code: "NeighbourUnavailable",
      neighbour: "kubernetes",
      upstreamStatus: answer.status,
      message: `kubernetes gave an answer that is not its own (${answer.status}).`,
      cause,
    });
  }
}

/** The server's word (RST_STREAM with REFUSED_STREAM) that it has not acted on the request. */
class RefusedStream extends Error {}

function headersOf(server: URL, request: ApiRequest): Record<string, string> {
  const query = new URLSearchParams(request.query).toString();
  const prefix = server.pathname.replace(/\/$/, "");
  const headers: Record<string, string> = {
    [constants.HTTP2_HEADER_METHOD]: request.method,
    [constants.HTTP2_HEADER_PATH]: `${prefix}${request.path}${query === "" ? "" : `?${query}`}`,
    ...request.headers,
    accept: request.accept ?? "application/json",
    "user-agent": "unified-rbac",
  };
  if (request.body !== undefined) {
    if (request.method === "PATCH" && request.patchType === undefined) throw new TypeError("a PATCH without its type");
    headers["content-type"] = request.patchType === undefined ? "application/json" : PATCH_TYPES[request.patchType];
  }
  return headers;
}

function answered(stream: ClientHttp2Stream): Promise<{ status: number; head: IncomingHttpHeaders }> {
  return new Promise((resolve, reject) => {
    // Stays for the stream's life: an error after the headers reaches the reader of the chunks as well.
    stream.on("error", (error) => reject(broken(stream, error)));
    stream.once("close", () => reject(broken(stream)));
    stream.once("response", (head) => resolve({ status: head[":status"] ?? 0, head }));
  });
}

async function* chunksOf(stream: ClientHttp2Stream): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) {
      if (Buffer.isBuffer(chunk)) yield chunk;
    }
  } catch (error) {
    throw broken(stream, error);
  }
  // Node ends a stream that was cut like one that is complete.
  if (stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR) throw broken(stream);
}

function cancel(stream: ClientHttp2Stream): void {
  if (!stream.destroyed) stream.close(constants.NGHTTP2_CANCEL);
}

function broken(stream: ClientHttp2Stream, cause?: unknown): Error {
  if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) return new RefusedStream("the server refused the stream");
  return cause instanceof Error ? cause : new Error(`the connection broke (HTTP/2 code ${stream.rstCode})`);
}

function plainHeaders(head: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(head)) {
    if (typeof value === "string" && !name.startsWith(":")) headers.set(name, value);
  }
  return headers;
}

function unreachable(error: unknown, request: ApiRequest, deadlineMs: number): SagaError {
  if (error instanceof SagaError) return error;
  const causes: Error[] = [];
  for (let next = error; next instanceof Error; next = next.cause) causes.push(next);
  const timedOut = causes.some((cause) => cause.name === "TimeoutError");
  const detail = redact(causes.at(-1)?.message ?? "no answer", request.secrets);
  return new TransientError({
    code: "NeighbourUnavailable",
    neighbour: "kubernetes",
    message: timedOut
      ? `kubernetes did not answer within ${deadlineMs / 1000} s.`
      : `kubernetes could not be reached (${detail}).`,
    cause: error,
  });
}
