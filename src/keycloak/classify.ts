/** Keycloak's refusals in our terms. Pure but for reading the error. */
import { NetworkError } from "@keycloak/keycloak-admin-client";
import { REASON } from "../api/reasons.ts";
import {
  ConflictError,
  isSagaError,
  redact,
  SagaError,
  TerminalError,
  TransientError,
  UnreadableError,
} from "../lib/errors.ts";
import { classifyStatus, type HttpAnswer, tooMuch, unreachable } from "../lib/http.ts";

/**
 * Code of a ConflictError: Keycloak itself said that the thing asked for is not there. Whatever is asked for by its id was seen
 * a moment before, so somebody was quicker (a deletion, a worker that had lost its row): the next attempt looks again.
 */
export const NOT_FOUND = "NotFound";

/**
 * For a token that was refused right after its login was accepted: the client's secret is right, so nobody is told to renew
 * it. A realm's `notBefore` in the future, tokens that live for a second or two, and nodes whose clocks differ do that.
 */
export class TokenRefused extends TransientError {
  constructor(doing: string) {
    super({
      code: REASON.UpstreamUnavailable,
      upstream: "keycloak",
      upstreamStatus: 401,
      message:
        `keycloak accepts our login, and refuses the token that it gave (401) for ${doing}; check the realm's notBefore ` +
        `(Sessions > Revocation) and access token lifespan, and the clocks of Keycloak's nodes.`,
    });
  }
}

/** An answer as Keycloak gave it: the body parsed where it is JSON, else its text. */
export interface RefusedAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly data: unknown;
}

/**
 * With 400 and no field: what holds the users has failed, such as a directory behind the realm that is down. Keycloak
 * says the same of a value that this directory refuses.
 */
const STORAGE_FAILED = /^could not (create|update) user\b/i;

/** Turns whatever a call threw into a SagaError. `doing` completes "keycloak refused ...". */
export function classify(error: unknown, doing: string, now: number): SagaError {
  if (isSagaError(error)) return error;
  if (error instanceof NetworkError) {
    return classifyRefusal(
      { status: error.response.status, headers: error.response.headers, data: error.responseData },
      doing,
      now,
    );
  }
  return tooMuch("keycloak", error, doing) ?? unreachable("keycloak", error, { doing });
}

export function classifyRefusal(refusal: RefusedAnswer, doing: string, now: number): SagaError {
  const { status, headers, data } = refusal;
  const text = typeof data === "string" ? data : (JSON.stringify(data) ?? "");
  const answer: HttpAnswer = { status, headers, text };
  const said = sentenceOf(data);
  const failure = { upstream: "keycloak" as const, upstreamStatus: status, body: redact(text) };

  // A page of HTML, or a 404 without Keycloak's JSON, is a proxy in front of a Keycloak that is away. Taking such a 404
  // for "the user is gone" would leave a living account behind.
  if (status >= 400 && status < 500 && status !== 429 && (isPage(data) || (status === 404 && said === undefined))) {
    return new TransientError({
      ...failure,
      code: REASON.UpstreamUnavailable,
      message: `keycloak did not answer itself (${status}, not its own body) to ${doing}.`,
    });
  }
  if (status === 404) return notFound(failure, said ?? "", doing);
  if (status === 401 || status === 403 || isLoginRefusal(data)) {
    return new TerminalError({
      ...failure,
      code: REASON.CredentialsRefused,
      message: refusedSentence(status, data, doing),
    });
  }
  if (status === 400 && said !== undefined && STORAGE_FAILED.test(said)) {
    return new TransientError({
      ...failure,
      code: REASON.RequestRefused,
      message: `keycloak failed at ${doing} in its user storage (${said}); check the realm's user federation. It is tried again.`,
    });
  }
  if (status === 400) {
    return new TerminalError({
      ...failure,
      code: REASON.RequestRefused,
      message: `keycloak refused ${doing}: ${invalidFields(data) ?? said ?? `400 ${failure.body}`}.`,
    });
  }
  return classifyStatus("keycloak", answer, doing, now);
}

