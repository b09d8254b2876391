import { REASON } from "../../../api/reasons.ts";
import type { Clock } from "../../../lib/clock.ts";
import { WaitingError } from "../../../lib/errors.ts";
import type { HttpAnswer, HttpRequest } from "../../../lib/http.ts";
import { parseRetryAfter, RETRIES } from "../../../lib/backoff.ts";
import { SENDABLE } from "../../models.ts";
import type { Sensitive } from "../../../lib/sensitive.ts";
import { unauthorized } from "../../classify.ts";
import type { GatewayCall } from "../../gatewayCall.ts";
import { type Said, readAdminEnvelope, repeatedWhileLocked } from "./envelope.ts";
import type { Limits, Permit } from "./limits.ts";
import { waiting } from "../../failures.ts";

export const RAISE_THE_LIMIT =
  "the gateway's admin can set CRITICAL_RATE_LIMIT_ENABLE=false, or CRITICAL_RATE_LIMIT to at least twice the users made in 20 minutes";
export const RAISE_THE_GLOBAL_LIMIT =
  "the gateway's admin can raise GLOBAL_API_RATE_LIMIT to at least 16 times the users made in 3 minutes";

export interface Request {
  readonly method: HttpRequest["method"];
  /** Below the gateway's address, from `/api` or `/v1` on. The gateway knows `/api/user/` and not `/api/user`. */
  readonly path: string;
  readonly body?: unknown;
  /** Some releases answer success with status 200 and nothing else. */
  readonly mayBeEmpty?: boolean;
}

export interface AdminIdentity {
  readonly token: Sensitive;
  /** Whose token it is. */
  readonly id: number;
}

/** Calls to one gateway, with one admin's token or as somebody else; no cookie is ever kept beside the token. */
export interface GatewayApi {
  readonly adminID: number;
  /** A call with the admin's token. Throws where the token, the network or a limit is in the way. */
  admin(request: Request, doing: string, signal: AbortSignal, secrets?: readonly string[]): Promise<Said>;
  /** A call with these headers; 429 is told apart by `permit`: with one it is a critical call. */
  as(
    headers: Readonly<Record<string, string>>,
    request: Request,
    doing: string,
    signal: AbortSignal,
    options?: { readonly permit?: Permit; readonly secrets?: readonly string[] },
  ): Promise<HttpAnswer>;
}

export function makeGatewayApi(deps: {
  readonly base: string;
  readonly admin: AdminIdentity;
  readonly tenantID: string;
  readonly limits: Limits;
  readonly call: GatewayCall;
  readonly clock: Clock;
}): GatewayApi {
  const { base, admin, tenantID, limits, call, clock } = deps;
  const adminSecret = admin.token.reveal();

  const as: GatewayApi["as"] = async (headers, request, doing, signal, { permit, secrets = [] } = {}) => {
    const pausedUntil = limits.all.take(tenantID);
    if (pausedUntil !== undefined) throw tooMany(doing, pausedUntil, clock.now());
    permit?.spend();
    const answer = await call(
      {
        method: request.method,
        url: `${base}${request.path}`,
        headers: {
          accept: "application/json",
          // Its messages are for people, in the caller's language; some are told apart by their words.
          "accept-language": "en",
          ...(request.body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
        secrets: [adminSecret, ...secrets],
      },
      signal,
    );
    if (answer.status !== 429) {
      permit?.passed();
      return answer;
    }
    const asked = parseRetryAfter(answer.headers.get("retry-after"), clock.now());
    if (permit !== undefined && saysSessions(answer)) throw tooManySessions(doing);
    if (permit !== undefined) throw tooManyCritical(doing, permit.refused(asked), clock.now());
    throw tooMany(doing, limits.all.refused(tenantID, asked), clock.now());
  };

  return {
    adminID: admin.id,
    as,
    async admin(request, doing, signal, secrets = []) {
      if (!SENDABLE.test(adminSecret)) {
        throw unauthorized(
          `The admin token is empty or has characters that cannot be sent (a line break?), so ${doing} was not tried`,
        );
      }
      // The newest gateways take the id from the token and ignore the header; all others demand it.
      const headers = { authorization: `Bearer ${adminSecret}`, "new-api-user": String(admin.id) };
      return repeatedWhileLocked(async () => {
        const answer = await as(headers, request, doing, signal, { secrets });
        const known = [adminSecret, ...secrets];
        return readAdminEnvelope(answer, doing, clock.now(), known, request.mayBeEmpty);
      }, signal);
    },
  };
}

/** The newest gateways have a limit of sessions per person; the limits per address have no body at all. */
function saysSessions(answer: HttpAnswer): boolean {
  return answer.text.includes("AUTH_SESSION");
}

export function tooManySessions(doing: string): WaitingError {
  return waiting(
    REASON.GatewayLimited,
    `The gateway lets no more sessions of this account begin today, so ${doing} waits; it is tried again every hour.`,
    { upstreamStatus: 429, retryAfterMs: RETRIES.gatewaySessions.firstMs },
  );
}

export function tooManyCritical(doing: string, until: number, now: number): WaitingError {
  return waiting(
    REASON.GatewayLimited,
    `The gateway limits logins and key look-ups, so ${doing} waits until ${new Date(until).toISOString()}; ${RAISE_THE_LIMIT}.`,
    { upstreamStatus: 429, retryAfterMs: Math.max(1_000, until - now) },
  );
}

/** It is found out how many pass, by others: soon it is known. */
export function notYetKnown(doing: string): WaitingError {
  return waiting(
    REASON.GatewayLimited,
    `It is being found out how many logins the gateway lets through, so ${doing} waits for those before it; it resumes by itself.`,
    { retryAfterMs: 2_000 },
  );
}

function tooMany(doing: string, until: number, now: number): WaitingError {
  return new WaitingError({
    code: REASON.GatewayLimited,
    upstream: "newapi",
    upstreamStatus: 429,
    message: `The gateway limits all calls, so ${doing} waits until ${new Date(until).toISOString()}; ${RAISE_THE_GLOBAL_LIMIT}.`,
    // Not all at the same moment.
    retryAfterMs: Math.max(1_000, until - now) + (now % 5_000),
  });
}
