/** Where a failed call went. `kubernetes`, `postgres` and `nats` are ours, the other two a tenant's. */
export type Neighbour = "keycloak" | "newapi" | "kubernetes" | "postgres" | "nats";

export type ErrorClass = "transient" | "conflict" | "terminal" | "waiting";

export interface Failure {
  /** A reason of src/api/reasons.ts where the user sees it; PascalCase, stable. */
  readonly code: string;
  /** One sentence: what happened and what to do. Never a secret. */
  readonly message: string;
  readonly neighbour?: Neighbour;
  /** HTTP status of the neighbour's answer; absent when none came. */
  readonly upstreamStatus?: number;
  /** First 256 bytes of the neighbour's answer, secrets removed. */
  readonly body?: string;
  readonly cause?: unknown;
}

/** Base of everything a step may throw on purpose. Anything else that is thrown counts as transient. */
export abstract class SagaError extends Error {
  abstract readonly class: ErrorClass;
  readonly code: string;
  readonly neighbour: Neighbour | undefined;
  readonly upstreamStatus: number | undefined;
  readonly body: string | undefined;

  constructor(failure: Failure) {
    super(failure.message, failure.cause === undefined ? undefined : { cause: failure.cause });
    this.name = new.target.name;
    this.code = failure.code;
    this.neighbour = failure.neighbour;
    this.upstreamStatus = failure.upstreamStatus;
    this.body = failure.body;
  }
}

/** Will pass by itself: network, time-out, 5xx, 429. */
export class TransientError extends SagaError {
  readonly class = "transient";
  /** What the neighbour asked for in Retry-After, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(failure: Failure & { retryAfterMs?: number | undefined }) {
    super(failure);
    this.retryAfterMs = failure.retryAfterMs;
  }
}

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
  /** When to look again, in milliseconds from now; absent: with the usual pauses. */
  readonly retryAfterMs: number | undefined;

  constructor(failure: Failure & { retryAfterMs?: number | undefined }) {
    super(failure);
    this.retryAfterMs = failure.retryAfterMs;
  }
}

export function isSagaError(error: unknown): error is SagaError {
  return error instanceof SagaError;
}

const SECRET_PATTERNS = [
  /\b(sk|pk)-[A-Za-z0-9_-]{6,}/g,
  /\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g,
  /(bearer\s+)[A-Za-z0-9._~+/=-]+/gi,
  /("?(?:api_?key|key|token|access_token|refresh_token|password|secret|client_secret)"?\s*[:=]\s*"?)[^"\s,}&]+/gi,
  /(:\/\/[^/\s:@]+:)[^@\s/]+@/g,
];

/** Cuts to 256 bytes and removes what looks like a credential, plus every value given in `known`. */
export function redact(text: string, known: readonly string[] = []): string {
  let clean = text;
  for (const value of known) if (value !== "") clean = clean.replaceAll(value, "[redacted]");
  for (const pattern of SECRET_PATTERNS) {
    clean = clean.replace(pattern, (_match, prefix: unknown) =>
      typeof prefix === "string" && prefix.length > 2 ? `${prefix}[redacted]` : "[redacted]",
    );
  }
  return Buffer.from(clean, "utf8")
    .subarray(0, 256)
    .toString("utf8")
    .replace(/\uFFFD+$/, "");
}
