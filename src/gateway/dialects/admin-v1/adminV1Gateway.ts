import * as z from "zod";

import { REASON } from "../../../api/reasons.ts";
import type { ObserveCall } from "../../../api/upstreamOperations.ts";
import type { Clock } from "../../../lib/clock.ts";
import { ConflictError, TerminalError } from "../../../lib/errors.ts";
import { isUpstreamID, pathSegment, upstreamID, upstreamNumber } from "../../../lib/ids.ts";
import type { HttpAnswer, HttpRequest } from "../../../lib/http.ts";
import { Sensitive } from "../../../lib/sensitive.ts";
import { notItsOwn, parseAnswer, refusedAdminCall, unauthorized } from "../../classify.ts";
import { SENDABLE, tryKey } from "../../models.ts";
import type { Account, AccountHolder, Gateway, GatewayCapabilities, GatewayReport } from "../../gateway.ts";
import { makeGatewayCall } from "../../gatewayCall.ts";
import { OPERATIONS } from "./operations.ts";
import { withoutEnd } from "../../../lib/text.ts";
import { terminal } from "../../failures.ts";

export interface AdminV1Options {
  /** The gateway's address; a path prefix and a trailing slash are welcome. */
  readonly url: string;
  /** The admin token of the tenant's credential Secret. */
  readonly token: Sensitive;
  readonly clock: Clock;
  readonly observe?: ObserveCall;
}

export const CAPABILITIES: GatewayCapabilities = {
  tier: false,
  quota: false,
  overlap: false,
  email: false,
  keyIsFree: true,
};

const NOTHING_WRONG: GatewayReport = { problems: [], unknown: [] };
const NIL_UUID = "00000000-0000-0000-0000-000000000000";

const userID = z.union([upstreamID, upstreamNumber]).transform(String);
const apiKey = z
  .string()
  .regex(SENDABLE)
  .transform((value) => new Sensitive(value));

const created = z.object({ user_id: userID, api_key: apiKey });
const rotated = z.object({ api_key: apiKey });
/** Read before the rest: of an account that is not ours, the key is never looked at. */
const marks = z.object({ external_id: z.string(), tenant_id: z.string().nullable() });
const owned = z.object({ external_id: z.string(), user_id: userID });
const object = z.record(z.string(), z.unknown());

/**
 * The gateway's admin API of dialect admin-v1: accounts by external id, one key each, no change of email, tier or
 * quota after creation.
 *
 * Every answer of the dialect is a JSON object. Where nothing but a status is needed (404, a disabled account) that is
 * checked too: an account that a proxy's page declared gone or disabled would keep a working key.
 */
