import { withDeadline } from "./deadline.ts";
import { ConflictError, type Neighbour, redact, SagaError, TerminalError, TransientError } from "./errors.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE" | "PATCH";
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Values that must not appear in an error made from this call. */
  readonly secrets?: readonly string[];
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** A call may take this long; the lease of a saga outlives it (see store/claims). */
export const CALL_DEADLINE_MS = 10_000;

/**
 * One call with a deadline and no retry: retries are data in Postgres.
 * Throws TransientError when no complete answer came; every status is returned.
 */
export async function call(neighbour: Neighbour, request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
  try {
    return await withDeadline(signal, CALL_DEADLINE_MS, async (cut) => {
      const response = await fetch(request.url, {
        method: request.method,
        headers: { ...request.headers },
        body: request.body ?? null,
        redirect: "manual",
        signal: cut,
      });
      return { status: response.status, headers: response.headers, text: await response.text() };
    });
  } catch (error) {
    throw unreachable(neighbour, error, request);
  }
}

function unreachable(neighbour: Neighbour, error: unknown, request: HttpRequest): SagaError {
  const timedOut = error instanceof DOMException && error.name === "TimeoutError";
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const detail = cause instanceof Error ? redact(cause.message, request.secrets) : "no answer";
  return new TransientError({
    code: "NeighbourUnavailable",
    neighbour,
    message: timedOut
      ? `${neighbour} did not answer within ${CALL_DEADLINE_MS / 1000} s.`
      : `${neighbour} could not be reached (${detail}).`,
    cause: error,
  });
}

/** `Retry-After` in milliseconds: seconds or an HTTP date; undefined when absent or unreadable. */
export function retryAfterMs(headers: Headers, now: number): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

/**
 * The class of an unwelcome status, as every neighbour shares it: 429 and 5xx pass by themselves, 409 is a
 * conflict, 401/403 and other 4xx need a person. A neighbour's own classify looks at its bodies first.
 */
export function classifyStatus(
  neighbour: Neighbour,
  answer: HttpAnswer,
  doing: string,
  now: number,
  secrets: readonly string[] = [],
): SagaError {
  const failure = { neighbour, upstreamStatus: answer.status, body: redact(answer.text, secrets) };
  const said = failure.body === "" ? "" : `: ${failure.body}`;
  if (answer.status === 429 || answer.status >= 500) {
    return new TransientError({
      ...failure,
      code: "NeighbourUnavailable",
      message: `${neighbour} answered ${answer.status} to ${doing}${said}`,
      retryAfterMs: retryAfterMs(answer.headers, now),
    });
  }
  if (answer.status === 409) {
    return new ConflictError({ ...failure, code: "Conflict", message: `${neighbour} answered 409 to ${doing}${said}` });
  }
  if (answer.status === 401 || answer.status === 403) {
    return new TerminalError({
      ...failure,
      code: "CredentialsRefused",
      message: `${neighbour} refused our credentials (${answer.status}) for ${doing}; renew the tenant's credential Secret or its rights.`,
    });
  }
  if (answer.status >= 400) {
    return new TerminalError({
      ...failure,
      code: "RequestRefused",
      message: `${neighbour} refused ${doing} (${answer.status})${said}`,
    });
  }
  // A 3xx, or a 2xx whose body is not what the contract says: a proxy or a half-started server answered.
  return new TransientError({
    ...failure,
    code: "NeighbourUnavailable",
    message: `${neighbour} gave an answer that is not its own (${answer.status}) to ${doing}${said}`,
  });
}

/** Whether anybody answers at this address and is not overwhelmed: any status but 429 and 5xx. Never throws. */
export async function answers(
  url: string,
  signal: AbortSignal,
  dispatcher?: RequestInit["dispatcher"],
): Promise<boolean> {
  try {
    return await withDeadline(signal, CALL_DEADLINE_MS / 2, async (cut) => {
      const response = await fetch(url, {
        redirect: "manual",
        signal: cut,
        ...(dispatcher === undefined ? {} : { dispatcher }),
      });
      await response.body?.cancel();
      return response.status < 500 && response.status !== 429;
    });
  } catch {
    return false;
  }
}
