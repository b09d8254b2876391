/** What the API server's refusals mean to a saga. Its errors are `Status` objects; a proxy's may be anything. */
import type { V1Status } from "@kubernetes/client-node";
import { ConflictError, type Failure, redact, type SagaError, TerminalError, TransientError } from "../lib/errors.ts";
import type { HttpAnswer } from "../lib/http.ts";
import { parsedJSON } from "../lib/json.ts";
import { parseRetryAfter } from "../lib/backoff.ts";

/** `code` of a ConflictError: what the Status gave as its reason. */
export const CONFLICT = { AlreadyExists: "AlreadyExists", Conflict: "Conflict" } as const;

/** `code` of a TransientError: nothing can be made in this namespace any more, the object itself is about to go. */
export const NAMESPACE_TERMINATING = "NamespaceTerminating";

/**
 * The error for an unwelcome answer. `doing` names verb and resource, e.g. "create secrets in tenant-a"; `now` is for a
 * Retry-After that is a date; `secrets` are removed from what is quoted.
 */
export function classify(answer: HttpAnswer, doing: string, now: number, secrets: readonly string[] = []): SagaError {
  const status = statusOf(answer.text);
  const said = redact(status?.message ?? answer.text, secrets);
  const failure = {
    upstream: "kubernetes",
    upstreamStatus: answer.status,
    body: said,
  } as const satisfies Partial<Failure>;
  const sentence = `kubernetes answered ${answer.status} to ${doing}${said === "" ? "" : `: ${said}`}`;
  const transient = (code: string, message: string) =>
    new TransientError({
      ...failure,
      code,
      message,
      retryAfterMs: parseRetryAfter(answer.headers.get("retry-after"), now),
    });

  if (answer.status === 401) {
    // The token was read again before, and nothing of this is the matter of whom the call was for.
    return transient(
      "UpstreamUnavailable",
      `kubernetes does not know us (401) and refused to ${doing}; if it lasts, see to the reconciler's own credential.`,
    );
  }
  if (answer.status === 403) {
    if (hasCause(status, NAMESPACE_TERMINATING)) return transient(NAMESPACE_TERMINATING, sentence);
    // Quota, Pod Security and other admission answer 403 as well; RBAC says: User "x" cannot create resource "secrets".
    if (status !== undefined && !/ cannot \w+ (resource|path) /.test(status.message ?? "")) {
      return new TerminalError({ ...failure, code: "RequestRefused", message: sentence });
    }
    return new TerminalError({
      ...failure,
      code: "MissingPermission",
      message: `kubernetes does not let us ${doing} (403); apply the Role and RoleBinding of the onboarding.`,
    });
  }
  if (answer.status === 409) {
    const code = status?.reason === "AlreadyExists" ? CONFLICT.AlreadyExists : CONFLICT.Conflict;
    return new ConflictError({ ...failure, code, message: sentence });
  }
  // Callers handle the 404 that means "gone"; what is left is a CRD or a namespace that is not there yet or no more.
  // 410: a list or watch too old to continue with.
  const passes = [404, 408, 410, 429].includes(answer.status) || answer.status >= 500;
  if (passes) return transient(answer.status === 404 ? "NotFound" : "UpstreamUnavailable", sentence);
  if (answer.status >= 400) return new TerminalError({ ...failure, code: "RequestRefused", message: sentence });
  return transient(
    "UpstreamUnavailable",
    `kubernetes gave an answer that is not its own to ${doing} (${answer.status})`,
  );
}

function statusOf(text: string): V1Status | undefined {
  const body = parsedJSON(text);
  return isStatus(body) ? body : undefined;
}

function isStatus(body: unknown): body is V1Status {
  return typeof body === "object" && body !== null && "kind" in body && body.kind === "Status";
}

function hasCause(status: V1Status | undefined, reason: string): boolean {
  return status?.details?.causes?.some((cause) => cause.reason === reason) ?? false;
}
