/** What the open-source gateway does to a client that believes it: each of its traps, and that ours does not fall in. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { isSagaError } from "../../../../src/lib/errors.ts";
import { parseMasterKeys } from "../../../../src/lib/masterKeys.ts";
import { Sensitive } from "../../../../src/lib/sensitive.ts";
import type { Gateway } from "../../../../src/gateway/gateway.ts";
import { makeLimits } from "../../../../src/gateway/dialects/new-api/limits.ts";
import { derive } from "../../../../src/gateway/dialects/new-api/masterKeys.ts";
import { candidates, never, personRequest, TENANT, type Target } from "../../../support/gateways.ts";
import type { StandInControl } from "../../../support/standInControl.ts";

const OLD = `1: ${"contract-suite-".repeat(3)}`;
const NEW = `2: ${"another-master-".repeat(3)}`;

describe.each(candidates().filter(({ name }) => /new-api of 2026-\d\d$/.test(name)))("$name", ({ name, start }) => {
  let target: Target;
  let gateway: Gateway;
  let control: StandInControl;
  beforeEach(async () => {
    target = await start();
    gateway = target.client();
    control = target.control as StandInControl;
  });
  afterEach(() => target.close());

  const made = async (request = personRequest()) => {
    const { account, created } = await gateway.ensure(request, never);
    return { request, account, created, apiKey: await account.apiKey(never) };
  };
  const admin = async (method: string, path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${target.token.reveal()}`, "new-api-user": "2" };
    const answer = await fetch(`${target.url}${path}`, { method, headers, body: JSON.stringify(body) ?? null });
    return (await answer.json()) as { success: boolean; data?: unknown };
  };
  const user = async (id: string) => (await control.newApiUsers()).find((each) => String(each.id) === id);

  /** As the person at the gateway, with the id of its first token. */
  async function inTheNameOf({ userID, username }: { userID: string; username: string }, { uuid }: { uuid: string }) {
    const password = derive(parseMasterKeys(OLD), TENANT, target.url).password(uuid, 1)?.reveal();
    const login = await fetch(`${target.url}/api/user/login`, {
      method: "POST",
      body: JSON.stringify({ username, password }),
    });
    const { data } = (await login.json()) as { data: { access_token?: string } };
    const session: Record<string, string> =
      data.access_token === undefined
        ? { cookie: login.headers.getSetCookie()[0]?.split(";")[0] ?? "" }
        : { authorization: `Bearer ${data.access_token}` };
    const headers = { ...session, "new-api-user": userID };
    const listed = await fetch(`${target.url}/api/token/?p=1&page_size=10`, { headers });
    const { data: tokens } = (await listed.json()) as { data: { items: { id: number }[] } };
    return { headers, id: tokens.items[0]?.id ?? 0 };
  }

  test("a random code that is taken: the same create is made again", async () => {
    for (const database of ["sqlite", "postgres"] as const) {
      await control.newApi({ database, codeCollisions: 2 });
      expect((await made()).created).toBe(true);
    }
    await control.newApi({ codeCollisions: 5 });
    await expect(made()).rejects.toMatchObject({ class: "transient" });
  });

  test("a database that is locked for a moment is waited for in place, at every change", async () => {
    await control.newApi({ locked: 3 });
    const { request, account } = await made();
    await control.newApi({ locked: 2 });
    await gateway.ensure({ ...request, userID: account.userID, tier: "vip", quota: 5 }, never);
    await control.newApi({ locked: 3 });
    expect(await gateway.disable(account.userID, request.uuid, never)).toBe(true);
    await control.newApi({ locked: 3 });
    expect(await gateway.enable(account.userID, request.uuid, never)).toBe(true);
    expect(await user(account.userID)).toMatchObject({ group: "vip", quota: 5, status: 1 });
  });

  test("one that stays locked is transient", async () => {
    await control.newApi({ locked: 1_000 });
    const request = personRequest();
    await expect(made(request)).rejects.toMatchObject({ class: "transient", code: "UpstreamUnavailable" });
    await control.newApi({ locked: 0 });
    expect((await made(request)).created).toBe(true);
  });

  test("thirty people at once get their keys, though of two writes at a time the database refuses one", async () => {
    // Most get through by the repeats in place. Whoever does not is tried again later, as the saga does.
    const untilMade = async (request = personRequest()): ReturnType<typeof made> => {
      for (;;) {
        try {
          return await target.patiently(() => made(request));
        } catch (error) {
          if (!isSagaError(error) || error.class !== "transient") throw error;
        }
      }
    };
    const all = await Promise.all(Array.from({ length: 30 }, () => untilMade()));
    expect(new Set(all.map(({ apiKey }) => apiKey.reveal())).size).toBe(30);
  });

  test("what the gateway does not take is terminal, with its words", async () => {
    const { request } = await made();
    await control.fault({
      match: { method: "PUT" },
      count: 1,
      action: {
        status: 200,
        body: {
          success: false,
          message: "Invalid input Key: 'User.Group' Error:Field validation for 'Group' failed on the 'max' tag",
        },
      },
    });
    const error = await gateway.ensure({ ...request, tier: "vip" }, never).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ class: "terminal", code: "RequestRefused" });
    expect(String(error)).toContain("failed on the 'max' tag");
  });

  test.each([
    [{ turnstile: true }, "switch Turnstile off"],
    [{ passwordLogin: false }, "switch PasswordLoginEnabled on"],
    [{ encryptedLogin: true }, "switch password-login encryption off"],
  ])("%j is terminal, says which setting to change, and blocks the Tenant", async (settings, sentence) => {
    await control.newApi(settings);
    await expect(made()).rejects.toMatchObject({ class: "terminal", code: "LoginBlocked" });
    const { problems } = await gateway.check({ tiers: ["default"] }, never);
    expect(problems).toMatchObject([{ reason: "LoginBlocked", blocking: true }]);
    expect(problems[0]?.message).toContain(sentence);
  });

  test("two-factor login of one account is terminal and names the call that ends it", async () => {
    const { request, account } = await made();
    await control.newApi({ twoFactor: [account.username] });
    await expect(made(request)).rejects.toMatchObject({
      code: "LoginBlocked",
      message: expect.stringContaining(`/api/user/${account.userID}/2fa`) as string,
    });
  });

  test("a group that the gateway does not have blocks the Tenant", async () => {
    const { problems } = await gateway.check({ tiers: ["nosuchgroup"] }, never);
    expect(problems).toMatchObject([{ reason: "MissingTier", blocking: true }]);
  });

  test("a password that somebody changed is set back once, and said", async () => {
    const { request, account, apiKey } = await made();
    await admin("PUT", "/api/user/", {
      id: Number(account.userID),
      username: account.username,
      password: "changed-by-hand",
      remark: (await user(account.userID))?.remark,
    });
    const again = await made(request);
    expect(again.apiKey.equals(apiKey)).toBe(true);
    expect(again.account.takeWrites()).toContain("password-reset");
    expect(target.resets).toEqual([`${request.uuid} refused`]);
  });

  test("a new master key takes over at the next login, and the old signs are still known", async () => {
    const { request, account, apiKey } = await made();
    const owner = { uuid: request.uuid, userID: account.userID };
    const signature = gateway.sign(owner, apiKey) ?? "";
    gateway = target.client({ masterKeys: parseMasterKeys(`${OLD}\n${NEW}`) });
    expect(gateway.isSigned(owner, apiKey, signature)).toBe(true);
    const again = await made({ ...request, userID: account.userID, masterKey: 1 });
    expect(again.account.masterKey).toBe(2);
    expect(again.apiKey.equals(apiKey)).toBe(true);
    expect(target.resets).toEqual([`${request.uuid} master-key`]);
    const later = await made({ ...request, userID: account.userID, masterKey: 2 });
    expect(later.apiKey.equals(apiKey)).toBe(true);
    expect(target.resets).toHaveLength(1);
  });

  test.each([true, false])("a lost master key loses nobody, with the row there: %s", async (rowIsThere) => {
    const { request, account, apiKey } = await made();
    gateway = target.client({ masterKeys: parseMasterKeys(NEW) });
    const known = rowIsThere ? { userID: account.userID, masterKey: 1 } : {};
    const again = await made({ ...request, ...known });
    expect(again.created).toBe(false);
    expect(again.account.userID).toBe(account.userID);
    expect(again.apiKey.equals(apiKey)).toBe(true);
    expect(target.resets).toEqual([`${request.uuid} master-key`]);
    expect(await control.newApiUsers()).toHaveLength(1);
  });

  test("an account of our name without mark, that our password does not open, is left alone", async () => {
    const { request, account } = await made();
    await admin("PUT", "/api/user/", {
      id: Number(account.userID),
      username: account.username,
      password: "somebody-elses",
    });
    await expect(made(request)).rejects.toMatchObject({ class: "terminal", code: "AccountClaimed" });
    expect((await user(account.userID))?.remark).toBeUndefined();
  });

  /** Made, and the process was killed before the mark. */
  const halfMade = async () => {
    const request = personRequest();
    await control.fault({ match: { method: "PUT" }, count: 1, action: { dropBefore: true } });
    await expect(made(request)).rejects.toMatchObject({ class: "transient" });
    return request;
  };

  test("one that was made, and not marked before the cut, is ours by its password", async () => {
    const request = await halfMade();
    const { created, account } = await made(request);
    expect(created).toBe(false);
    expect((await user(account.userID))?.remark).toContain(request.uuid);
  });

  test("one that was not marked before the cut, then locked because the person went, is ours when the person is back", async () => {
    const request = await halfMade();
    const id = (await gateway.find(request, never))?.userID ?? "";
    expect(await gateway.disable(id, request.uuid, never)).toBe(true);
    const { created, account } = await made({ ...request, userID: id });
    expect([created, account.userID]).toEqual([false, id]);
    expect(await gateway.enable(id, request.uuid, never)).toBe(true);
    expect(await user(id)).toMatchObject({ status: 1, remark: `${TENANT}/${request.uuid}` });
  });

  test("one that was not marked before the cut is deleted, though that is cut as well once it is locked", async () => {
    const request = await halfMade();
    await control.fault({
      match: { method: "DELETE", path: "/api/user/\\d+$" },
      count: 1,
      action: { dropBefore: true },
    });
    const remove = () => gateway.remove?.({ ...request, enabled: false }, () => undefined, never);
    await expect(remove()).rejects.toMatchObject({ class: "transient" });
    expect(await control.newApiUsers()).toMatchObject([{ status: 2 }]);
    await remove();
    expect(await control.newApiUsers()).toEqual([]);
  });

  test("an id on record that is now another person's is not believed", async () => {
    const [ada, bob] = [await made(), await made()];
    const again = await made({ ...ada.request, userID: bob.account.userID });
    expect(again.account.userID).toBe(ada.account.userID);
    expect(await gateway.disable(bob.account.userID, ada.request.uuid, never)).toBe(false);
    expect(await gateway.verifyKey(bob.apiKey, never)).toBe("works");
  });

  test.each(["", "0", "1", "2", "-3", "1.5", "03", "x", "1e3", "9007199254740993"])(
    "nothing is ever changed under the id %j: none, the root's, our admin's own",
    async (id) => {
      const seq = (await control.journal()).at(-1)?.seq ?? 0;
      const { uuid } = personRequest();
      for (const attempt of [() => gateway.disable(id, uuid, never), () => gateway.enable(id, uuid, never)]) {
        await expect(attempt()).rejects.toMatchObject({ class: "terminal", code: "RequestRefused" });
      }
      expect(await control.journal(seq)).toEqual([]);
    },
  );

  test("somebody who was made an admin there is no longer a person's account", async () => {
    await expect(gateway.find(personRequest({ userID: "1" }), never)).resolves.toBeUndefined();
  });

  test("a soft-deleted account keeps its name for ever: the person gets the next one", async () => {
    const { request, account } = await made();
    await admin("POST", "/api/user/manage", { id: Number(account.userID), action: "delete" });
    const again = await made({ ...request, userID: account.userID });
    expect(again.created).toBe(true);
    expect(again.account.username).not.toBe(account.username);
    const found = await gateway.find(request, never);
    expect(found?.userID).toBe(again.account.userID);
  });

  test("what else stands in the remark, the email and the quota is kept", async () => {
    const { request, account } = await made(personRequest({ quota: 500 }));
    const mark = (await user(account.userID))?.remark ?? "";
    await admin("PUT", "/api/user/", {
      id: Number(account.userID),
      username: account.username,
      group: "default",
      display_name: "x",
      remark: `${mark} pays by card`,
    });
    await gateway.ensure({ ...request, userID: account.userID, tier: "vip" }, never);
    expect(await user(account.userID)).toMatchObject({ group: "vip", quota: 500, remark: `${mark} pays by card` });
  });

  test("tokens that are not ours stay; ours that somebody switched off are replaced", async () => {
    const { request, apiKey, account } = await made();
    await control.fault({ match: { path: "/v1/models" }, count: 1, action: { status: 401 } });
    expect(await gateway.verifyKey(apiKey, never)).toBe("dead");
    const again = await made({ ...request, userID: account.userID });
    expect(again.apiKey.equals(apiKey)).toBe(true);
  });

  test("when the account passes to somebody else, no token stays that the person before made by hand", async () => {
    const { request, account } = await made();
    const { headers } = await inTheNameOf(account, request);
    await fetch(`${target.url}/api/token/`, { method: "POST", headers, body: JSON.stringify({ name: "by hand" }) });
    expect((await user(account.userID))?.tokens).toEqual(["unified-rbac-0", "by hand"]);
    const fresh = await gateway.rotate({ ...request, userID: account.userID }, account.userID, never);
    expect((await user(account.userID))?.tokens).toEqual(["unified-rbac-0"]);
    expect(await gateway.verifyKey(fresh, never)).toBe("works");
  });

  test("nor does the access token open the account that the person before made for themselves", async () => {
    const { request, account } = await made();
    const { headers } = await inTheNameOf(account, request);
    const given = await fetch(`${target.url}/api/user/token`, { headers });
    const { data: token } = (await given.json()) as { data: string };
    const own = { authorization: `Bearer ${token}`, "new-api-user": account.userID };
    const opens = async () => {
      const answer = await fetch(`${target.url}/api/token/?p=1&page_size=10`, { headers: own });
      return ((await answer.json()) as { success: boolean }).success;
    };
    expect(await opens()).toBe(true);
    await gateway.rotate({ ...request, userID: account.userID }, account.userID, never);
    expect(await opens()).toBe(false);
  });

  test("where the gateway lets no session renew an access token, the account passes on without", async () => {
    const { request, account } = await made();
    await control.newApi({ stepUp: true });
    const fresh = await gateway.rotate({ ...request, userID: account.userID }, account.userID, never);
    expect(await gateway.verifyKey(fresh, never)).toBe("works");
  });

  test("of as many tokens as the gateway allows, a dead one of ours makes room, and else a person must", async () => {
    const { request, account } = await made();
    const known = { ...request, userID: account.userID };
    await control.newApi({ maxTokens: 1 });
    const rotating = { ...known, keyVersion: "1", rotating: true };
    await expect(made(rotating)).rejects.toMatchObject({
      class: "terminal",
      code: "RequestRefused",
      message: expect.stringMatching(/as many tokens as the gateway allows.*must be deleted there/) as string,
    });
    expect((await user(account.userID))?.tokens).toEqual(["unified-rbac-0"]);
    const { headers, id } = await inTheNameOf(account, request);
    await fetch(`${target.url}/api/token/?status_only=true`, {
      method: "PUT",
      headers,
      body: JSON.stringify({ id, status: 2 }),
    });
    const { apiKey } = await made(known);
    expect(await gateway.verifyKey(apiKey, never)).toBe("works");
    expect((await user(account.userID))?.tokens).toEqual(["unified-rbac-0"]);
  });

  test("a deletion for good leaves neither account nor key, ours or not, also when it is cut at any call", async () => {
    for (let n = 0; n < 25; n += 1) {
      await control.reset();
      const { request, account, apiKey } = await made();
      const { headers } = await inTheNameOf(account, request);
      const own = { method: "POST", headers, body: JSON.stringify({ name: "the person's own" }) };
      await fetch(`${target.url}/api/token/`, own);
      const leaving = { ...request, userID: account.userID, enabled: false, masterKey: 1 };
      const wrote: string[] = [];
      const remove = () => gateway.remove?.(leaving, (action) => wrote.push(action), never);
      if (n > 0) await control.fault({ count: 1, after: n - 1, action: { dropAfter: true } });
      const cut = await Promise.resolve(remove()).then(
        () => false,
        () => true,
      );
      await control.heal();
      await remove();
      expect(await control.newApiUsers()).toEqual([]);
      expect(await gateway.verifyKey(apiKey, never)).toBe("dead");
      const all = ["disabled", "key-deleted", "key-deleted", "deleted"];
      expect(n === 0 ? wrote : all).toEqual(all);
      const again = await made(request);
      expect([again.created, again.account.username]).toEqual([true, account.username]);
      // Where ids are given again, so would be what was left behind.
      expect(await gateway.verifyKey(apiKey, never)).toBe("dead");
      expect((await user(again.account.userID))?.tokens).toEqual(["unified-rbac-0"]);
      if (n > 0 && !cut) return;
    }
    throw new Error("there are more calls than were tried");
  }, 60_000);

  test("a deletion for good locks at once, and waits for the limit of logins locked", async () => {
    const { request, account, apiKey } = await made();
    await control.newApi({ criticalLimit: 1, criticalWindowMs: 60_000 });
    await fetch(`${target.url}/api/user/login`, { method: "POST", body: JSON.stringify({ username: "x" }) });
    const leaving = { ...request, userID: account.userID, enabled: false, masterKey: 1 };
    await expect(gateway.remove?.(leaving, () => {}, never)).rejects.toMatchObject({ class: "waiting" });
    expect(await gateway.verifyKey(apiKey, never)).toBe("disabled");
  });

  test("nobody else's account is deleted, whatever the record says", async () => {
    const [ada, bob] = [await made(), await made()];
    await gateway.remove?.({ ...ada.request, userID: bob.account.userID, masterKey: 1 }, () => {}, never);
    expect(await gateway.verifyKey(bob.apiKey, never)).toBe("works");
    expect(await control.newApiUsers()).toHaveLength(1);
  });

  test("an account whose mark was wiped is locked all the same", async () => {
    const { request, account, apiKey } = await made();
    await admin("PUT", "/api/user/", { id: Number(account.userID), username: account.username });
    expect(await gateway.disable(account.userID, request.uuid, never)).toBe(true);
    expect(await gateway.verifyKey(apiKey, never)).toBe("disabled");
  });

  test("accounts are compared in pages, or one by one in a gateway of many others", async () => {
    const { request, account } = await made();
    for (let n = 0; n < 210; n += 1)
      await admin("POST", "/api/user/", { username: `other-${n}`, password: "12345678" });
    const look = async (wanted: readonly string[]) => {
      const seq = (await control.journal()).at(-1)?.seq ?? 0;
      let pauses = 0;
      const pace = () => Promise.resolve(void (pauses += 1));
      const people = wanted.map((userID) => ({ ...request, userID }));
      await gateway.drifted(people, pace, never);
      const paths = (await control.journal(seq)).map(({ path }) => path.split("&")[0]);
      expect(pauses).toBe(paths.length - 1);
      return paths;
    };
    expect(await look([account.userID])).toEqual(["/api/user/?p=1", `/api/user/${account.userID}`]);
    expect(await look(["3", "4", "5"])).toEqual([1, 2, 3].map((page) => `/api/user/?p=${page}`));
  }, 60_000);

  test("a session is ended where the gateway keeps sessions", async () => {
    const { account } = await made();
    const sessions = (await user(account.userID))?.sessions;
    expect(sessions).toBe(name.endsWith("2026-08") ? 0 : 1);
  });

  test("a limit is waited for: nobody fails, and the message names until when and the settings", async () => {
    // Where the list shows whole keys, a login is all that a key costs.
    await control.newApi({ criticalLimit: name.endsWith("2026-02") ? 1 : 2 });
    gateway = target.client({ limits: makeLimits({ now: Date.now }) });
    await made();
    const error = await made().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ class: "waiting", code: "GatewayLimited" });
    expect(String(error)).toMatch(/until \d{4}-.*CRITICAL_RATE_LIMIT_ENABLE=false/);
    const { problems } = await gateway.check({ tiers: ["default"] }, never);
    expect(problems).toMatchObject([{ reason: "GatewayLimited", blocking: false }]);
    expect(problems[0]?.message).toContain("GLOBAL_API_RATE_LIMIT");
    await control.newApi({ globalLimit: 1 });
    await gateway.find(personRequest(), never).catch(() => undefined);
    await expect(gateway.find(personRequest(), never)).rejects.toMatchObject({
      class: "waiting",
      message: expect.stringContaining("GLOBAL_API_RATE_LIMIT") as string,
    });
  });

  test("a 200 without a boolean success is nobody's answer", async () => {
    await control.fault({ count: 1, action: { status: 200, body: { message: "", data: {} } } });
    await expect(gateway.find(personRequest(), never)).rejects.toMatchObject({ class: "transient" });
  });

  test("a user-id that is no number is said before anything is asked", () => {
    expect(() => target.client({ token: new Sensitive("x") })).not.toThrow();
  });
});
