import { boundedPause } from "./backoff.ts";
import { cutBytes, plainText } from "./text.ts";

/** Where a failed call went. `kubernetes`, `postgres` and `nats` are ours, the other two a tenant's. */
export type Upstream = "keycloak" | "newapi" | "kubernetes" | "postgres" | "nats";

export type ErrorClass = "transient" | "conflict" | "terminal" | "waiting";

export interface Failure {
  /** A reason of src/api/reasons.ts where the user sees it; PascalCase, stable. */
  readonly code: string;
  /** One sentence: what happened and what to do. Never a secret. */
  readonly message: string;
  readonly upstream?: Upstream;
  /** HTTP status of the upstream's answer; absent when none came. */
  readonly upstreamStatus?: number;
  /** First 256 bytes of the upstream's answer, secrets removed. */
  readonly body?: string;
  readonly cause?: unknown;
}

/** The most that is shown of a foreign text. */
const SHOWN_BYTES = 256;
/** A sentence of ours, with what was quoted in it. */
const MESSAGE_BYTES = 1024;

/** Base of everything a step may throw on purpose. Anything else that is thrown counts as transient. */
export abstract class SagaError extends Error {
  abstract readonly class: ErrorClass;
  readonly code: string;
  readonly upstream: Upstream | undefined;
  readonly upstreamStatus: number | undefined;
  readonly body: string | undefined;

  constructor(failure: Failure) {
    // Whatever an upstream said in it: from here it goes into rows, statuses, Events and terminals.
    super(
      plainText(cutBytes(failure.message, MESSAGE_BYTES)),
      failure.cause === undefined ? undefined : { cause: failure.cause },
    );
    this.name = new.target.name;
    this.code = failure.code;
    this.upstream = failure.upstream;
    this.upstreamStatus = failure.upstreamStatus;
    this.body = failure.body === undefined ? undefined : plainText(cutBytes(failure.body, SHOWN_BYTES));
  }
}

/** Will pass by itself: network, time-out, 5xx, 429. */
export class TransientError extends SagaError {
  readonly class = "transient";
  /** What the upstream asked for in Retry-After, in milliseconds; an hour at most. */
  readonly retryAfterMs: number | undefined;

  constructor(failure: Failure & { retryAfterMs?: number | undefined }) {
    super(failure);
    this.retryAfterMs = boundedPause(failure.retryAfterMs);
  }
}

/** An answer that no such upstream gives, or that is more than is read: about no person, and no sign of silence. */
export class UnreadableError extends TransientError {}

/** Somebody was there first: look up, adopt or refuse. A step resolves it; one that escapes is retried. */
export class ConflictError extends SagaError {
  readonly class = "conflict";
}

/** A person must act: wrong credentials, not allowed, foreign object. */
export class TerminalError extends SagaError {
  readonly class = "terminal";
}

/** Nothing is wrong, it is not the moment: tenant not ready, email in use. Burns no retries. */
export class WaitingError extends SagaError {
  readonly class = "waiting";
  /** When to look again, in milliseconds from now, an hour at most; absent: with the usual pauses. */
  readonly retryAfterMs: number | undefined;

  constructor(failure: Failure & { retryAfterMs?: number | undefined }) {
    super(failure);
    this.retryAfterMs = boundedPause(failure.retryAfterMs);
  }
}

type Seen = Omit<ConstructorParameters<typeof WaitingError>[0], "code" | "message" | "upstream">;

/** What one upstream's failures are made with. `unavailable`: it passes by itself. */
export function failuresOf(upstream: Upstream) {
  return {
    terminal: (code: string, message: string, seen: Seen = {}) =>
      new TerminalError({ ...seen, code, message, upstream }),
    waiting: (code: string, message: string, seen: Seen = {}) => new WaitingError({ ...seen, code, message, upstream }),
    unavailable: (message: string, seen: Seen = {}) =>
      new TransientError({ ...seen, code: "UpstreamUnavailable", message, upstream }),
  };
}

/** A status by which a proxy, or a server on its way, says that nobody is there; 429 says that it is too much. */
export const SILENT_STATUSES: readonly number[] = [429, 502, 503, 504];

/**
 * Whether nobody answered, which is the origin's own failure. Everything else is an answer to this one request, a 500 too:
 * it is about the person that was asked for, and says of the others nothing.
 */
export function isSilence(error: SagaError): boolean {
  if (error.class !== "transient" || error.upstream === undefined) return false;
  return error.upstreamStatus === undefined || SILENT_STATUSES.includes(error.upstreamStatus);
}

const OVERLOADED_STATUSES: readonly number[] = [429, 503, 504];

/** Whether it was too much for the upstream: a call timed out there, or it says so. */
export function isOverload(error: SagaError): boolean {
  if (!isSilence(error)) return false;
  return error.upstreamStatus === undefined ? isTimeout(error) : OVERLOADED_STATUSES.includes(error.upstreamStatus);
}

function isTimeout(error: unknown): boolean {
  let next = error;
  for (let depth = 0; next instanceof Error && depth < 10; depth += 1) {
    if (next.name === "TimeoutError") return true;
    next = next.cause;
  }
  return false;
}

export function isSagaError(error: unknown): error is SagaError {
  return error instanceof SagaError;
}

/** How far into a text credentials are looked for: what comes later is never shown. */
const LOOKED_AT = 4096;
/** What a cut may have left of a credential at the end. */
const TORN = 512;

// Each is linear: what one of them has walked through it does not begin in again.
const SECRET_PATTERNS = [
  /\b(sk|pk)-[A-Za-z0-9_-]{6,}/g,
  /\beyJ[A-Za-z0-9_.-]{10,}/g,
  /(bearer\s{1,16})[A-Za-z0-9._~+/=-]+/gi,
  /("?(?:api_?key|key|token|access_token|refresh_token|password|secret|client_secret)"?\s{0,16}[:=]\s{0,16}"?)[^"\s,}&]+/gi,
  /(:\/\/[^/\s:@]{0,256}:)[^@\s/]{1,512}@/g,
];

/**
 * One line of at most 256 bytes without what looks like a credential, and without every value given in `known`. Cut before
 * it is looked through, so that its cost does not depend on who wrote how much.
 */
export function redact(text: string, known: readonly string[] = []): string {
  const values = known.filter((value) => value !== "");
  const torn = Math.max(TORN, ...values.map(({ length }) => length));
  const isWhole = text.length <= LOOKED_AT + torn;
  let clean = isWhole ? text : text.slice(0, LOOKED_AT + torn);
  for (const value of values) clean = clean.replaceAll(value, "[redacted]");
  if (!isWhole) clean = clean.slice(0, -torn);
  clean = plainText(clean);
  for (const pattern of SECRET_PATTERNS) {
    clean = clean.replace(pattern, (_match, prefix: unknown) =>
      typeof prefix === "string" && prefix.length > 2 ? `${prefix}[redacted]` : "[redacted]",
    );
  }
  return cutBytes(clean, SHOWN_BYTES);
}
