/** What the saga relies on, of every dialect and generation of gateway: one suite for the stand-ins and for a real one. */
import { randomUUID } from "node:crypto";
import { inspect } from "node:util";

import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";

import { isSagaError, type SagaError } from "../../src/lib/errors.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import type { AccountRequest, Gateway, Person } from "../../src/newapi/gateway.ts";
import { candidates, never, personRequest, type Target } from "../support/gateways.ts";
import type { StandInControl } from "../support/standInControl.ts";

const CRITICAL = /\/api\/user\/login$|\/api\/token\/\d+\/key$|\/api\/user\/auth\/logout$/;

describe.each(candidates())("$name", ({ start, failsOnCommand, timeoutMs, dialect }) => {
  vi.setConfig({ testTimeout: timeoutMs });
  let target: Target;
  let gateway: Gateway;
  const nobody = dialect === "new-api" ? "987654321" : randomUUID();

  beforeAll(async () => {
    target = await start();
    gateway = target.client();
  });
  afterEach(() => target.control?.heal());
  afterAll(() => target.close());

  function person(given: Partial<AccountRequest> = {}): AccountRequest {
    const request = personRequest(given);
    onTestFinished(async () => {
      await target.control?.heal();
      await target.remove(request);
    }, timeoutMs);
    return request;
  }

  const ensure = (request: AccountRequest) => target.patiently(() => gateway.ensure(request, never));

  async function ensured(request: AccountRequest) {
    const { account, created } = await ensure(request);
    const apiKey = await target.patiently(() => account.apiKey(never));
    return { account, created, apiKey };
  }

  async function keyOf(wanted: Person): Promise<Sensitive | undefined> {
    const account = await target.patiently(() => gateway.find(wanted, never));
    return account === undefined ? undefined : target.patiently(() => account.apiKey(never));
  }

  const verify = (apiKey: Sensitive) => gateway.verifyKey(apiKey, never);

  /** How many accounts and living keys of this person there are, as the gateway's own memory has it. */
  async function standing({ uuid }: AccountRequest): Promise<{ accounts: number; keys: number }> {
    const control = target.control as StandInControl;
    if (dialect === "admin-v1") {
      const mine = (await control.users()).filter(({ external_id }) => external_id === uuid);
      return { accounts: mine.length, keys: mine.reduce((sum, { liveKeys }) => sum + liveKeys, 0) };
    }
    const mine = (await control.newApiUsers()).filter(({ remark }) => remark?.includes(uuid));
    return { accounts: mine.length, keys: mine.reduce((sum, { tokens }) => sum + tokens.length, 0) };
  }

  describe("an account", () => {
    test("is made once, and asking again gives the same account and key", async () => {
      const request = person();
      const first = await ensured(request);
      const second = await ensured({ ...request, userID: first.account.userID });
      expect([first.created, second.created]).toEqual([true, false]);
      expect(second.account.userID).toBe(first.account.userID);
      expect(second.apiKey.equals(first.apiKey)).toBe(true);
      expect(second.apiKey.reveal()).toMatch(/^sk-/);
      expect(await verify(second.apiKey)).toBe("works");
    });

    test("is found without its id on record, with the same key", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      const again = await ensured(request);
      expect(again.account.userID).toBe(account.userID);
      expect(again.account.username).toBe(account.username);
      expect(again.apiKey.equals(apiKey)).toBe(true);
      expect(await gateway.find(personRequest(), never)).toBeUndefined();
    });

    test("is one, with one key, when six ask for it at once", async () => {
      const request = person();
      const made = await Promise.all(Array.from({ length: 6 }, () => ensured(request)));
      expect(made.filter(({ created }) => created)).toHaveLength(1);
      expect(new Set(made.map(({ apiKey }) => apiKey.reveal())).size).toBe(1);
    });

    test("is not given to another tenant", async () => {
      const request = person();
      const { apiKey } = await ensured(request);
      const foreign = { ...request, tenantID: "contract-other" };
      for (const attempt of [() => gateway.ensure(foreign, never), () => gateway.find(foreign, never)]) {
        const error = await failure(attempt());
        expect(error).toMatchObject({ class: "terminal", code: "AccountClaimed" });
        expectSilent(error, apiKey, target.token);
      }
      expect(await verify(apiKey)).toBe("works");
    });

    test("that is disabled opens nothing, and enabled again opens with the same key", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      for (const _ of [1, 2]) expect(await gateway.disable(account.userID, request.uuid, never)).toBe(true);
      expect(await verify(apiKey)).toBe("disabled");
      for (const _ of [1, 2]) expect(await gateway.enable(account.userID, request.uuid, never)).toBe(true);
      expect(await verify(apiKey)).toBe("works");
    });

    test("that is locked gives its key and stays locked", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      await gateway.disable(account.userID, request.uuid, never);
      const key = await keyOf({ ...request, enabled: false });
      expect(key?.equals(apiKey)).toBe(true);
      expect(await verify(apiKey)).toBe("disabled");
    });

    test("that is not there is success for disable, said by enable, and a conflict for rotate", async () => {
      const request = person();
      expect(await gateway.disable(nobody, request.uuid, never)).toBe(false);
      expect(await gateway.enable(nobody, request.uuid, never)).toBe(false);
      expect(await failure(gateway.rotate(request, nobody, never))).toMatchObject({
        class: "conflict",
        code: "AccountGone",
      });
    });

    test("that somebody changed at the gateway is found without a counted call, and corrected", async () => {
      const control = target.control;
      if (control === undefined || dialect === "admin-v1") return;
      const people = [person({ quota: 1_000 }), person(), person(), person()];
      const wanted: AccountRequest[] = [];
      for (const each of people) wanted.push({ ...each, userID: (await ensured(each)).account.userID });
      const look = () => gateway.drifted(wanted, () => Promise.resolve(), never);
      expect(await look()).toEqual([]);

      const [ada, bob, cem, dora] = wanted;
      const byHand = (method: string, path: string, body: object) =>
        fetch(`${target.url}${path}`, {
          method,
          headers: { authorization: `Bearer ${target.token.reveal()}`, "new-api-user": "2" },
          body: JSON.stringify(body),
        });
      const id = ({ userID }: AccountRequest) => Number(userID);
      const quota = { action: "add_quota", mode: "override", value: 7 };
      await byHand("POST", "/api/user/manage", { id: id(ada as AccountRequest), ...quota });
      await byHand("PUT", "/api/user/", {
        id: id(bob as AccountRequest),
        username: "bob",
        group: "svip",
        remark: `${bob?.tenantID}/${bob?.uuid}`,
      });
      await byHand("POST", "/api/user/manage", { id: id(cem as AccountRequest), action: "disable" });
      const seq = (await control.journal()).at(-1)?.seq ?? 0;
      expect(new Set(await look())).toEqual(new Set([ada?.uuid, bob?.uuid, cem?.uuid]));
      const asked = await control.journal(seq);
      expect(asked.map(({ method }) => method)).toEqual(asked.map(() => "GET"));
      for (const each of wanted) await ensure(each);
      await gateway.enable(cem?.userID ?? "", cem?.uuid ?? "", never);
      expect(await look()).toEqual([]);
      await byHand("POST", "/api/user/manage", { id: id(dora as AccountRequest), action: "delete" });
      expect(await look()).toEqual([dora?.uuid]);
    });

    test("has the tier and quota that are wanted, where the gateway can change them", async () => {
      const request = person({ quota: 1_000 });
      const { account } = await ensured(request);
      const { tier, quota } = gateway.capabilities;
      await ensure({ ...request, userID: account.userID, tier: "vip", quota: 2_000 });
      if (target.control === undefined || !tier || !quota) return;
      const user = (await target.control.newApiUsers()).find(({ id }) => String(id) === account.userID);
      expect(user).toMatchObject({ group: "vip", quota: 2_000, status: 1 });
      expect(user?.remark).toContain(request.uuid);
    });
  });

  describe("a key", () => {
    test("that nobody has is dead, and so is one that cannot be sent", async () => {
      for (const value of ["sk-nobody-has-this", "", "sk-with\na-break"]) {
        expect(await verify(new Sensitive(value))).toBe("dead");
      }
    });

    test("that is replaced at once is dead, and the new one works", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      const fresh = await target.patiently(() => gateway.rotate(request, account.userID, never));
      expect(await verify(apiKey)).toBe("dead");
      expect(await verify(fresh)).toBe("works");
      expect((await keyOf(request))?.equals(fresh)).toBe(true);
    });

    test("of a rotation with overlap lives beside the one before, until that is retired", async () => {
      if (!gateway.capabilities.overlap) return;
      const request = person();
      const before = await ensured(request);
      const rotating = { ...request, keyVersion: "1", rotating: true };
      const fresh = await keyOf(rotating);
      expect(fresh).toBeDefined();
      expect([await verify(before.apiKey), await verify(fresh ?? new Sensitive(""))]).toEqual(["works", "works"]);
      expect((await keyOf(rotating))?.reveal()).toBe(fresh?.reveal());
      const after = { ...request, keyVersion: "1", overlapping: true };
      expect((await keyOf(after))?.reveal()).toBe(fresh?.reveal());
      expect(await verify(before.apiKey)).toBe("works");
      expect(await target.patiently(() => gateway.retire({ ...request, keyVersion: "1" }, never))).toBe(1);
      expect([await verify(before.apiKey), await verify(fresh ?? new Sensitive(""))]).toEqual(["dead", "works"]);
    });

    test("is never one of three: a rotation during an overlap removes the oldest first", async () => {
      if (!gateway.capabilities.overlap) return;
      const request = person();
      const first = await ensured(request);
      const second = await keyOf({ ...request, keyVersion: "1", rotating: true });
      const third = await keyOf({ ...request, keyVersion: "2", rotating: true, overlapping: true });
      const verdicts = [first.apiKey, second, third].map((key) => verify(key ?? new Sensitive("")));
      expect(await Promise.all(verdicts)).toEqual(["dead", "works", "works"]);
    });

    test("is known again by its seal, and no other is", async () => {
      const owner = { uuid: randomUUID(), userID: "7" };
      const key = new Sensitive("sk-one");
      const seal = gateway.seal(owner, key);
      expect(seal === undefined).toBe(gateway.capabilities.keyIsFree);
      if (seal === undefined) return;
      expect(seal).not.toContain("sk-one");
      expect(gateway.isSealed(owner, key, seal)).toBe(true);
      expect(gateway.isSealed(owner, new Sensitive("sk-two"), seal)).toBe(false);
      expect(gateway.isSealed({ ...owner, userID: "8" }, key, seal)).toBe(false);
      expect(gateway.isSealed({ ...owner, uuid: randomUUID() }, key, seal)).toBe(false);
      expect(target.client({ tenantID: "contract-other" }).isSealed(owner, key, seal)).toBe(false);
      for (const broken of ["", "1", "1.", "x.y", "99.abc"]) expect(gateway.isSealed(owner, key, broken)).toBe(false);
    });
  });

  describe("the admin token", () => {
    test("passes the check when it is right", async () => {
      const { problems } = await target.patiently(() => gateway.check({ tiers: ["default"] }, never));
      expect(problems.filter(({ blocking }) => blocking)).toEqual([]);
    });

    test("is refused as CredentialsRefused when it is wrong, by every method, with what to do", async () => {
      const request = person();
      const token = new Sensitive(`wrong-${randomUUID()}`);
      const wrong = target.client({ token });
      const attempts: (() => Promise<unknown>)[] = [
        () => wrong.check({ tiers: [] }, never),
        () => wrong.find(request, never),
        () => wrong.ensure(request, never),
        () => wrong.rotate(request, nobody, never),
        () => wrong.disable(nobody, request.uuid, never),
        () => wrong.enable(nobody, request.uuid, never),
      ];
      for (const attempt of attempts) {
        const error = await failure(target.patiently(attempt));
        expect(error).toMatchObject({ class: "terminal", code: "CredentialsRefused", neighbour: "newapi" });
        expect(error.message).toContain("renew the token in the tenant's credential Secret");
        expectSilent(error, token);
      }
    });
  });

  describe.runIf(failsOnCommand)("when things go wrong", () => {
    const control = () => target.control as StandInControl;

    test("at rest nothing that is counted is asked, nor for a change of the tier", async () => {
      const request = person();
      const { account, apiKey } = await ensured(request);
      const seq = (await control().journal()).at(-1)?.seq ?? 0;
      await ensure({ ...request, userID: account.userID });
      await ensure({ ...request, userID: account.userID, tier: "vip" });
      await verify(apiKey);
      const asked = (await control().journal(seq)).map(({ path }) => path.split("?")[0] ?? "");
      expect(asked.filter((path) => CRITICAL.test(path))).toEqual([]);
      expect(asked.length).toBeGreaterThan(2);
    });

    test("a reply lost at any call leaves one account and one key, and the next attempt has it", async () => {
      let lost = 1;
      while (await survivesLossOf(lost)) lost += 1;
      expect(lost).toBeGreaterThan(dialect === "new-api" ? 7 : 1);
    });

    /** False when there are not so many calls. */
    async function survivesLossOf(nth: number): Promise<boolean> {
      const request = person();
      const fault = await control().fault({ count: 1, after: nth - 1, action: { dropAfter: true } });
      const attempt = await ensured(request).catch((error: unknown) => error);
      await control().heal(fault);
      const { apiKey } = await ensured(request);
      expect(await verify(apiKey)).toBe("works");
      expect(await standing(request)).toEqual({ accounts: 1, keys: 1 });
      expect(attempt instanceof Error ? isSagaError(attempt) && attempt.class : "transient").toBe("transient");
      return attempt instanceof Error;
    }

    test.each([500, 502, 503])("%i is transient, for every method", async (status) => {
      const request = person();
      for (const attempt of await everyMethod(request)) {
        await control().fault({ count: 1, action: { status, body: "upstream is down" } });
        expect(await failure(attempt())).toMatchObject({ class: "transient", upstreamStatus: status });
        await control().heal();
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
      for (const attempt of await everyMethod(request)) {
        await control().fault({ action });
        const error = await failure(attempt());
        await control().heal();
        expect(error).toMatchObject({ class: "transient", code: "NeighbourUnavailable" });
        expectSilent(error, target.token);
        expect(everything(error)).not.toContain("sign in");
      }
    });

    test("an error that repeats key and token to us does not repeat them to anybody", async () => {
      const request = person();
      const { apiKey } = await ensured(request);
      for (const status of [200, 400, 401, 403, 409, 422, 429, 500]) {
        for (const attempt of await everyMethod(request)) {
          const message = `Bearer ${target.token.reveal()} has ${apiKey.reveal()}`;
          await control().fault({
            count: 1,
            action: { status, body: { success: false, message, error: { message } } },
          });
          const thrown: unknown = await attempt().then(
            () => undefined,
            (error: unknown) => error,
          );
          expect(thrown === undefined || isSagaError(thrown)).toBe(true);
          if (thrown !== undefined) expectSilent(thrown, apiKey, target.token);
          await control().heal();
        }
      }
    });

    test("a hanging call ends at its deadline as transient", async () => {
      const request = person();
      await control().fault({ action: { hang: true } });
      const error = await failure(gateway.ensure(request, AbortSignal.timeout(100)));
      expect(error).toMatchObject({ class: "transient", code: "NeighbourUnavailable" });
    });

    test("an unreachable gateway is transient", async () => {
      const gone = target.client({ url: "http://127.0.0.1:9" });
      const error = await failure(gone.check({ tiers: [] }, never));
      expect(error).toMatchObject({ class: "transient", upstreamStatus: undefined });
    });

    async function everyMethod(request: AccountRequest) {
      const { account, apiKey } = await ensured(request);
      return [
        () => gateway.ensure({ ...request, userID: account.userID }, never),
        () => gateway.find(request, never),
        () => gateway.disable(account.userID, request.uuid, never),
        () => gateway.enable(account.userID, request.uuid, never),
        () => gateway.verifyKey(apiKey, never),
        () => gateway.check({ tiers: [] }, never),
      ];
    }
  });
});

/** The SagaError that a call ends with; anything else fails the test. */
async function failure(attempt: Promise<unknown>): Promise<SagaError> {
  const thrown: unknown = await attempt.then(
    (value) => value,
    (error: unknown) => error,
  );
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
