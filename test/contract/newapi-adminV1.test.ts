import { randomUUID } from "node:crypto";
import { inspect } from "node:util";

import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { makeAdminV1Gateway } from "../../src/gateway/dialects/admin-v1/adminV1Gateway.ts";
import type { AccountRequest, Gateway } from "../../src/gateway/gateway.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { isSagaError, type SagaError, TerminalError, TransientError } from "../../src/lib/errors.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { startStandIn } from "../../stack/newapi/server.ts";
import { type StandInControl, standInControl } from "../support/standInControl.ts";

/** A gateway to hold to the contract. It may be somebody's real one: not empty before, nothing live left after. */
interface Target {
  readonly url: string;
  readonly token: Sensitive;
  /** Only the stand-in fails on command. */
  readonly control?: StandInControl;
  readonly close: () => Promise<void>;
}

interface Candidate {
  readonly name: string;
  /** It has a `control`, so the tests that make it fail run too. */
  readonly failsOnCommand: boolean;
  readonly start: () => Promise<Target>;
}

/** `NEWAPI_URL` and `NEWAPI_ADMIN_TOKEN` name a server that speaks admin-v1; without them, the stand-in. */
function candidates(): Candidate[] {
  const { NEWAPI_URL: url, NEWAPI_ADMIN_TOKEN: token, NEWAPI_ADMIN_USER_ID: newApi } = process.env;
  // With a user id it is one that speaks new-api, which this is not about.
  if (url !== undefined && url !== "" && token !== undefined && token !== "" && newApi === undefined) {
    const target: Target = { url, token: new Sensitive(token), close: async () => {} };
    return [{ name: "the server at NEWAPI_URL", failsOnCommand: false, start: () => Promise.resolve(target) }];
  }
  return [
    {
      name: "the stand-in",
      failsOnCommand: true,
      async start() {
        const adminToken = `admin-${randomUUID()}`;
        const { url: at, close } = await startStandIn({ adminToken });
        return { url: at, token: new Sensitive(adminToken), control: standInControl(at), close };
      },
    },
  ];
}

const never = new AbortController().signal;