/** For a call that answered, but not what the contract says: HTML with 200, JSON of another shape. */
export function notItsOwn(doing: string, body: unknown): TransientError {
  const text = typeof body === "string" ? body : (JSON.stringify(body) ?? "");
  return new UnreadableError({
    code: REASON.UpstreamUnavailable,
    upstream: "keycloak",
    // The library tells no status of an answer that it takes for good.
    upstreamStatus: 200,
    body: redact(text),
    message: `keycloak gave an answer that is not its own to ${doing}; a proxy or a half-started server answered.`,
  });
}

type Failure = { readonly upstream: "keycloak"; readonly upstreamStatus: number; readonly body: string };

function notFound(failure: Failure, said: string, doing: string): SagaError {
  if (/realm (not found|does not exist)/i.test(said)) {
    return new TerminalError({
      ...failure,
      code: REASON.RealmNotFound,
      message: "keycloak has no such realm; create it, or correct spec.keycloak.realm of the Tenant.",
    });
  }
  if (/^(user|group|role|client) not found|could not find|does not exist/i.test(said)) {
    const message = `keycloak did not find it any more: ${doing} (${said}); it is looked for again.`;
    return new ConflictError({ ...failure, code: NOT_FOUND, message });
  }
  return new TerminalError({
    ...failure,
    code: REASON.RequestRefused,
    message: `keycloak knows no such path (${said}) for ${doing}; check spec.keycloak.url of the Tenant.`,
  });
}

/** The login endpoint says with 400 or 401 what the admin endpoints say with 401. */
function isLoginRefusal(data: unknown): boolean {
  const error = textOf(data, "error");
  return error === "invalid_client" || error === "unauthorized_client" || error === "access_denied";
}

function refusedSentence(status: number, data: unknown, doing: string): string {
  const description = textOf(data, "error_description") ?? "";
  if (/realm not enabled/i.test(description)) return "keycloak's realm is disabled; enable it.";
  if (/service account/i.test(description)) {
    return `keycloak refused ${doing}: the client has no service account; make it confidential and switch on "Service accounts roles".`;
  }
  if (status === 403) {
    return `keycloak refused our service account (403) for ${doing}; grant it the roles of realm-management that the Tenant's check names.`;
  }
  return `keycloak refused our credentials (${status}) for ${doing}; check that the client exists and is enabled, and that the tenant's credential Secret holds its client-id and its present secret.`;
}

const FIELD_ERRORS: Readonly<Record<string, string>> = {
  "error-invalid-email": "is not an address that Keycloak takes",
  "error-invalid-length": "has a length that the realm does not allow",
  "error-invalid-length-too-long": "is too long",
  "error-user-attribute-required": "is required by the realm's user profile",
  "error-user-attribute-read-only": "is read-only in this realm",
  "error-username-invalid-character": "holds a character that the realm does not allow",
  "error-person-name-invalid-character": "holds a character that the realm does not allow",
  "error-pattern-no-match": "does not match the pattern of the realm's user profile",
  "error-invalid-value": "is not a value that the realm's user profile allows",
  "error-invalid-multivalued-size": "has more values than the realm's user profile allows",
  updateReadOnlyAttributesRejectedMessage: "is written by Keycloak alone",
};

/** One field: `{"field","errorMessage"}`; several: `{"errors":[...]}`. */
function invalidFields(data: unknown): string | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const several: unknown = "errors" in data ? data.errors : undefined;
  const list: unknown[] = Array.isArray(several) ? several : [data];
  const sentences = list.flatMap((item) => {
    const field = textOf(item, "field");
    const code = textOf(item, "errorMessage");
    return field === undefined || code === undefined ? [] : [`${field} ${FIELD_ERRORS[code] ?? `(${code})`}`];
  });
  return sentences.length === 0 ? undefined : sentences.join("; ");
}

function sentenceOf(data: unknown): string | undefined {
  return textOf(data, "errorMessage") ?? textOf(data, "error");
}

function textOf(data: unknown, key: string): string | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const value: unknown = Reflect.get(data, key);
  return typeof value === "string" ? redact(value) : undefined;
}

function isPage(data: unknown): boolean {
  return typeof data === "string" && data.trimStart().startsWith("<");
}
