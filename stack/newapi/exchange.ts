import { gzipSync } from "node:zlib";
import type { IncomingMessage, ServerResponse } from "node:http";

/** A request as the stand-in's surfaces see it: already read, nothing of node:http left. */
export interface Call {
  readonly method: string;
  /** The path without the query, still percent-encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly bearer: string | undefined;
  readonly idempotencyKey: string | undefined;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Whether it comes compressed to whoever takes that. */
  readonly compress?: boolean;
}

/**
 * One part of the gateway's HTTP surface: a dialect of its admin API, or what it serves to keys. A server is a list of
 * them over one memory; the first that knows the path answers.
 */
export interface Surface {
  /** Whom the call is about, for faults and the journal; looks only, changes nothing. */
  externalIDOf(call: Call): string | undefined;
  /** Does the work and says the answer; undefined when the path is not one of this surface's. */
  answer(call: Call): Reply | undefined;
  /** Before the work; what it returns, after. For what takes time, so that others come meanwhile. */
  enter?(call: Call): Promise<() => void>;
  /** Its answers come compressed to whoever takes that. */
  readonly compresses?: boolean;
}

const BODY_LIMIT_BYTES = 1024 * 1024;

export class BodyTooLarge extends Error {}

/** Reads the whole request. Throws BodyTooLarge, or what the socket throws when the caller goes away. */
export async function readCall(request: IncomingMessage): Promise<Call> {
  const url = new URL(`http://stand-in${request.url ?? "/"}`);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // Read to the end all the same: an answer sent into a caller that still writes is lost.
    if (size <= BODY_LIMIT_BYTES) chunks.push(chunk);
  }
  if (size > BODY_LIMIT_BYTES) throw new BodyTooLarge();
  return {
    method: request.method ?? "GET",
    path: url.pathname,
    query: url.searchParams,
    bearer: /^Bearer (.+)$/i.exec(request.headers.authorization ?? "")?.[1],
    idempotencyKey: request.headers["x-idempotency-key"]?.toString(),
    headers: Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, value?.toString()])),
    body: Buffer.concat(chunks).toString("utf8"),
  };
}

export function json(status: number, value: unknown): Reply {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

/** The one error body of the stand-in, also for clients that expect OpenAI's: `{error: {code, type, message}}`. */
export function refusal(status: number, code: string, message: string): Reply {
  return json(status, { error: { code, type: code, message } });
}

/** The body as JSON, or undefined when it is none. */
export function jsonBody(call: Call): unknown {
  try {
    return JSON.parse(call.body);
  } catch {
    return undefined;
  }
}

/** One percent-encoded path segment in the clear, or undefined when its encoding is broken. */
export function segment(encoded: string | undefined): string | undefined {
  if (encoded === undefined) return undefined;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

/** The reply as it is sent to this caller. */
export function compressed(call: Call, reply: Reply): Reply & { readonly bytes?: Buffer } {
  if (reply.body === "" || !/\bgzip\b/.test(call.headers["accept-encoding"] ?? "")) return reply;
  const headers = { ...reply.headers, "content-encoding": "gzip", vary: "Accept-Encoding" };
  return { ...reply, headers, bytes: gzipSync(reply.body) };
}

export function send(response: ServerResponse, reply: Reply & { readonly bytes?: Buffer }): void {
  response.writeHead(reply.status, reply.headers);
  response.end(reply.bytes ?? reply.body);
}
