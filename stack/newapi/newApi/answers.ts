import type { Reply } from "../exchange.ts";

/** The gateway's envelope; most failures come with status 200. */
export function success(data?: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return enveloped(200, { success: true, message: "", ...(data === undefined ? {} : { data }) }, headers);
}

export function failure(message: string, status = 200, code?: string): Reply {
  return enveloped(status, { success: false, message, ...(code === undefined ? {} : { code }) });
}

/** Of `/v1` and of paths that are not there: as OpenAI does it, with a status that means something. */
export function openAIError(status: number, message: string, headers: Readonly<Record<string, string>> = {}): Reply {
  return enveloped(status, { error: { message, type: "new_api_error", code: "" } }, headers);
}

/** What a release answered that has done it and says nothing. */
export const NOTHING: Reply = { status: 200, headers: {}, body: "" };

/** A limit: no body; the newest say when to come again, which is the whole window whatever is left of it. */
export function limited(windowMs: number | undefined): Reply {
  const headers: Record<string, string> =
    windowMs === undefined ? {} : { "retry-after": String(Math.ceil(windowMs / 1000)) };
  return { status: 429, headers, body: "" };
}

function enveloped(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
    body: JSON.stringify(body),
  };
}
