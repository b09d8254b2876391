/** What the saga relies on, of every dialect and generation of gateway: one suite for the stand-ins and for a real one. */
import { randomUUID } from "node:crypto";
import { inspect } from "node:util";

import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";

import { systemClock } from "../../src/lib/clock.ts";
import { isSagaError, type SagaError } from "../../src/lib/errors.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { makeLimits } from "../../src/gateway/dialects/new-api/limits.ts";
import type { AccountHolder, AccountRequest, Gateway } from "../../src/gateway/gateway.ts";
import { startCuttingProxy } from "../support/cuttingProxy.ts";
import { where } from "../support/where.ts";
import { candidates, never, personRequest, type Target } from "../support/gateways.ts";
import type { StandInControl } from "../support/standInControl.ts";

const CRITICAL = /\/api\/user\/login$|\/api\/token\/\d+\/key$|\/api\/user\/auth\/logout$/;

describe.each(candidates())("$name", ({ start, failsOnCommand, countable, timeoutMs, dialect, generation, limits }) => {
  vi.setConfig({ testTimeout: timeoutMs });
  let target: Target;
  let gateway: Gateway;
  const nobody = dialect === "new-api" ? "987654321" : randomUUID();

  beforeAll(async () => {
    target = await start();
    gateway = target.client();
  });
  afterEach(async () => {
    await target.control?.heal();
    // How much of a window is left must not depend on how fast the tests before were.
    if (limits) await target.windowsPass();
  });
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

  async function keyOf(wanted: AccountHolder): Promise<Sensitive | undefined> {
    const account = await target.patiently(() => gateway.find(wanted, never));
    return account === undefined ? undefined : target.patiently(() => account.apiKey(never));
  }

  const verify = (apiKey: Sensitive) => gateway.verifyKey(apiKey, never);

  /** The gateway through a proxy of the test's own, which records and cuts. */
  async function through() {
    const proxy = await startCuttingProxy(target.url);
    onTestFinished(() => proxy.close());
    const client = target.client({ url: proxy.url });
    const made = async (request: AccountRequest) => {
      const { account } = await target.patiently(() => client.ensure(request, never));
      return { account, apiKey: await target.patiently(() => account.apiKey(never)) };
    };
    return { proxy, client, made };
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

    test.each(where(dialect === "new-api"))(
      "that somebody changed at the gateway is found without a counted call, and corrected",
      async () => {
        const { proxy, client, made } = await through();
        const people = [person({ quota: 1_000 }), person(), person(), person()];
        const wanted: AccountRequest[] = [];
        for (const each of people) wanted.push({ ...each, userID: (await made(each)).account.userID });
        const compare = () => target.patiently(() => client.drifted(wanted, () => Promise.resolve(), never));
        expect(await compare()).toEqual([]);

        const [ada, bob, cem, dora] = wanted as [AccountRequest, AccountRequest, AccountRequest, AccountRequest];
        const id = ({ userID }: AccountRequest) => Number(userID);
        const byHand = async (method: string, path: string, body: object) =>
          expect(await target.admin(method, path, body)).toMatchObject({ success: true });
        await target.spendable(id(ada), 7);
        const [account] = await target.accountsOf(bob);
        const remark = `${bob.tenantID}/${bob.uuid}`;
        await byHand("PUT", "/api/user/", { id: id(bob), username: account?.username, group: "svip", remark });
        await byHand("POST", "/api/user/manage", { id: id(cem), action: "disable" });
        const before = proxy.calls.length;
        expect(new Set(await compare())).toEqual(new Set([ada.uuid, bob.uuid, cem.uuid]));
        const asked = proxy.calls.slice(before);
        expect(asked.filter((call) => !call.startsWith("GET "))).toEqual([]);
        expect(asked.length).toBeGreaterThan(0);
        for (const each of wanted) await target.patiently(() => client.ensure(each, never));
        await client.enable(cem.userID ?? "", cem.uuid, never);
        expect(await compare()).toEqual([]);
        expect(await target.accountsOf(ada)).toMatchObject([{ quota: 1_000, status: 1 }]);
        expect(await target.accountsOf(bob)).toMatchObject([{ group: "default", status: 1 }]);
        await target.patiently(async () => client.remove?.({ ...dora, enabled: false }, () => undefined, never));
        expect(await compare()).toEqual([dora.uuid]);
        expect(await target.accountsOf(dora)).toEqual([]);
      },
    );

    test.each(where(dialect === "new-api"))(
      "has the tier and quota that are wanted, and keeps the one with the other",
      async () => {
        const request = person({ quota: 1_000 });
        const { account } = await ensured(request);
        const known = { ...request, userID: account.userID };
        const seen = async () => (await target.accountsOf(request))[0];
        const ours = { status: 1, remark: `${request.tenantID}/${request.uuid}` };
        expect(await seen()).toMatchObject({ ...ours, group: "default", quota: 1_000 });
        await ensure({ ...known, tier: "vip" });
        expect(await seen()).toMatchObject({ ...ours, group: "vip", quota: 1_000 });
        await ensure({ ...known, tier: "vip", quota: 2_000 });
        expect(await seen()).toMatchObject({ ...ours, group: "vip", quota: 2_000 });
        await ensure({ ...known, tier: "svip", quota: 3_000 });
        expect(await seen()).toMatchObject({ ...ours, group: "svip", quota: 3_000 });
        // Not managed: what somebody gave by hand stays, whatever else is changed.
        await target.spendable(Number(account.userID), 77);
        await ensure({ ...known, tier: "default", quota: undefined });
        expect(await seen()).toMatchObject({ ...ours, group: "default", quota: 77 });
      },
    );

    test.each(where(dialect === "new-api"))(
      "whose password is set again keeps what the same attempt has just changed",
      async () => {
        const request = person({ quota: 1_000 });
        const { account, apiKey } = await ensured(request);
        const [made] = await target.accountsOf(request);
        const { id, username, display_name, group, remark } = made ?? {};
        const password = "changed-by-hand";
        await target.admin("PUT", "/api/user/", { id, username, display_name, group, remark, quota: 1_000, password });
        const after = await ensured({ ...request, userID: account.userID, tier: "vip", quota: 5_000 });
        expect(after.apiKey.equals(apiKey)).toBe(true);
        expect(after.account.takeWrites()).toContain("password-reset");
        expect(await target.accountsOf(request)).toEqual([
          expect.objectContaining({ group: "vip", quota: 5_000, remark, display_name, username }),
        ]);
      },
    );

    test.each(where(dialect === "new-api"))(
      "that is deleted for good leaves no key that opens, and its name to whoever returns",
      async () => {
        const request = person();
        const { account, apiKey } = await ensured(request);
        const wrote: string[] = [];
        const leaving = { ...request, userID: account.userID, enabled: false, masterKey: account.masterKey };
        await target.patiently(async () => gateway.remove?.(leaving, (action) => wrote.push(action), never));
        expect(wrote).toEqual(["disabled", "key-deleted", "deleted"]);
        expect(await target.accountsOf(request)).toEqual([]);
        expect(await verify(apiKey)).toBe("dead");
        const again = await ensured(request);
        expect([again.created, again.account.username]).toEqual([true, account.username]);
        expect(await verify(apiKey)).toBe("dead");
      },
    );

    test.each(where(dialect === "new-api"))(
      "costs one login, the look at its key where that is masked, and leaves no session",
      async () => {
        const { proxy, made } = await through();
        await made(person());
        const counted = proxy.calls.filter((call) => CRITICAL.test(call));
        expect(counted.length).toBeLessThanOrEqual(2);
        expect(counted.filter((call) => call.endsWith("/login"))).toHaveLength(1);
        const left = generation === "2026-08" ? ((await target.control?.newApiUsers()) ?? []) : [];
        expect(left.filter(({ sessions }) => sessions > 0)).toEqual([]);
      },
    );
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

    test("is known again by its signature, and no other is", async () => {
      const owner = { uuid: randomUUID(), userID: "7" };
      const key = new Sensitive("sk-one");
      const signature = gateway.sign(owner, key);
      expect(signature === undefined).toBe(gateway.capabilities.keyIsFree);
      if (signature === undefined) return;
      expect(signature).not.toContain("sk-one");
      expect(gateway.isSigned(owner, key, signature)).toBe(true);
      expect(gateway.isSigned(owner, new Sensitive("sk-two"), signature)).toBe(false);
      expect(gateway.isSigned({ ...owner, userID: "8" }, key, signature)).toBe(false);
      expect(gateway.isSigned({ ...owner, uuid: randomUUID() }, key, signature)).toBe(false);
      expect(target.client({ tenantID: "contract-other" }).isSigned(owner, key, signature)).toBe(false);
      for (const broken of ["", "1", "1.", "x.y", "99.abc"]) expect(gateway.isSigned(owner, key, broken)).toBe(false);
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
        expect(error).toMatchObject({ class: "terminal", code: "CredentialsRefused", upstream: "newapi" });
        expect(error.message).toContain("renew the token in the tenant's credential Secret");
        expectSilent(error, token);
      }
    });
  });

  describe.each(where(countable))("whatever is lost", () => {
    test("at rest nothing that is counted is asked, nor for a change of the tier", async () => {
      const { proxy, client, made } = await through();
      const request = person();
      const { account, apiKey } = await made(request);
      const before = proxy.calls.length;
      const again = { ...request, userID: account.userID };
      await target.patiently(() => client.ensure(again, never));
      await target.patiently(() => client.ensure({ ...again, tier: "vip" }, never));
      expect(await client.verifyKey(apiKey, never)).toBe("works");
      const asked = proxy.calls.slice(before);
      expect(asked.filter((call) => CRITICAL.test(call))).toEqual([]);
      expect(asked.length).toBeGreaterThan(2);
    });

    test.each(limits ? [] : (["dropAfter", "dropBefore"] as const))(
      "a call that is cut anywhere (%s) leaves one account and one key, and the next attempt has it",
      async (how) => {
        const { proxy, client } = await through();
        const made = async (request: AccountRequest) => (await client.ensure(request, never)).account.apiKey(never);
        const survives = async (nth: number): Promise<boolean> => {
          const request = person({ quota: 500 });
          const patient = () => target.patiently(() => made(request));
          // A limit that is waited for is no cut.
          proxy.cutNth(nth, how);
          const attempt = await patient().catch((error: unknown) => error);
          const wasCut = attempt instanceof Error;
          proxy.heal();
          expect(await verify(await patient())).toBe("works");
          expect(await target.counts(request, proxy.url)).toEqual({ accounts: 1, keys: 1 });
          const spendable =
            dialect === "new-api" ? (await target.accountsOf(request)).map(({ quota }) => quota) : [500];
          expect(spendable).toEqual([500]);
          expect(wasCut ? isSagaError(attempt) && attempt.class : "transient").toBe("transient");
          return wasCut;
        };
        let nth = 1;
        while (await survives(nth)) nth += 1;
        expect(nth).toBeGreaterThan(dialect === "new-api" ? 10 : 1);
      },
    );
  });

  describe.each(where(failsOnCommand))("when things go wrong", () => {
    const control = () => target.control as StandInControl;

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
        expect(error).toMatchObject({ class: "transient", code: "UpstreamUnavailable" });
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
      expect(error).toMatchObject({ class: "transient", code: "UpstreamUnavailable" });
    });

    test("an unreachable gateway is transient", async () => {
      // Another gateway, and so its own limits: what this one has spent does not close that one.
      const gone = target.client({ url: "http://127.0.0.1:9", limits: makeLimits(systemClock) });
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
