/** The observed answers that standIn.test.ts leaves out: settings, headers, limits of fields, lists, quota, sessions. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { GENERATIONS } from "../../../../stack/newapi/newApi/settings.ts";
import { startStandIn, type StandIn } from "../../../../stack/newapi/server.ts";
import { ADMIN_HEADERS, newApiCaller, type NewApiCaller, PASSWORD, PAT } from "../../../support/newApiCaller.ts";
import { standInControl, type StandInControl } from "../../../support/standInControl.ts";
import { where } from "../../../support/where.ts";

describe.each(GENERATIONS)("dialect new-api of %s", (generation) => {
  let standIn: StandIn;
  let control: StandInControl;
  let caller: NewApiCaller;
  beforeEach(async () => {
    standIn = await startStandIn({ adminToken: PAT, generation });
    control = standInControl(standIn.url);
    caller = newApiCaller(standIn.url);
  });
  afterEach(() => standIn.close());
  const newest = generation === "2026-08";
  const oldest = generation === "2026-02";
  const overwrite = (body: object) => caller.ask("PUT", "/api/user/", ADMIN_HEADERS, body);
  const user = async (id: number) => (await caller.ask("GET", `/api/user/${id}`)).body.data;

  test("the settings are everybody's to read", async () => {
    const { status, body } = await caller.ask("GET", "/api/status", {});
    expect(status).toBe(200);
    expect(body).toMatchObject({
      success: true,
      data: { setup: true, turnstile_check: false, password_login_enabled: true, quota_per_unit: 500_000 },
    });
    expect((await caller.ask("GET", "/api/setup", {})).body.data).toMatchObject({ status: true, root_init: true });
    expect((await caller.ask("POST", "/api/setup", {}, { username: "me" })).body).toEqual({
      success: false,
      message: "系统已经初始化完成",
    });
  });

  test("the caller is refused in these words", async () => {
    const search = (headers: Record<string, string>) => caller.ask("GET", "/api/user/search?keyword=x", headers);
    expect((await search({})).body.message).toBe("not logged in and no access token provided");
    const as = async (id?: string) =>
      (await search({ authorization: PAT, ...(id === undefined ? {} : { "new-api-user": id }) })).body.message;
    const words = [
      "New-Api-User header not provided",
      "New-Api-User header format error",
      "New-Api-User does not match the logged in user",
    ];
    // The newest takes the id from the token.
    expect([await as(), await as("x"), await as("1")]).toEqual(newest ? ["", "", ""] : words);
  });

  test("a session's cookie wins over the token beside it, where there are cookies", async () => {
    await caller.create("alice");
    const alice = await caller.logIn("alice");
    const { status, body } = await caller.ask("GET", "/api/user/search?keyword=x", { ...ADMIN_HEADERS, ...alice });
    expect([status, body]).toMatchObject([newest ? 403 : 200, { success: false, message: "insufficient privileges" }]);
  });

  test("of a create, names are trimmed, and what is too long or too short is told by the validator's tag", async () => {
    expect((await caller.create("  alice ")).body.success).toBe(true);
    expect(await caller.idOf("alice")).toBeGreaterThan(0);
    const refused = async (more: object) => (await caller.create("bob", more)).body.message;
    expect(await refused({ password: "1234567" })).toContain("'Password' failed on the 'min' tag");
    expect(await refused({ password: "x".repeat(21) })).toContain("'Password' failed on the 'max' tag");
    expect(await refused({ display_name: "x".repeat(21) })).toContain("'DisplayName' failed on the 'max' tag");
    expect(await refused({ role: 100 })).toBe("insufficient privileges");
    expect((await caller.create("carol", { role: 5 })).body.success).toBe(true);
  });

  test("the search also finds an id, folds case with SQLite alone, and can show the deleted alone", async () => {
    await caller.create("alice");
    const id = await caller.idOf("alice");
    const found = async (query: string) =>
      caller
        .items<{ username: string }>(await caller.ask("GET", `/api/user/search?${query}`))
        .map(({ username }) => username);
    expect(await found(`keyword=${id}`)).toEqual(["alice"]);
    expect(await found("keyword=ALICE")).toEqual(["alice"]);
    await control.newApi({ database: "postgres" });
    expect(await found("keyword=ALICE")).toEqual([]);
    await caller.manage({ id, action: "delete" });
    expect(await found("keyword=&status=-1")).toEqual(["alice"]);
  });

  test("a remark is not searched", async () => {
    await caller.create("alice");
    await overwrite({ id: await caller.idOf("alice"), username: "alice", remark: "unmistakable" });
    const { body } = await caller.ask("GET", "/api/user/search?keyword=unmistakable");
    expect(body.data).toMatchObject({ total: 0 });
  });

  test("the list has ten to a page, a hundred at most, the newest first, and the deleted too", async () => {
    for (let n = 1; n <= 12; n += 1) await caller.create(`user-${n}`);
    await caller.manage({ id: await caller.idOf("user-12"), action: "delete" });
    const first = await caller.ask("GET", "/api/user/?p=1");
    expect(first.body.data).toMatchObject({ page: 1, page_size: 10, total: 14 });
    expect(caller.items<{ username: string; DeletedAt: string | null }>(first)[0]).toMatchObject({
      username: "user-12",
      DeletedAt: expect.any(String) as string,
    });
    expect((await caller.ask("GET", "/api/user/?p=1&page_size=500")).body.data).toMatchObject({ page_size: 100 });
  });

  test("one account is looked at by its id; 0 and the deleted are nobody", async () => {
    await caller.create("alice");
    const id = await caller.idOf("alice");
    expect(await user(id)).toMatchObject({ id, username: "alice", password: "", DeletedAt: null });
    expect((await caller.ask("GET", "/api/user/0")).body.message).toBe("id 为空！");
    await caller.manage({ id, action: "delete" });
    expect((await caller.ask("GET", `/api/user/${id}`)).body.message).toBe("record not found");
  });

  test("a change leaves status and role as they are, the quota but for the oldest, and takes any group", async () => {
    await caller.create("alice");
    const id = await caller.idOf("alice");
    expect((await overwrite({ id, username: "alice", group: "nosuchgroup", quota: 5, status: 2 })).body.success).toBe(
      true,
    );
    expect(await user(id)).toMatchObject({ group: "nosuchgroup", quota: oldest ? 5 : 0, status: 1 });
    expect((await caller.ask("GET", "/api/group/")).body.data).toEqual(["default", "vip", "svip"]);
  });

  test("a change of the group ends sessions in the newest", async () => {
    await caller.create("alice");
    const alice = await caller.logIn("alice");
    await overwrite({ id: await caller.idOf("alice"), username: "alice", group: "vip" });
    expect((await caller.ask("GET", "/api/token/", alice)).body.success).toBe(!newest);
  });

  test.each(where(oldest))(
    "a change without a quota takes all of it, and the action for it does nothing and says success",
    async () => {
      await caller.create("alice");
      const id = await caller.idOf("alice");
      await overwrite({ id, username: "alice", quota: 5 });
      expect((await caller.manage({ id, action: "add_quota", mode: "override", value: 9 })).body.success).toBe(true);
      expect(await user(id)).toMatchObject({ quota: 5 });
      await overwrite({ id, username: "alice", group: "vip" });
      expect(await user(id)).toMatchObject({ quota: 0 });
    },
  );

  test.each(where(!oldest))("quota is overridden, added to and taken from; under zero only in the older", async () => {
    await caller.create("alice");
    const id = await caller.idOf("alice");
    const change = async (mode: string, value: number) => {
      const { body } = await caller.manage({ id, action: "add_quota", mode, value });
      return [body.success, (await user(id))?.["quota"]];
    };
    expect(await change("override", 100)).toEqual([true, 100]);
    expect(await change("add", 20)).toEqual([true, 120]);
    expect(await change("subtract", 50)).toEqual([true, 70]);
    expect(await change("override", -1)).toEqual(newest ? [false, 70] : [true, -1]);
  });

  test("locking and unlocking twice is as good as once", async () => {
    await caller.create("alice");
    const id = await caller.idOf("alice");
    for (const action of ["disable", "disable", "enable", "enable"]) {
      expect((await caller.manage({ id, action })).body.success).toBe(true);
      expect(await user(id)).toMatchObject({ status: action === "enable" ? 1 : 2 });
    }
  });

  test("after a soft delete nothing can be done, and the name is taken for ever", async () => {
    await caller.create("alice");
    const id = await caller.idOf("alice");
    await caller.manage({ id, action: "delete" });
    expect((await caller.manage({ id, action: "enable" })).body.message).toBe(oldest ? "" : "record not found");
    expect((await caller.ask("DELETE", `/api/user/${id}`)).body.message).toBe("record not found");
    expect((await caller.create("alice")).body.success).toBe(false);
  });

  test("after a hard delete the name is free, and a second delete finds nothing", async () => {
    await caller.create("alice");
    const id = await caller.idOf("alice");
    const { status, text, body } = await caller.ask("DELETE", `/api/user/${id}`);
    expect([status, oldest ? text : body.success]).toEqual([200, oldest ? "" : true]);
    expect((await caller.ask("DELETE", `/api/user/${id}`)).body.message).toBe("record not found");
    expect((await caller.create("alice")).body.success).toBe(true);
  });

  test("a login tells the id, in the shape of its generation", async () => {
    await caller.create("alice");
    const id = await caller.idOf("alice");
    const { headers, body } = await caller.enter("alice");
    const who = { id, username: "alice", display_name: "alice", role: 1, status: 1, group: "default" };
    const bearer = { token_type: "Bearer", user: who, access_token: expect.any(String) as string };
    expect(body.data).toMatchObject(newest ? bearer : who);
    expect(headers.getSetCookie()[0]).toMatch(newest ? /^refresh=.*HttpOnly/ : /^session=.*HttpOnly/);
  });

  test("a wrong password and a disabled user are told in the same words, with 200", async () => {
    await caller.create("alice");
    await caller.create("bob");
    await caller.manage({ id: await caller.idOf("bob"), action: "disable" });
    const message = "Username or password is incorrect, or user has been banned";
    for (const answer of [await caller.enter("alice", "wrong-one"), await caller.enter("bob", PASSWORD)]) {
      expect(answer).toMatchObject({ status: 200, body: { success: false, message } });
    }
  });

  test("a logout ends the session, and is there in the newest alone", async () => {
    await caller.create("alice");
    const alice = await caller.logIn("alice");
    const browser = { ...alice, origin: standIn.url };
    expect((await caller.ask("POST", "/api/user/auth/logout", alice)).status).toBe(newest ? 403 : 404);
    expect((await caller.ask("POST", "/api/user/auth/logout", browser)).status).toBe(newest ? 200 : 404);
    expect((await caller.ask("GET", "/api/token/", alice)).body.success).toBe(!newest);
  });

  test.each(where(newest))(
    "a session is ended by its public id, by its owner alone, and it counts for nothing",
    async () => {
      await control.newApi({ criticalLimit: 2, sessions: 1 });
      for (const name of ["alice", "bob"]) await caller.create(name);
      const entered = await caller.enter("alice");
      const { session } = entered.body.data as { session: { sid: string } };
      const { sid } = session;
      const alice = { authorization: `Bearer ${String(entered.body.data?.["access_token"])}` };
      expect(await caller.enter("alice")).toMatchObject({ status: 409, body: { code: "AUTH_SESSION_LIMIT" } });
      expect((await caller.ask("DELETE", `/api/user/sessions/${sid}`)).status).toBe(404);
      const ended = await caller.ask("DELETE", `/api/user/sessions/${sid}`, alice);
      expect(ended.body).toMatchObject({ success: true, data: { revoked_sid: sid } });
      expect((await caller.ask("GET", "/api/token/", alice)).status).toBe(401);
    },
  );

  test("answers come compressed to whoever takes that", async () => {
    expect((await caller.ask("GET", "/api/status", {})).headers.get("content-encoding")).toBe("gzip");
  });

  test("of two that write to accounts at once one is told that the database is locked", async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, (_, n) => caller.create(`user-${n}`)));
    const messages = answers.map(({ body }) => body.message);
    expect(messages.filter((message) => message === "")).not.toEqual([]);
    expect(messages).toContain("database is locked (5) (SQLITE_BUSY)");
  });

  test("nobody makes a token for another: with a user_id it is one's own", async () => {
    await caller.create("alice");
    const made = await caller.ask("POST", "/api/token/", ADMIN_HEADERS, {
      name: "for-alice",
      user_id: await caller.idOf("alice"),
    });
    expect(made.body).toEqual({ success: true, message: "" });
    expect(caller.items<{ name: string }>(await caller.ask("GET", "/api/token/"))).toMatchObject([
      { name: "for-alice" },
    ]);
    expect(caller.items(await caller.ask("GET", "/api/token/", await caller.logIn("alice")))).toEqual([]);
  });

  test("a token's name has 50 characters at most, its count a limit, and a paused one opens nothing", async () => {
    await caller.create("alice");
    const alice = await caller.logIn("alice");
    const make = (name: string) => caller.ask("POST", "/api/token/", alice, { name });
    expect((await make("x".repeat(51))).body.success).toBe(false);
    const { id, key } = await caller.keyOf(alice);
    await control.newApi({ maxTokens: 1 });
    expect((await make("more")).body).toMatchObject({ success: false, message: "已达到最大令牌数量限制 (1)" });
    await caller.ask("PUT", "/api/token/?status_only=true", alice, { id, status: 2 });
    expect((await caller.models(key)).status).toBe(401);
    await caller.ask("PUT", "/api/token/?status_only=true", alice, { id, status: 1 });
    expect((await caller.models(key)).status).toBe(200);
  });

  test("of a key that does not open, /v1 says why in OpenAI's shape", async () => {
    await caller.create("alice");
    const { key } = await caller.keyOf(await caller.logIn("alice"));
    await caller.manage({ id: await caller.idOf("alice"), action: "disable" });
    expect(await caller.models(key)).toMatchObject({ status: 403, body: { error: { type: "new_api_error" } } });
    const error = { type: expect.any(String) as string, message: expect.any(String) as string };
    expect(await caller.models("nobody")).toMatchObject({ status: 401, body: { error } });
  });

  test("the limit of all calls is 429 without a body, for everything under /api and nothing under /v1", async () => {
    await control.newApi({ globalLimit: 2 });
    for (const status of [200, 200, 429]) expect((await caller.ask("GET", "/api/status", {})).status).toBe(status);
    expect((await caller.ask("GET", "/api/group/")).text).toBe("");
    expect((await caller.models("nobody")).status).toBe(401);
  });

  test("a logout is critical too", async () => {
    await caller.create("alice");
    const alice = await caller.logIn("alice");
    await control.newApi({ criticalLimit: 1 });
    const codes = [];
    for (const _ of [1, 2]) codes.push((await caller.ask("POST", "/api/user/auth/logout", alice)).status);
    expect(codes).toEqual(newest ? [403, 429] : [404, 404]);
  });

  test("passwords that must come encrypted are announced in the settings", async () => {
    await control.newApi({ encryptedLogin: true });
    expect((await caller.ask("GET", "/api/status", {})).body.data).toMatchObject({
      password_login_encryption_enabled: true,
    });
    await caller.create("alice");
    expect((await caller.enter("alice")).body.success).toBe(false);
  });
});