describe.each(candidates())("admin-v1 of $name", ({ start, failsOnCommand }) => {
  let target: Target;
  let gateway: Gateway;

  beforeAll(async () => {
    target = await start();
    gateway = makeAdminV1Gateway({ ...target, clock: systemClock });
  });
  afterEach(() => target.control?.heal());
  afterAll(() => target.close());

  /** A person of their own for each test; disabled afterwards, because the dialect cannot delete. */
  function person(): AccountRequest {
    const uuid = randomUUID();
    const request: AccountRequest = {
      uuid,
      tenantID: "contract-acme",
      email: `contract-${uuid}@acme.example`,
      tier: "standard",
      quota: undefined,
      userID: undefined,
      enabled: true,
      keyVersion: "0",
      rotating: false,
      overlapping: false,
      masterKey: undefined,
      keycloakUserID: randomUUID(),
      keycloakRealm: "acme",
    };
    onTestFinished(async () => {
      await target.control?.heal();
      const left = await gateway.find(request, never);
      if (left !== undefined) await gateway.disable(left.userID, uuid, never);
    });
    return request;
  }

  async function ensured(request: AccountRequest) {
    const { account, created } = await gateway.ensure(request, never);
    return { account, created, apiKey: await account.apiKey(never) };
  }

  /** The plain HTTP answer, past the client. */
  async function raw(method: string, path: string, bearer: Sensitive, body?: unknown) {
    const answer = await fetch(`${target.url.replace(/\/+$/, "")}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${bearer.reveal()}`,
        "content-type": "application/json",
        "x-idempotency-key": randomUUID(),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, body: JSON.parse(text) as Record<string, unknown> };
  }
  const USERS = "/api/v1/admin/users";

  describe("answers", () => {
    test("201 with user_id, api_key and created_at to a create, then 409", async () => {
      const { uuid, tenantID, email, tier } = person();
      const body = { external_id: uuid, email, tenant_id: tenantID, tier, metadata: {} };
      const first = await raw("POST", USERS, target.token, body);
      expect(first.status).toBe(201);
      expect(Object.keys(first.body)).toEqual(expect.arrayContaining(["user_id", "api_key", "created_at"]));
      expect((await raw("POST", USERS, target.token, body)).status).toBe(409);
    });

    test("200 with all that belongs to an external id, 404 to an unknown one", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      const found = await raw("GET", `${USERS}?external_id=${request.uuid}`, target.token);
      expect(found.status).toBe(200);
      expect({ ...found.body, user_id: String(found.body["user_id"]) }).toMatchObject({
        user_id: account.userID,
        external_id: request.uuid,
        email: request.email,
        tenant_id: request.tenantID,
        tier: request.tier,
        api_key: apiKey.reveal(),
        created_at: expect.any(String),
      });
      expect((await raw("GET", `${USERS}?external_id=${randomUUID()}`, target.token)).status).toBe(404);
    });

    test("400 to a body without external_id", async () => {
      expect((await raw("POST", USERS, target.token, { email: "x@acme.example" })).status).toBe(400);
    });

    test("401 to a wrong admin token", async () => {
      const wrong = new Sensitive("wrong-token");
      expect((await raw("GET", `${USERS}?external_id=${randomUUID()}`, wrong)).status).toBe(401);
    });

    test.each(["keys/rotate", "disable", "enable"])("404 to %s of an unknown user", async (verb) => {
      expect((await raw("POST", `${USERS}/${randomUUID()}/${verb}`, target.token)).status).toBe(404);
    });

    test("200, 401 and 403 on /v1/models by key", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      expect((await raw("GET", "/v1/models", apiKey)).status).toBe(200);
      expect((await raw("GET", "/v1/models", new Sensitive("sk-nobody-has-this"))).status).toBe(401);
      await gateway.disable(account.userID, request.uuid, never);
      expect((await raw("GET", "/v1/models", apiKey)).status).toBe(403);
    });
  });

  describe("an account", () => {
    test("is created once, and the second ensure returns the same user and key", async () => {
      const request = person();
      const first = await ensured(request);
      const second = await ensured(request);
      expect([first.created, second.created]).toEqual([true, false]);
      expect(second.account.userID).toBe(first.account.userID);
      expect(second.account.username).toBe(request.uuid);
      expect(second.apiKey.equals(first.apiKey)).toBe(true);
      expect(await gateway.verifyKey(second.apiKey, never)).toBe("works");
    });

    test("is one, with one key, when eight ensure it at once", async () => {
      const request = person();
      const made = await Promise.all(Array.from({ length: 8 }, () => ensured(request)));
      expect(made.filter(({ created }) => created)).toHaveLength(1);
      expect(new Set(made.map(({ apiKey }) => apiKey.reveal())).size).toBe(1);
    });

    test("is found by its uuid, and nobody is found by an unknown one", async () => {
      const request = person();
      const { account } = await ensured(request);
      const found = await gateway.find(request, never);
      expect(found?.userID).toBe(account.userID);
      expect(await gateway.find({ ...request, uuid: randomUUID() }, never)).toBeUndefined();
    });

    test("of another tenant is refused as AccountClaimed, and its key and tenant stay unsaid", async () => {
      const request = person();
      const { apiKey } = await ensured(request);
      for (const attempt of [
        () => gateway.ensure({ ...request, tenantID: "contract-other" }, never),
        () => gateway.find({ ...request, tenantID: "contract-other" }, never),
      ]) {
        const error = await failure(attempt());
        expect(error).toBeInstanceOf(TerminalError);
        expect(error.code).toBe("AccountClaimed");
        expectSilent(error, apiKey, target.token);
        expect(everything(error)).not.toContain(request.tenantID);
      }
      expect(await gateway.verifyKey(apiKey, never)).toBe("works");
    });

    test("that is rotated has a new key that works, and its old key is dead", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      const fresh = await gateway.rotate(request, account.userID, never);
      expect(fresh.equals(apiKey)).toBe(false);
      expect(await gateway.verifyKey(apiKey, never)).toBe("dead");
      expect(await gateway.verifyKey(fresh, never)).toBe("works");
      const found = await gateway.find(request, never);
      expect((await found?.apiKey(never))?.equals(fresh)).toBe(true);
    });

    test("that is disabled opens nothing, and enabled again opens with the same key", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      expect(await gateway.disable(account.userID, request.uuid, never)).toBe(true);
      expect(await gateway.disable(account.userID, request.uuid, never)).toBe(true);
      expect(await gateway.verifyKey(apiKey, never)).toBe("disabled");
      expect(await gateway.enable(account.userID, request.uuid, never)).toBe(true);
      expect(await gateway.enable(account.userID, request.uuid, never)).toBe(true);
      expect(await gateway.verifyKey(apiKey, never)).toBe("works");
    });

    test("that is gone is success for disable, said by enable, and a conflict for rotate", async () => {
      const nobody = randomUUID();
      expect(await gateway.disable(nobody, nobody, never)).toBe(false);
      expect(await gateway.enable(nobody, nobody, never)).toBe(false);
      expect(await failure(gateway.rotate({ ...person(), uuid: nobody }, nobody, never))).toMatchObject({
        class: "conflict",
        code: "AccountGone",
      });
    });
  });

  describe("the admin token", () => {
    test("passes the check when it is right", async () => {
      await expect(gateway.check({ tiers: [] }, never)).resolves.toEqual({ problems: [], unknown: [] });
    });

    test("is refused as CredentialsRefused when it is wrong, by every method, with what to do", async () => {
      const request = person();
      const token = new Sensitive(`wrong-${randomUUID()}`);
      const wrong = makeAdminV1Gateway({ url: target.url, token, clock: systemClock });
      const id = randomUUID();
      for (const attempt of [
        () => wrong.check({ tiers: [] }, never),
        () => wrong.find(request, never),
        () => wrong.ensure(request, never),
        () => wrong.rotate(request, id, never),
        () => wrong.disable(id, request.uuid, never),
        () => wrong.enable(id, request.uuid, never),
      ]) {
        const error = await failure(attempt());
        expect(error).toBeInstanceOf(TerminalError);
        expect(error).toMatchObject({ code: "CredentialsRefused", upstream: "newapi", upstreamStatus: 401 });
        expect(error.message).toContain("renew the token in the tenant's credential Secret");
        expectSilent(error, token);
      }
    });
  });

  describe.runIf(failsOnCommand)("when the gateway fails", () => {
    const failing = (order: Parameters<StandInControl["fault"]>[0]) => target.control?.fault(order);

    test("a lost reply to a create leaves one account, which the next ensure finds", async () => {
      const request = person();
      await failing({ match: { method: "POST", externalID: request.uuid }, count: 1, action: { dropAfter: true } });
      expect(await failure(gateway.ensure(request, never))).toBeInstanceOf(TransientError);
      const { account, apiKey, created } = await ensured(request);
      expect(created).toBe(false);
      expect(await gateway.verifyKey(apiKey, never)).toBe("works");
      const users = (await target.control?.users())?.filter(({ external_id }) => external_id === request.uuid);
      expect(users).toMatchObject([{ user_id: account.userID, liveKeys: 1, tenant_id: request.tenantID }]);
    });

    test("a lost reply to a rotation is seen by the next look as another key", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      await failing({ match: { path: "/keys/rotate$" }, count: 1, action: { dropAfter: true } });
      expect(await failure(gateway.rotate(request, account.userID, never))).toBeInstanceOf(TransientError);
      const found = await gateway.find(request, never);
      expect((await found?.apiKey(never))?.equals(apiKey)).toBe(false);
    });

    test("a hanging call ends at its deadline as transient", async () => {
      const request = person();
      await failing({ match: { externalID: request.uuid }, count: 1, action: { hang: true } });
      const error = await failure(gateway.ensure(request, AbortSignal.timeout(100)));
      expect(error).toBeInstanceOf(TransientError);
      expect(error.code).toBe("UpstreamUnavailable");
    });

    test("429 says in milliseconds how long to wait, from seconds and from a date", async () => {
      const request = person();
      await failing({ count: 1, action: { retryAfter: 3 } });
      expect(await failure(gateway.ensure(request, never))).toMatchObject({ class: "transient", retryAfterMs: 3000 });
      const at = Date.parse("2030-01-01T00:00:00Z");
      await failing({ count: 1, action: { retryAfter: new Date(at).toUTCString() } });
      const early = makeAdminV1Gateway({ ...target, clock: { now: () => at - 5000 } });
      expect(await failure(early.check({ tiers: [] }, never))).toMatchObject({
        class: "transient",
        retryAfterMs: 5000,
      });
    });

    test.each([500, 502, 503])("%i is transient, for every method", async (status) => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      for (const attempt of everyMethod(gateway, request, { userID: account.userID, apiKey })) {
        await failing({ count: 1, action: { status, body: "upstream is down" } });
        const error = await failure(attempt());
        expect(error).toMatchObject({ class: "transient", upstreamStatus: status });
      }
    });

    test.each([
      ["a page with status 200", { html: true }],
      ["the first half of the answer", { truncated: true }],
      ["a number with status 200", { status: 200, body: 42 }],
      ["nothing with status 200", { status: 200 }],
      ["a redirect to a login", { status: 302, headers: { location: "/login" } }],
    ] as const)("%s is transient for every method, and its text is not repeated", async (_what, action) => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      for (const attempt of everyMethod(gateway, request, { userID: account.userID, apiKey })) {
        await failing({ action });
        const error = await failure(attempt());
        await target.control?.heal();
        expect(error).toMatchObject({ class: "transient", code: "UpstreamUnavailable", body: undefined });
        const found = await gateway.find(request, never);
        expectSilent(error, apiKey, (await found?.apiKey(never)) ?? apiKey, target.token);
        expect(everything(error)).not.toContain("sign in");
      }
    });

    test("JSON that nobody asked for is transient wherever something is read from it", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      for (const attempt of [
        () => gateway.ensure(request, never),
        () => gateway.find(request, never),
        () => gateway.rotate(request, account.userID, never),
        () => gateway.verifyKey(apiKey, never),
      ]) {
        await failing({ count: 1, action: { nonsense: true } });
        expect(await failure(attempt())).toBeInstanceOf(TransientError);
      }
    });

    test("a half-sent answer to a create is repaired by the next ensure", async () => {
      const request = person();
      await failing({ match: { externalID: request.uuid }, count: 1, action: { truncated: true } });
      expect(await failure(gateway.ensure(request, never))).toBeInstanceOf(TransientError);
      expect((await gateway.ensure(request, never)).created).toBe(false);
    });

    test("an account of another person, sent to our question, is not taken for ours", async () => {
      const request = person();
      const body = {
        user_id: "usr_other",
        external_id: randomUUID(),
        tenant_id: request.tenantID,
        api_key: "sk-somebody-elses-key",
      };
      await failing({ count: 1, action: { status: 200, body } });
      const error = await failure(gateway.find(request, never));
      expect(error).toBeInstanceOf(TransientError);
      expectSilent(error, new Sensitive("somebody-elses-key"));
    });

    test.each(["", ".", "..", "../../x", "a/b", "a\\b"])("an answer with the user id %j is not used", async (id) => {
      const body = { user_id: id, api_key: "sk-some-key-or-other", created_at: "now" };
      await failing({ count: 1, action: { status: 201, body } });
      expect(await failure(gateway.ensure(person(), never))).toBeInstanceOf(TransientError);
    });

    test("a numeric user id is taken as text", async () => {
      const body = { user_id: 42, api_key: "sk-some-key-or-other", created_at: "now" };
      await failing({ count: 1, action: { status: 201, body } });
      expect((await gateway.ensure(person(), never)).account.userID).toBe("42");
    });

    test("a page with status 404 is not an account that is gone", async () => {
      const request = person();
      for (const attempt of [
        () => gateway.disable("usr_1", request.uuid, never),
        () => gateway.find(request, never),
        () => gateway.check({ tiers: [] }, never),
      ]) {
        await failing({ count: 1, action: { status: 404, body: "404 page not found" } });
        const error = await failure(attempt());
        expect(error).toMatchObject({ class: "transient", upstreamStatus: 404 });
        expect(error.message).toContain("correct the Tenant's newapi.url");
      }
    });

    test("a 409 whose account cannot be found is a conflict", async () => {
      const request = person();
      await failing({ match: { method: "POST" }, count: 1, action: { status: 409, body: {} } });
      expect(await failure(gateway.ensure(request, never))).toMatchObject({ class: "conflict" });
    });

    test("another 4xx to a create is terminal and says what the gateway said", async () => {
      await failing({ count: 1, action: { status: 422, body: { error: "tier unknown" } } });
      const error = await failure(gateway.ensure(person(), never));
      expect(error).toMatchObject({ class: "terminal", code: "RequestRefused", upstreamStatus: 422 });
      expect(error.message).toContain("tier unknown");
    });

    test("403 to an admin call is terminal as a wrong token is", async () => {
      await failing({ count: 1, action: { status: 403, body: {} } });
      expect(await failure(gateway.check({ tiers: [] }, never))).toMatchObject({
        code: "CredentialsRefused",
        upstreamStatus: 403,
      });
    });

    test("an unreachable gateway is transient", async () => {
      const closed = await startStandIn({ adminToken: "x" });
      await closed.close();
      const gone = makeAdminV1Gateway({ url: closed.url, token: target.token, clock: systemClock });
      expect(await failure(gone.check({ tiers: [] }, never))).toMatchObject({
        class: "transient",
        upstreamStatus: undefined,
      });
    });

    test("an error that repeats key and token to us does not repeat them to anybody", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      for (const attempt of everyMethod(gateway, request, { userID: account.userID, apiKey })) {
        for (const status of [400, 401, 403, 409, 422, 429, 500]) {
          const body = { error: `Bearer ${target.token.reveal()} has ${apiKey.reveal()}` };
          await failing({ count: 1, action: { status, body } });
          // A key's 401 and 403 are verdicts, a create's 409 is resolved; whatever is thrown is silent.
          const thrown = await thrownBy(attempt());
          expect(thrown === undefined || isSagaError(thrown)).toBe(true);
          if (thrown !== undefined) expectSilent(thrown, apiKey, target.token);
          await target.control?.heal();
        }
      }
    });
  });

  describe("a key", () => {
    test("that nobody has is dead, and so is one that cannot be sent", async () => {
      expect(await gateway.verifyKey(new Sensitive("sk-nobody-has-this"), never)).toBe("dead");
      expect(await gateway.verifyKey(new Sensitive(""), never)).toBe("dead");
      expect(await gateway.verifyKey(new Sensitive("sk-with\na-break"), never)).toBe("dead");
    });

    test.runIf(failsOnCommand).each([402, 429] as const)("without quota (%i) is exhausted", async (status) => {
      const request = person();
      const { apiKey } = await ensured(request);
      await target.control?.exhaust(request.uuid, status);
      expect(await gateway.verifyKey(apiKey, never)).toBe("exhausted");
    });

    test.runIf(failsOnCommand)("without quota is exhausted also where the gateway says so with 403", async () => {
      const { apiKey } = await ensured(person());
      const body = { error: { code: "insufficient_user_quota", type: "new_api_error" } };
      await target.control?.fault({ count: 1, action: { status: 403, body } });
      expect(await gateway.verifyKey(apiKey, never)).toBe("exhausted");
    });

    test.runIf(failsOnCommand)(
      "that is asked about too often is not judged: 429 without quota is transient",
      async () => {
        const { apiKey } = await ensured(person());
        const body = { error: { code: "rate_limit_exceeded" } };
        await target.control?.fault({ count: 1, action: { status: 429, body, retryAfter: 2 } });
        const error = await failure(gateway.verifyKey(apiKey, never));
        expect(error).toMatchObject({ class: "transient", retryAfterMs: 2000 });
      },
    );

    test.runIf(failsOnCommand)("is not judged by a status that is not about it", async () => {
      const { apiKey } = await ensured(person());
      for (const status of [400, 404, 418]) {
        await target.control?.fault({ count: 1, action: { status } });
        expect(await failure(gateway.verifyKey(apiKey, never))).toBeInstanceOf(TransientError);
      }
    });
  });
});

