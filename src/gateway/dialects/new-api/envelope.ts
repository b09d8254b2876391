import { setTimeout as sleep } from "node:timers/promises";

import * as z from "zod";

import { REASON } from "../../../api/reasons.ts";
import { RETRIES, retryPauseMs } from "../../../lib/backoff.ts";
import { redact, type SagaError, TransientError } from "../../../lib/errors.ts";
import { classifyStatus, type HttpAnswer } from "../../../lib/http.ts";
import { notItsOwn, parseAnswer, unauthorized } from "../../classify.ts";
import { unavailable } from "../../failures.ts";

/** What the gateway said to one call. Its `message` is free text for people; there are no codes. */
export type Said =
  | { readonly kind: "done"; readonly data: unknown }
  | { readonly kind: "refused"; readonly message: string; readonly status: number; readonly code: string };

const envelope = z.object({
  success: z.boolean(),
  message: z.string().nullish(),
  code: z.string().nullish().catch(null),
  data: z.unknown().optional(),
});

/** In the languages that it speaks whatever was asked for. */
const SAYS_NOT_AUTHORISED =
  /access token|new-api-user|not logged in|privilege|has been banned|令牌无效|权限|封禁|未登录/i;
const SAYS_BUSY = /database is locked|SQLITE_BUSY|database error|deadlock|too many connections/i;
/** Nothing was done, and in a moment it can be: SQLite has one writer at a time. */
const SAYS_LOCKED = /database (?:table )?is locked|SQLITE_BUSY|deadlock/i;
const LOCKED_TRIES = 4;
const SAYS_NOT_FOUND = /record not found/i;
const SAYS_INVALID = /field validation for|invalid (?:input|parameter)|无效的参数|输入不合法/i;

/**
 * Reads an answer of `/api`. Most failures come with status 200, so the status alone says nothing; an answer without a
 * boolean `success` is not the gateway's. 429 is the caller's to judge, before this.
 */
export function readEnvelope(
  answer: HttpAnswer,
  doing: string,
  now: number,
  secrets: readonly string[],
  mayBeEmpty = false,
): Said {
  if (mayBeEmpty && answer.status === 200 && answer.text === "") return { kind: "done", data: undefined };
  if (answer.status >= 500) throw classifyStatus("newapi", answer, doing, now, secrets);
  const said = parseAnswer(envelope, answer);
  if (said === undefined || (answer.status >= 300 && answer.status < 400)) throw notItsOwn(answer, doing);
  if (said.success) {
    if (answer.status >= 400) throw notItsOwn(answer, doing);
    return { kind: "done", data: said.data };
  }
  const message = redact(said.message ?? "", secrets);
  if (SAYS_BUSY.test(message)) throw busy(answer, doing, message);
  return { kind: "refused", message, status: answer.status, code: said.code ?? "" };
}

/** The same for calls with the admin's token, where a refusal of the token needs a person. */
export function readAdminEnvelope(
  answer: HttpAnswer,
  doing: string,
  now: number,
  secrets: readonly string[],
  mayBeEmpty = false,
): Said {
  const said = readEnvelope(answer, doing, now, secrets, mayBeEmpty);
  if (said.kind === "done") return said;
  if (answer.status === 401 || answer.status === 403 || SAYS_NOT_AUTHORISED.test(said.message)) {
    throw unauthorized(
      `The gateway refused the admin token for ${doing} (${answer.status}: ${said.message}); token must be an access token of an admin that is enabled, and user-id that admin's id`,
      { upstreamStatus: answer.status },
    );
  }
  return said;
}

export function isNotFound(said: Said): boolean {
  return said.kind === "refused" && SAYS_NOT_FOUND.test(said.message);
}

/** The request itself is wrong: repeating it changes nothing. */
export function isInvalid(said: Said): boolean {
  return said.kind === "refused" && SAYS_INVALID.test(said.message);
}

/** A refusal in words that nobody knows counts as passing. */
export function refusal(said: Extract<Said, { kind: "refused" }>, doing: string): SagaError {
  return unavailable(`The gateway refused ${doing}: ${said.message === "" ? "it said nothing" : said.message}`, {
    upstreamStatus: said.status,
    body: said.message,
  });
}

/** The call was answered that the database is locked: it is repeated in place, a few times and quickly. */
class LockedError extends TransientError {}

export async function repeatedWhileLocked<T>(
  act: () => Promise<T>,
  signal: AbortSignal,
  random: () => number = Math.random,
): Promise<T> {
  for (let failures = 1; failures <= LOCKED_TRIES; failures += 1) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof LockedError)) throw error;
      await sleep(retryPauseMs(RETRIES.gatewayLocked, failures, random), undefined, { signal }).catch(() =>
        Promise.reject(error),
      );
    }
  }
  return act();
}

function busy(answer: HttpAnswer, doing: string, message: string): TransientError {
  return new (SAYS_LOCKED.test(message) ? LockedError : TransientError)({
    code: REASON.UpstreamUnavailable,
    upstream: "newapi",
    upstreamStatus: answer.status,
    body: message,
    message: `The gateway's database was busy with something else during ${doing}: ${message}`,
  });
}
