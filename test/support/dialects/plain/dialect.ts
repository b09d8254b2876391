/** The least that a gateway's admin API can be: `/users/<uuid>`, with one key for each. */
import * as z from "zod";

import { REASON } from "../../../../src/api/reasons.ts";
import { notItsOwn, parseAnswer, refusedAdminCall, unauthorized } from "../../../../src/gateway/classify.ts";
import type { GatewayDialect } from "../../../../src/gateway/dialect.ts";
import type { Account, AccountHolder, Gateway, GatewayCapabilities } from "../../../../src/gateway/gateway.ts";
import { makeGatewayCall } from "../../../../src/gateway/gatewayCall.ts";
import { SENDABLE, tryKey } from "../../../../src/gateway/models.ts";
import type { Clock } from "../../../../src/lib/clock.ts";
import { ConflictError, TerminalError } from "../../../../src/lib/errors.ts";
import type { HttpRequest } from "../../../../src/lib/http.ts";
import { pathSegment } from "../../../../src/lib/ids.ts";
import { Sensitive } from "../../../../src/lib/sensitive.ts";

const capabilities: GatewayCapabilities = { tier: false, quota: false, overlap: false, email: false, keyIsFree: true };
const user = z.object({ tenant: z.string(), key: z.string().regex(SENDABLE), enabled: z.boolean() });
const anything = z.record(z.string(), z.unknown());

export const plain: GatewayDialect<"password"> = {
  credentialKeys: ["password"],
  needsMasterKeys: false,
  capabilities,
  open: ({ clock }) => ({ make: ({ url, credential }) => makePlainGateway(url, credential.password, clock) }),
};

function makePlainGateway(url: string, password: Sensitive, clock: Clock): Gateway {
  const secrets = [password.reveal()];
  const call = makeGatewayCall([], undefined);

  /** Undefined: the user is not there. */
  async function ask(method: HttpRequest["method"], path: string, tenant: string | undefined, signal: AbortSignal) {
    const doing = "a call to the plain gateway";
    if (!SENDABLE.test(password.reveal())) throw unauthorized("The password cannot be sent");
    const body = tenant === undefined ? {} : { body: JSON.stringify({ tenant }) };
    const headers = { authorization: `Bearer ${password.reveal()}`, "content-type": "application/json" };
    const answer = await call({ method, url: `${url}/users/${path}`, headers, secrets, ...body }, signal);
    if (parseAnswer(anything, answer) === undefined && answer.status < 500) throw notItsOwn(answer, doing);
    if (answer.status === 404) return undefined;
    if (answer.status >= 300) throw refusedAdminCall(answer, doing, clock.now(), secrets);
    const found = parseAnswer(user, answer);
    if (found === undefined) throw notItsOwn(answer, doing);
    return { ...found, created: answer.status === 201 };
  }

  function ours({ uuid, tenantID }: AccountHolder, found: z.infer<typeof user>): Account {
    if (found.tenant !== tenantID) throw claimed(uuid);
    const apiKey = new Sensitive(found.key);
    return {
      userID: uuid,
      username: uuid,
      enabled: found.enabled,
      masterKey: undefined,
      apiKey: () => Promise.resolve(apiKey),
      takeWrites: () => [],
    };
  }

  const at = (id: string, verb = ""): string => `${pathSegment(id)}${verb}`;

  return {
    capabilities,
    async find(person, signal) {
      const found = await ask("GET", at(person.uuid), undefined, signal);
      return found === undefined ? undefined : ours(person, found);
    },
    async ensure(person, signal) {
      const found = await ask("PUT", at(person.uuid), person.tenantID, signal);
      if (found === undefined) throw gone(person.uuid);
      return { account: ours(person, found), created: found.created };
    },
    async rotate({ uuid }, id, signal) {
      const found = await ask("POST", at(id, "/rotate"), undefined, signal);
      if (found === undefined) throw gone(uuid);
      return new Sensitive(found.key);
    },
    retire: () => Promise.resolve(0),
    sign: () => undefined,
    isSigned: () => false,
    disable: async (id, _uuid, signal) => (await ask("POST", at(id, "/disable"), undefined, signal)) !== undefined,
    enable: async (id, _uuid, signal) => (await ask("POST", at(id, "/enable"), undefined, signal)) !== undefined,
    remove: undefined,
    drifted: () => Promise.resolve([]),
    verifyKey: (key, signal) => tryKey(url, key, { call, clock }, signal),
    async check(_expected, signal) {
      await ask("GET", at("nobody"), undefined, signal);
      return { problems: [], unknown: [] };
    },
  };
}

function claimed(uuid: string): TerminalError {
  return new TerminalError({
    code: REASON.AccountClaimed,
    upstream: "newapi",
    message: `Account ${uuid} belongs to another tenant.`,
  });
}

function gone(uuid: string): ConflictError {
  return new ConflictError({ code: REASON.AccountGone, upstream: "newapi", message: `Account ${uuid} is gone.` });
}