type Attempt = () => Promise<unknown>;

function everyMethod(
  gateway: Gateway,
  request: AccountRequest,
  { userID, apiKey }: { userID: string; apiKey: Sensitive },
) {
  const attempts: Attempt[] = [
    () => gateway.ensure(request, never),
    () => gateway.find(request, never),
    () => gateway.disable(userID, request.uuid, never),
    () => gateway.enable(userID, request.uuid, never),
    () => gateway.verifyKey(apiKey, never),
    () => gateway.check({ tiers: [] }, never),
    // Last: it replaces the key that the others use.
    () => gateway.rotate(request, userID, never),
  ];
  return attempts;
}

/** What a call throws; undefined when it succeeds. */
function thrownBy(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** The SagaError that a call ends with; anything else fails the test. */
async function failure(attempt: Promise<unknown>): Promise<SagaError> {
  const thrown = await thrownBy(attempt);
  if (!isSagaError(thrown)) throw new Error(`expected a SagaError, got ${inspect(thrown)}`);
  return thrown;
}

/** All that a log could print of an error; only SagaErrors may come from the client. */
function everything(error: unknown): string {
  if (!isSagaError(error)) throw new Error(`expected a SagaError, got ${inspect(error)}`);
  return [error.message, error.stack, error.body, JSON.stringify(error), inspect(error, { depth: 10 })].join("\n");
}

function expectSilent(error: unknown, ...secrets: readonly Sensitive[]): void {
  for (const secret of secrets) expect(everything(error)).not.toContain(secret.reveal());
}