export function makeAdminV1Gateway({ url, token, clock, observe }: AdminV1Options): Gateway {
  const base = withoutEnd(url, "/");
  const users = `${base}/api/v1/admin/users`;
  const secrets = [token.reveal()];
  const call = makeGatewayCall(OPERATIONS, observe);

  async function admin(request: Omit<HttpRequest, "secrets">, doing: string, signal: AbortSignal): Promise<HttpAnswer> {
    if (!SENDABLE.test(token.reveal())) {
      throw unauthorized(
        `The admin token is empty or has characters that cannot be sent (a line break?), so ${doing} was not tried`,
      );
    }
    const headers = { accept: "application/json", authorization: `Bearer ${token.reveal()}`, ...request.headers };
    return call({ ...request, headers, secrets }, signal);
  }

  function refused(answer: HttpAnswer, doing: string) {
    return refusedAdminCall(answer, doing, clock.now(), secrets);
  }

  /** The answer where it is well; undefined: there is no such account. */
  async function found(request: Omit<HttpRequest, "secrets">, doing: string, signal: AbortSignal) {
    const answer = await admin(request, doing, signal);
    if (isGone(answer, doing)) return undefined;
    if (answer.status !== 200) throw refused(answer, doing);
    return answer;
  }

  async function find({ uuid, tenantID }: Pick<AccountHolder, "uuid" | "tenantID">, signal: AbortSignal) {
    const doing = `the search for the account of ${uuid}`;
    const answer = await found({ method: "GET", url: byExternalID(uuid) }, doing, signal);
    if (answer === undefined) return undefined;
    const marked = parseAnswer(marks, answer);
    // Another external id than the one asked for: whatever this is, it is not the account of this person.
    if (marked?.external_id !== uuid) throw notItsOwn(answer, doing);
    if (marked.tenant_id !== tenantID) throw claimed(uuid);
    const account = parseAnswer(created, answer);
    if (account === undefined) throw notItsOwn(answer, doing);
    return accountOf(uuid, account);
  }

  function byExternalID(uuid: string): string {
    return `${users}?external_id=${encodeURIComponent(uuid)}`;
  }

  /** POST to one account. Undefined when it is gone. No idempotency key: a replayed answer would undo a later change. */
  async function post(
    id: string,
    verb: "keys/rotate" | "disable" | "enable",
    doing: string,
    signal: AbortSignal,
  ): Promise<HttpAnswer | undefined> {
    if (!isUpstreamID(id)) throw unusableUserID(doing);
    const answer = await found({ method: "POST", url: `${users}/${pathSegment(id)}/${verb}` }, doing, signal);
    if (answer === undefined) return undefined;
    if (parseAnswer(object, answer) === undefined) throw notItsOwn(answer, doing);
    return answer;
  }

  /** A gateway that was put back may have given the id on record to another person: the account is found by its external id. */
  async function switchTo(verb: "disable" | "enable", id: string, uuid: string, signal: AbortSignal): Promise<boolean> {
    const doing = `the ${verb === "enable" ? "enabling" : "disabling"} of the account of ${uuid}`;
    if (!isUpstreamID(id)) throw unusableUserID(doing);
    const answer = await found({ method: "GET", url: byExternalID(uuid) }, doing, signal);
    if (answer === undefined) return false;
    const account = parseAnswer(owned, answer);
    if (account?.external_id !== uuid) throw notItsOwn(answer, doing);
    return (await post(account.user_id, verb, doing, signal)) !== undefined;
  }

  return {
    capabilities: CAPABILITIES,
    find,

    async ensure(request, signal) {
      const { uuid, tenantID, email, tier } = request;
      const doing = `the creation of the account of ${uuid}`;
      const metadata = { kc_user_id: request.keycloakUserID, kc_realm: request.keycloakRealm };
      const answer = await admin(
        {
          method: "POST",
          url: users,
          headers: { "content-type": "application/json", "x-idempotency-key": uuid },
          body: JSON.stringify({ external_id: uuid, email, tenant_id: tenantID, tier, metadata }),
        },
        doing,
        signal,
      );
      if (answer.status === 409) {
        const account = await find(request, signal);
        if (account === undefined) throw refused(answer, doing);
        return { account, created: false };
      }
      if (answer.status !== 201) throw refused(answer, doing);
      const account = parseAnswer(created, answer);
      if (account === undefined) throw notItsOwn(answer, doing);
      return { account: accountOf(uuid, account), created: true };
    },

    async rotate({ uuid }, id, signal) {
      const doing = `the rotation of the key of ${uuid}`;
      const answer = await post(id, "keys/rotate", doing, signal);
      if (answer === undefined) throw gone(uuid);
      const key = parseAnswer(rotated, answer);
      if (key === undefined) throw notItsOwn(answer, doing);
      return key.api_key;
    },

    // One key each: the one before a rotation is dead already, and asking which is the current one costs nothing.
    retire: () => Promise.resolve(0),
    sign: () => undefined,
    isSigned: () => false,

    disable: (id, uuid, signal) => switchTo("disable", id, uuid, signal),
    enable: (id, uuid, signal) => switchTo("enable", id, uuid, signal),

    remove: undefined,
    drifted: () => Promise.resolve([]),

    verifyKey: (key, signal) => tryKey(base, key, { call, clock }, signal),

    async check(_expected, signal) {
      const doing = "a look with the admin token";
      const answer = await found({ method: "GET", url: byExternalID(NIL_UUID) }, doing, signal);
      if (answer !== undefined && parseAnswer(object, answer) === undefined) throw notItsOwn(answer, doing);
      return NOTHING_WRONG;
    },
  };
}

function accountOf(uuid: string, { user_id, api_key }: z.infer<typeof created>): Account {
  return {
    userID: user_id,
    username: uuid,
    enabled: undefined,
    masterKey: undefined,
    apiKey: () => Promise.resolve(api_key),
    takeWrites: () => [],
  };
}

/** 404 in the gateway's own voice. Throws on a 404 of anything else. */
function isGone(answer: HttpAnswer, doing: string): boolean {
  if (answer.status !== 404) return false;
  if (parseAnswer(object, answer) === undefined) throw notItsOwn(answer, doing);
  return true;
}

function claimed(uuid: string): TerminalError {
  return terminal(
    REASON.AccountClaimed,
    `The gateway's account with external id ${uuid} belongs to another tenant; its operator must remove it or correct its tenant id.`,
    { upstreamStatus: 200 },
  );
}

function gone(uuid: string): ConflictError {
  return new ConflictError({
    code: "AccountGone",
    upstream: "newapi",
    upstreamStatus: 404,
    message: `The gateway's account of ${uuid} is gone, so its key cannot be rotated; it is made again.`,
  });
}

function unusableUserID(doing: string): TerminalError {
  return terminal(
    REASON.RequestRefused,
    `The gateway's user id on record cannot be put into a path, so ${doing} was not tried; correct the record.`,
  );
}
