import { bodyRefusedBy, readText } from "./body.ts";
import { withDeadline } from "./deadline.ts";
import {
  ConflictError,
  type Upstream,
  redact,
  SagaError,
  SILENT_STATUSES,
  TerminalError,
  TransientError,
  UnreadableError,
} from "./errors.ts";
import { parseRetryAfter } from "./backoff.ts";

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

/** Scheme, host and port; an address that is none stands for itself. */
export function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url;
}

/** A call may take this long; the lease of a saga outlives it (see store/claims). */
export const CALL_DEADLINE_MS = 10_000;

/**
 * One call with a deadline and no retry: retries are data in Postgres.
 * Throws TransientError when no complete answer came, or one that is too much; every status is returned. The deadline
 * holds for the body too. No redirect is followed: it would carry the credentials wherever an answer points.
 */
export async function call(upstream: Upstream, request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
  try {
    return await withDeadline(signal, CALL_DEADLINE_MS, async (cut) => {
      const response = await fetch(request.url, {
        method: request.method,
        headers: { ...request.headers },
        body: request.body ?? null,
        redirect: "manual",
        signal: cut,
      });
      return { status: response.status, headers: response.headers, text: await readText(response) };
    });
  } catch (error) {
    throw tooMuch(upstream, error) ?? unreachable(upstream, error, request);
  }
}

/** For an answer that came and was not read to its end; undefined for any other error. */
export function tooMuch(upstream: Upstream, error: unknown, doing?: string): TransientError | undefined {
  const refused = bodyRefusedBy(error);
  if (refused === undefined) return undefined;
  const to = doing === undefined ? "" : ` to ${doing}`;
  return new UnreadableError({
    code: "UpstreamUnavailable",
    upstream,
    upstreamStatus: refused.status,
    message: `${upstream} gave an answer${to} that is not read: ${refused.message}.`,
    cause: error,
  });
}

/** For a call to which no answer came; `doing`: what was asked for. */
export function unreachable(
  upstream: Upstream,
  error: unknown,
  { doing, secrets }: { readonly doing?: string; readonly secrets?: readonly string[] },
): TransientError {
  const timedOut = error instanceof DOMException && error.name === "TimeoutError";
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const detail = cause instanceof Error ? redact(cause.message, secrets) : "no answer";
  return new TransientError({
    code: "UpstreamUnavailable",
    upstream,
    message: timedOut
      ? `${upstream} did not answer within ${CALL_DEADLINE_MS / 1000} s${doing === undefined ? "" : ` to ${doing}`}.`
      : `${upstream} could not be reached ${doing === undefined ? "" : `for ${doing} `}(${detail}).`,
    cause: error,
  });
}

/**
 * The class of an unwelcome status, as every upstream shares it: 429 and 5xx pass by themselves, 409 is a
 * conflict, 401/403 and other 4xx need a person. An upstream's own classify looks at its bodies first.
 */
export function classifyStatus(
  upstream: Upstream,
  answer: HttpAnswer,
  doing: string,
  now: number,
  secrets: readonly string[] = [],
): SagaError {
  const failure = { upstream, upstreamStatus: answer.status, body: redact(answer.text, secrets) };
  const said = failure.body === "" ? "" : `: ${failure.body}`;
  if (answer.status === 429 || answer.status >= 500) {
    return new TransientError({
      ...failure,
      code: "UpstreamUnavailable",
      message: `${upstream} answered ${answer.status} to ${doing}${said}`,
      retryAfterMs: parseRetryAfter(answer.headers.get("retry-after"), now),
    });
  }
  if (answer.status === 409) {
    return new ConflictError({ ...failure, code: "Conflict", message: `${upstream} answered 409 to ${doing}${said}` });
  }
  if (answer.status === 401 || answer.status === 403) {
    return new TerminalError({
      ...failure,
      code: "CredentialsRefused",
      message: `${upstream} refused our credentials (${answer.status}) for ${doing}; renew the tenant's credential Secret or its rights.`,
    });
  }
  if (answer.status >= 400) {
    return new TerminalError({
      ...failure,
      code: "RequestRefused",
      message: `${upstream} refused ${doing} (${answer.status})${said}`,
    });
  }
  // A 3xx, or a 2xx whose body is not what the contract says: a proxy or a half-started server answered.
  return new TransientError({
    ...failure,
    code: "UpstreamUnavailable",
    message: `${upstream} gave an answer that is not its own (${answer.status}) to ${doing}${said}`,
  });
}

/** Whether anybody answers at this address: any status but those of silence. Never throws. */
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
      return !SILENT_STATUSES.includes(response.status);
    });
  } catch {
    return false;
  }
}
