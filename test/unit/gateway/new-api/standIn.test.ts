/** Each answer that a running gateway was seen to give: status and shape, as the stand-in must give it. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { GENERATIONS } from "../../../../stack/newapi/newApi/settings.ts";
import { startStandIn, type StandIn } from "../../../../stack/newapi/server.ts";
import {
  ADMIN_HEADERS as ADMIN,
  type Headers,
  newApiCaller,
  type NewApiCaller,
  PAT,
} from "../../../support/newApiCaller.ts";
import { standInControl, type StandInControl } from "../../../support/standInControl.ts";

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
  const ask: NewApiCaller["ask"] = (...args) => caller.ask(...args);
  const create: NewApiCaller["create"] = (...args) => caller.create(...args);
  const idOf: NewApiCaller["idOf"] = (name) => caller.idOf(name);
  const logIn: NewApiCaller["logIn"] = (name) => caller.logIn(name);
  const keyOf: NewApiCaller["keyOf"] = (session) => caller.keyOf(session);
  const models: NewApiCaller["models"] = (key) => caller.models(key);

  test("every answer of /api names the version; a path without its slash is a cacheable 404 of another shape", async () => {
    expect((await ask("GET", "/api/status", {})).headers.get("x-new-api-version")).toMatch(
      oldest ? /^v0\.10/ : /^v1\.0\.0-rc/,
    );
    const wrong = await ask("GET", "/api/user");
    expect([wrong.status, wrong.headers.get("cache-control")]).toEqual([404, "max-age=604800"]);
    expect(wrong.body).toHaveProperty("error");
    expect((await ask("GET", "/api/v1/admin/users", {})).status).toBe(401);
  });

  test("refusals of the admin's token", async () => {
    const search = (headers: Headers) => ask("GET", "/api/user/search?keyword=x", headers);
    expect(await search({})).toMatchObject({ status: 401, body: { success: false } });
    expect(await search({ authorization: "wrong", "new-api-user": "2" })).toMatchObject({
      status: newest ? 401 : 200,
      body: { success: false, message: "invalid access token" },
    });
    expect((await search({ authorization: PAT, "new-api-user": "2" })).body.success).toBe(true);
    for (const id of [undefined, "x", "1"]) {
      const headers: Headers = id === undefined ? { authorization: PAT } : { authorization: PAT, "new-api-user": id };
      expect(await search(headers)).toMatchObject(newest ? { status: 200, body: { success: true } } : { status: 401 });
    }
    await create("alice");
    expect(await search(await logIn("alice"))).toMatchObject({ status: newest ? 403 : 200, body: { success: false } });
  });

  test("a create answers nothing but success, and ignores what it does not know", async () => {
    const made = await create("alice", { group: "vip", quota: 5, remark: "r", email: "a@b.c" });
    expect([made.status, made.body]).toEqual([200, { success: true, message: "" }]);
    const { body } = await ask("GET", `/api/user/${await idOf("alice")}`);
    expect(body.data).toMatchObject({
      group: "default",
      quota: 0,
      email: "",
      display_name: "alice",
      status: 1,
      role: 1,
    });
    expect(body.data).not.toHaveProperty("remark");
  });

  test("a create that fails does so with 200, in the words of the validator or the database", async () => {
    expect((await create("x".repeat(21))).body.message).toMatch(
      /Field validation for 'Username' failed on the 'max' tag/,
    );
    await create("alice");
    expect(await create("alice")).toMatchObject({
      status: 200,
      body: { success: false, message: "constraint failed: UNIQUE constraint failed: users.username (2067)" },
    });
    expect((await create("ALICE")).body.success).toBe(true);
    await control.newApi({ database: "postgres" });
    expect((await create("alice")).body.message).toContain("SQLSTATE 23505");
  });

  test("of sixteen creates of one name one succeeds", async () => {
    const all = await Promise.all(Array.from({ length: 16 }, () => create("alice")));
    expect(all.filter(({ body }) => body.success)).toHaveLength(1);
  });

  test("the search is for substrings, with wildcards, and shows the deleted", async () => {
    for (const name of ["ann", "anna", "bob"]) await create(name);
    const found = async (query: string) =>
      (
        (await ask("GET", `/api/user/search?${query}`)).body.data as unknown as { items: { username: string }[] }
      ).items.map(({ username }) => username);
    expect(await found("keyword=ann")).toEqual(["anna", "ann"]);
    expect(await found("keyword=b_b")).toEqual(["bob"]);
    await ask("POST", "/api/user/manage", ADMIN, { id: await idOf("bob"), action: "delete" });
    expect(await found("keyword=bob")).toEqual(["bob"]);
    expect(await found("keyword=bob&status=1")).toEqual([]);
    expect((await create("bob")).body.success).toBe(false);
  });

  test("a change overwrites what it does not name", async () => {
    await create("alice");
    const id = await idOf("alice");
    await ask("PUT", "/api/user/", ADMIN, {
      id,
      username: "alice",
      group: "nosuchgroup",
      remark: "r",
      display_name: "d",
    });
    await ask("PUT", "/api/user/", ADMIN, { id, username: "alice" });
    const { body } = await ask("GET", `/api/user/${id}`);
    expect(body.data).toMatchObject({ group: "", display_name: "" });
    expect((await ask("GET", "/api/user/999")).body).toMatchObject({ success: false, message: "record not found" });
  });

  test("manage without an id falls on the root", async () => {
    await ask("POST", "/api/user/manage", ADMIN, { action: "add_quota", mode: "override", value: 7 });
    expect((await ask("GET", "/api/user/1")).body.data).toMatchObject({
      username: "root",
      quota: oldest ? 0 : 7,
    });
    expect((await ask("POST", "/api/user/manage", ADMIN, { username: "x", action: "disable" })).body.success).toBe(
      false,
    );
  });

  test("manage of nobody and of an unknown kind", async () => {
    const quota = { id: 999, action: "add_quota", mode: "override", value: 1 };
    expect((await ask("POST", "/api/user/manage", ADMIN, quota)).body.success).toBe(true);
    await create("alice");
    const unknown = { id: await idOf("alice"), action: "dance" };
    expect((await ask("POST", "/api/user/manage", ADMIN, unknown)).body.success).toBe(!newest);
    const soft = await ask("POST", "/api/user/manage", ADMIN, { id: await idOf("alice"), action: "delete" });
    expect(soft.body.success).toBe(generation !== "2026-07");
  });

  test("a key opens, says 403 for a disabled user, and opens again", async () => {
    await create("alice");
    const id = await idOf("alice");
    const { key } = await keyOf(await logIn("alice"));
    expect(key).toMatch(/^[0-9A-Za-z]{48}$/);
    expect((await models(key)).status).toBe(200);
    await ask("POST", "/api/user/manage", ADMIN, { id, action: "disable" });
    expect((await models(key)).status).toBe(403);
    expect((await ask("POST", "/api/user/login", {}, { username: "alice", password: "12345678" })).body.success).toBe(
      false,
    );
    await ask("POST", "/api/user/manage", ADMIN, { id, action: "enable" });
    expect((await models(key)).status).toBe(200);
    expect((await models("nobody")).status).toBe(401);
  });

  test("tokens are their owner's alone, masked in the list but for the oldest, of any number under one name", async () => {
    await create("alice");
    const alice = await logIn("alice");
    const { id, key } = await keyOf(alice);
    await ask("POST", "/api/token/", alice, { name: "one" });
    const { body } = await ask("GET", "/api/token/?p=1&page_size=100", alice);
    expect(body.data).toMatchObject({ total: 2 });
    expect(JSON.stringify(body).includes(key)).toBe(oldest);
    const revealed = await ask("POST", `/api/token/${id}/key`);
    expect([revealed.status, revealed.body.message]).toEqual(oldest ? [404, undefined] : [200, "record not found"]);
    await ask("DELETE", `/api/token/${id}`, alice);
    expect((await models(key)).status).toBe(401);
    expect((await ask("DELETE", `/api/token/${id}`, alice)).body.message).toBe("record not found");
  });

  test("a hard delete leaves the key behind, for whoever gets the id next; the newest takes it along", async () => {
    await create("alice");
    const id = await idOf("alice");
    const { key } = await keyOf(await logIn("alice"));
    await ask("DELETE", `/api/user/${id}`);
    expect((await models(key)).status).toBe(newest ? 401 : 500);
    await create("bob");
    expect(await idOf("bob")).toBe(id);
    expect((await models(key)).status).toBe(newest ? 401 : 200);
  });

  test("a session outlives disabling and a new password, but for the newest", async () => {
    await create("alice");
    const alice = await logIn("alice");
    const id = await idOf("alice");
    await ask("PUT", "/api/user/", ADMIN, { id, username: "alice", password: "another-one" });
    expect((await ask("GET", "/api/token/", alice)).body.success).toBe(!newest);
    await ask("PUT", "/api/user/", ADMIN, { id, username: "alice", password: "12345678" });
    const again = await logIn("alice");
    await ask("POST", "/api/user/manage", ADMIN, { id, action: "disable" });
    expect((await ask("GET", "/api/token/", again)).body.success).toBe(!newest);
    await ask("DELETE", `/api/user/${id}`);
    expect((await ask("GET", "/api/token/", again)).body.success).toBe(!newest);
  });

  test("blockers of a login come with 200", async () => {
    await create("alice");
    const login = () => ask("POST", "/api/user/login", {}, { username: "alice", password: "12345678" });
    await control.newApi({ twoFactor: ["alice"] });
    expect((await login()).body).toMatchObject({ success: true, data: { require_2fa: true } });
    await control.newApi({ passwordLogin: false });
    expect((await login()).body.message).toBe("Password login has been disabled by administrator");
    await control.newApi({ turnstile: true });
    expect((await login()).body.message).toBe("Turnstile token 为空");
  });

  test("the 21st critical call is 429 without a body, failures counted; a key's check is not", async () => {
    await control.newApi({ criticalLimit: 20 });
    const login = () => ask("POST", "/api/user/login", {}, { username: "nobody", password: "x" });
    for (let i = 0; i < 20; i += 1) expect((await login()).status).toBe(200);
    const over = await login();
    expect([over.status, over.text, over.headers.get("retry-after")]).toEqual([429, "", newest ? "1200" : null]);
    expect((await ask("POST", "/api/token/1/key")).status).toBe(oldest ? 404 : 429);
    expect((await models("x")).status).toBe(401);
    expect((await ask("GET", "/api/status", {})).status).toBe(200);
  });
});
