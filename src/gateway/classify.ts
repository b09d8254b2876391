import * as z from "zod";

import { REASON } from "../api/reasons.ts";
import { redact, type SagaError, TerminalError, TransientError, UnreadableError } from "../lib/errors.ts";
import { classifyStatus, type HttpAnswer } from "../lib/http.ts";
import { parsedJSON } from "../lib/json.ts";
import { parseRetryAfter } from "../lib/backoff.ts";
import type { KeyVerdict } from "./gateway.ts";
import { terminal, unavailable } from "./failures.ts";

const UPSTREAM = "newapi";

/** The answer's body when it is the JSON that was asked for, else undefined. Never an error that quotes the body. */
export function parseAnswer<T>(schema: z.ZodType<T>, answer: HttpAnswer): T | undefined {
  const body = parsedJSON(answer.text);
  return body === undefined ? undefined : schema.safeParse(body).data;
}

/**
 * An answer that the contract does not know: a login page, a cut reply, a route that is not the gateway's. Its body is
 * left out, because where an answer with a key was due, no pattern is sure to find the key in what came instead.
 */
export function notItsOwn(answer: HttpAnswer, doing: string): TransientError {
  return new UnreadableError({
    code: REASON.UpstreamUnavailable,
    upstream: UPSTREAM,
    upstreamStatus: answer.status,
    message: `What answered to ${doing} is not the gateway's admin API (status ${answer.status}); if it stays so, correct the Tenant's newapi.url.`,
  });
}

/** The class of an unwelcome answer to an admin call. */
export function refusedAdminCall(
  answer: HttpAnswer,
  doing: string,
  now: number,
  secrets: readonly string[],
): SagaError {
  if (answer.status < 400) return notItsOwn(answer, doing);
  if (answer.status === 401 || answer.status === 403) {
    return unauthorized(`The gateway refused the admin token (${answer.status}) for ${doing}`, {
      upstreamStatus: answer.status,
      body: redact(answer.text, secrets),
    });
  }
  return classifyStatus(UPSTREAM, answer, doing, now, secrets);
}

/** The admin token does not do; `what` is the first half of the sentence. */
export function unauthorized(what: string, seen: { upstreamStatus?: number; body?: string } = {}): TerminalError {
  return terminal(REASON.CredentialsRefused, `${what}; renew the token in the tenant's credential Secret.`, {
    ...seen,
  });
}

const modelList = z.object({ data: z.array(z.unknown()) });
const refusalBody = z.object({
  error: z.object({ code: z.string().nullish().catch(null), type: z.string().nullish().catch(null) }),
});

/**
 * What `GET /v1/models` says of the key it was asked with. Throws TransientError when the answer says nothing about
 * the key: a 200 that is no list of models, a 429 without a word of quota, anything else.
 */
export function judgeKey(answer: HttpAnswer, now: number, secrets: readonly string[]): KeyVerdict {
  const doing = "the check of a key";
  switch (answer.status) {
    case 200:
      if (parseAnswer(modelList, answer) === undefined) throw notItsOwn(answer, doing);
      return "works";
    case 401:
      return "dead";
    case 402:
      return "exhausted";
    case 403:
      return saysQuota(answer) ? "exhausted" : "disabled";
    case 429:
      if (saysQuota(answer)) return "exhausted";
      throw classifyStatus(UPSTREAM, answer, doing, now, secrets);
    default:
      if (answer.status < 400) throw notItsOwn(answer, doing);
      // Whatever else it is, it is not about the key: no person has to act on the user's account.
      throw unavailable(`The gateway answered ${answer.status} to ${doing}.`, {
        upstreamStatus: answer.status,
        body: redact(answer.text, secrets),
        retryAfterMs: parseRetryAfter(answer.headers.get("retry-after"), now),
      });
  }
}

/** `insufficient_quota`, `insufficient_user_quota` and their like; a rate limit's code is another. */
function saysQuota(answer: HttpAnswer): boolean {
  const said = parseAnswer(refusalBody, answer)?.error;
  return /quota/i.test(`${said?.code ?? ""} ${said?.type ?? ""}`);
}
