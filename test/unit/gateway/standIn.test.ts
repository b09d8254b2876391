import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { sha256 } from "../../../stack/newapi/accounts.ts";
import { type StandIn, startStandIn } from "../../../stack/newapi/server.ts";
import { type StandInControl, standInControl } from "../../support/standInControl.ts";

const ADMIN_TOKEN = "stand-in-admin-token";
const USERS = "/api/v1/admin/users";
const ada = {
  external_id: "7f1e9a52-6c1f-5f0e-9d3b-2f6f0c1f7a11",
  email: "ada@acme.example",
  tenant_id: "acme",
  tier: "standard",
  metadata: { kc_user_id: "kc-1", kc_realm: "acme" },
};

let standIn: StandIn;
let control: StandInControl;

beforeAll(async () => {
  standIn = await startStandIn({ adminToken: ADMIN_TOKEN });
  control = standInControl(standIn.url);
});
beforeEach(() => control.reset());
afterAll(() => standIn.close());

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Record<string, unknown>;
}

async function ask(
  method: string,
  path: string,
  options: { body?: unknown; token?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { body, token = ADMIN_TOKEN, headers } = options;
  const answer = await fetch(standIn.url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
    body: body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  const isObject = answer.headers.get("content-type") === "application/json" && text.endsWith("}");
  return { status: answer.status, headers: answer.headers, text, body: isObject ? JSON.parse(text) : {} };
}

const create = (body: unknown = ada, token = ADMIN_TOKEN) =>
  ask("POST", USERS, { body, token, headers: { "x-idempotency-key": ada.external_id } });
const find = () => ask("GET", `${USERS}?external_id=${ada.external_id}`);
const open = (apiKey: unknown) => ask("GET", "/v1/models", { token: String(apiKey) });
const errorCode = (answer: Answer) => (answer.body["error"] as { code: string } | undefined)?.code;

describe("admin-v1", () => {
  test("a new user is answered 201 with user_id, api_key and created_at, and nothing else", async () => {
    const answer = await create();
    expect(answer.status).toBe(201);
    expect(answer.body).toEqual({
      user_id: expect.stringMatching(/^usr_[0-9a-f]{18}$/),
      api_key: expect.stringMatching(/^sk-[\w-]{48}$/),
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    });
  });

  test("a second user with the same external_id is answered 409, whatever its tenant and idempotency key", async () => {
    await create();
    const answer = await create({ ...ada, tenant_id: "other" });
    expect([answer.status, errorCode(answer)]).toEqual([409, "user_exists"]);
    expect(await control.users()).toHaveLength(1);
  });

  test("twenty creates of one external_id at once make one user", async () => {
    const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await create()).status));
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(statuses.filter((status) => status === 409)).toHaveLength(19);
    expect(await control.users()).toHaveLength(1);
  });

  test.each([
    ["is not JSON", "{"],
    ["is a list", []],
    ["has no external_id", { ...ada, external_id: undefined }],
    ["has an empty external_id", { ...ada, external_id: "" }],
    ["has no email", { ...ada, email: undefined }],
    ["has an email without @", { ...ada, email: "ada" }],
    ["has no tenant_id", { ...ada, tenant_id: undefined }],
    ["has no tier", { ...ada, tier: undefined }],
    ["has metadata that is no object", { ...ada, metadata: "kc-1" }],
  ])("a create whose body %s is answered 400", async (_what, body) => {
    const answer = await create(body);
    expect([answer.status, errorCode(answer)]).toEqual([400, "bad_request"]);
    expect(await control.users()).toEqual([]);
  });

  test("a create without X-Idempotency-Key is answered 400", async () => {
    expect((await ask("POST", USERS, { body: ada })).status).toBe(400);
  });

  test("a body over 1 MiB is answered 413", async () => {
    expect((await create({ ...ada, email: "a".repeat(1024 * 1024) })).status).toBe(413);
  });

  test("every admin call with a wrong token is answered 401 and does nothing", async () => {
    const { body } = await create();
    for (const [method, path] of [
      ["POST", USERS],
      ["GET", `${USERS}?external_id=${ada.external_id}`],
      ["POST", `${USERS}/${String(body["user_id"])}/keys/rotate`],
      ["POST", `${USERS}/${String(body["user_id"])}/disable`],
      ["POST", `${USERS}/${String(body["user_id"])}/enable`],
    ] as const) {
      const answer = await ask(method, path, { token: "wrong", ...(method === "POST" ? { body: ada } : {}) });
      expect([path, answer.status, errorCode(answer)]).toEqual([path, 401, "unauthorized"]);
    }
    expect((await open(body["api_key"])).status).toBe(200);
  });

  test("a user is found by external_id with everything it was made from and its key", async () => {
    const { body } = await create();
    const answer = await find();
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      user_id: body["user_id"],
      external_id: ada.external_id,
      email: ada.email,
      tenant_id: ada.tenant_id,
      tier: ada.tier,
      api_key: body["api_key"],
      created_at: body["created_at"],
    });
  });

  test("an unknown external_id is answered 404, a missing one 400", async () => {
    expect((await find()).status).toBe(404);
    expect((await ask("GET", USERS)).status).toBe(400);
  });

  test("a rotation answers 200 with a new key, and the old key is dead at once", async () => {
    const { body } = await create();
    const rotated = await ask("POST", `${USERS}/${String(body["user_id"])}/keys/rotate`);
    expect([rotated.status, Object.keys(rotated.body)]).toEqual([200, ["api_key"]]);
    expect((await open(body["api_key"])).status).toBe(401);
    expect((await open(rotated.body["api_key"])).status).toBe(200);
    expect((await find()).body["api_key"]).toBe(rotated.body["api_key"]);
  });

  test("disable and enable are answered 200, also when repeated, and keep the key", async () => {
    const { body } = await create();
    const user = `${USERS}/${String(body["user_id"])}`;
    for (const [verb, status] of [
      ["disable", 403],
      ["disable", 403],
      ["enable", 200],
      ["enable", 200],
    ] as const) {
      expect((await ask("POST", `${user}/${verb}`)).status).toBe(200);
      expect((await open(body["api_key"])).status).toBe(status);
    }
  });

  test.each(["keys/rotate", "disable", "enable"])("%s of an unknown user is answered 404", async (verb) => {
    const answer = await ask("POST", `${USERS}/usr_nobody/${verb}`);
    expect([answer.status, errorCode(answer)]).toEqual([404, "user_not_found"]);
  });

  test("another method is answered 405, another path 404", async () => {
    expect((await ask("DELETE", USERS)).status).toBe(405);
    expect((await ask("GET", `${USERS}/usr_1/disable`)).status).toBe(405);
    expect((await ask("GET", `${USERS}/usr_1`)).status).toBe(404);
    expect((await ask("GET", "/")).status).toBe(404);
  });
});

describe("/v1/models", () => {
  test("is answered 200 with a list of models to a key that works", async () => {
    const { body } = await create();
    const answer = await open(body["api_key"]);
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ object: "list", data: [{ object: "model" }, { object: "model" }] });
  });

  test("is answered 401 to an unknown key, to no key, and to the admin token", async () => {
    expect((await open("sk-unknown")).status).toBe(401);
    expect((await fetch(`${standIn.url}/v1/models`)).status).toBe(401);
    expect((await open(ADMIN_TOKEN)).status).toBe(401);
  });

  test("is answered 403 to the key of a disabled user", async () => {
    const { body } = await create();
    await ask("POST", `${USERS}/${String(body["user_id"])}/disable`);
    const answer = await open(body["api_key"]);
    expect([answer.status, errorCode(answer)]).toEqual([403, "user_disabled"]);
  });

  test.each([402, 429] as const)("is answered %i with insufficient_quota to an exhausted user", async (status) => {
    const { body } = await create();
    await control.exhaust(ada.external_id, status);
    const answer = await open(body["api_key"]);
    expect([answer.status, errorCode(answer)]).toEqual([status, "insufficient_quota"]);
  });

  test("is answered 401 once the account was removed by hand", async () => {
    const { body } = await create();
    await control.removeUser(String(body["user_id"]));
    expect((await open(body["api_key"])).status).toBe(401);
    expect((await create()).status).toBe(201);
  });
});

describe("the journal", () => {
  test("has every call in order, with its status, idempotency key and external id, and no secret", async () => {
    const { body } = await create();
    await ask("POST", `${USERS}/${String(body["user_id"])}/disable`);
    await open(body["api_key"]);
    const entries = await control.journal();
    expect(entries.map(({ method, status, externalID }) => [method, status, externalID])).toEqual([
      ["POST", 201, ada.external_id],
      ["POST", 200, ada.external_id],
      ["GET", 403, ada.external_id],
    ]);
    expect(entries[0]).toMatchObject({ path: USERS, idempotencyKey: ada.external_id, keySHA256: null, fault: null });
    expect(entries[0]?.durationMs).toBeGreaterThanOrEqual(0);
    expect(entries[2]?.keySHA256).toBe(sha256(String(body["api_key"])).slice(0, 12));
    expect(JSON.stringify(entries)).not.toContain(body["api_key"]);
    expect(JSON.stringify(entries)).not.toContain(ADMIN_TOKEN);
  });

  test("is read from a sequence number on, and continues counting when emptied", async () => {
    await find();
    await find();
    const [first, second] = await control.journal();
    expect(await control.journal(first?.seq)).toEqual([second]);
    await fetch(`${standIn.url}/_/journal`, { method: "DELETE" });
    await find();
    expect((await control.journal()).map(({ seq }) => seq)).toEqual([(second?.seq ?? 0) + 1]);
  });

  test("does not have the health check and its own paths", async () => {
    expect((await fetch(`${standIn.url}/healthz`)).status).toBe(200);
    await control.users();
    expect(await control.journal()).toEqual([]);
  });
});

describe("a fault", () => {
  test("answers another status, body and headers as often as it was told, without doing the work", async () => {
    const id = await control.fault({
      match: { method: "POST" },
      count: 2,
      action: { status: 503, body: { down: true }, headers: { "X-Who": "proxy" } },
    });
    const answer = await create();
    expect([answer.status, answer.text, answer.headers.get("x-who")]).toEqual([503, '{"down":true}', "proxy"]);
    expect((await create()).status).toBe(503);
    expect((await create()).status).toBe(201);
    expect((await control.journal()).map(({ fault }) => fault)).toEqual([id, id, null]);
  });

  test("without a count stays until it is deleted", async () => {
    const id = await control.fault({ action: { status: 500 } });
    expect([(await find()).status, (await find()).status]).toEqual([500, 500]);
    await control.heal(id);
    expect((await find()).status).toBe(404);
    await expect(control.heal(id)).rejects.toThrow("404");
  });

  test("hits only the method, path and external id that it names", async () => {
    const { body } = await create();
    await create({ ...ada, external_id: "somebody-else" });
    await control.fault({ match: { path: "/disable$", externalID: ada.external_id }, action: { status: 500 } });
    const somebody = (await control.users()).find(({ external_id }) => external_id === "somebody-else");
    expect((await ask("POST", `${USERS}/${String(body["user_id"])}/disable`)).status).toBe(500);
    expect((await ask("POST", `${USERS}/${String(body["user_id"])}/enable`)).status).toBe(200);
    expect((await ask("POST", `${USERS}/${somebody?.user_id}/disable`)).status).toBe(200);
  });

  test("limits with 429 and the Retry-After that it was given", async () => {
    await control.fault({ count: 1, action: { retryAfter: 7 } });
    const answer = await create();
    expect([answer.status, answer.headers.get("retry-after"), answer.text]).toEqual([429, "7", ""]);
  });

  test("waits, then does the work, even when the caller has gone", async () => {
    await control.fault({ count: 1, action: { latencyMs: 150 } });
    const call = fetch(standIn.url + USERS, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "x-idempotency-key": "k" },
      body: JSON.stringify(ada),
      signal: AbortSignal.timeout(50),
    });
    await expect(call).rejects.toThrow(/timeout/);
    expect(await control.users()).toEqual([]);
    await expect.poll(() => control.users()).toHaveLength(1);
  });

  test("hangs without an answer and without doing the work", async () => {
    await control.fault({ count: 1, action: { hang: true } });
    const call = fetch(standIn.url + USERS, { method: "POST", body: "{}", signal: AbortSignal.timeout(100) });
    await expect(call).rejects.toThrow(/timeout/);
    expect(await control.users()).toEqual([]);
    expect(await control.journal()).toMatchObject([{ status: null, durationMs: null }]);
  });

  test("drops the connection after the work, or before it", async () => {
    await control.fault({ count: 1, action: { dropBefore: true } });
    await expect(create()).rejects.toThrow("fetch failed");
    expect(await control.users()).toEqual([]);
    await control.fault({ count: 1, action: { dropAfter: true } });
    await expect(create()).rejects.toThrow("fetch failed");
    expect(await control.users()).toHaveLength(1);
    expect(await control.journal()).toMatchObject([{ status: null }, { status: null }]);
  });

  test("cuts the answer in half, after the work", async () => {
    await control.fault({ count: 1, action: { truncated: true } });
    const answer = await create();
    expect(answer.status).toBe(201);
    expect(() => JSON.parse(answer.text)).toThrow(SyntaxError);
    expect(await control.users()).toHaveLength(1);
  });

  test("answers 200 with a page, or with JSON that nobody asked for", async () => {
    await control.fault({ count: 1, action: { html: true } });
    const page = await find();
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html"]);
    await control.fault({ count: 1, action: { nonsense: true } });
    expect([(await find()).text]).toEqual(['{"nonsense":true}']);
  });

  test.each([
    ["no action", {}],
    ["an unknown action", { action: { explode: true } }],
    ["a path that is no regular expression", { match: { path: "(" }, action: { hang: true } }],
    ["a count of none", { count: 0, action: { hang: true } }],
  ])("with %s is refused", async (_what, order) => {
    expect((await ask("POST", "/_/faults", { body: order })).status).toBe(400);
  });
});

describe("the state", () => {
  test("shows each user with its live keys as SHA-256 only", async () => {
    const { body } = await create();
    const [user] = await control.users();
    expect(user).toEqual({
      ...ada,
      user_id: body["user_id"],
      created_at: body["created_at"],
      disabled: false,
      exhausted: false,
      liveKeys: 1,
      keySHA256: [sha256(String(body["api_key"]))],
    });
  });
});

describe("the process", () => {
  const MAIN = fileURLToPath(new URL("../../../stack/newapi/main.ts", import.meta.url));
  let started: ChildProcess | undefined;
  afterEach(() => started?.kill("SIGKILL"));

  function start(env: Record<string, string>) {
    const child = spawn(process.execPath, [MAIN], {
      env: { ...process.env, HOST: "127.0.0.1", PORT: "0", ADMIN_TOKEN: "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    started = child;
    return child;
  }

  test("says on one line where it listens, and ends with 0 on SIGTERM while a call hangs", async () => {
    const child = start({ ADMIN_TOKEN });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const { listening } = JSON.parse(line.toString()) as { listening: string };
    expect(await (await fetch(`${listening}/healthz`)).json()).toEqual({ status: "ok" });
    await standInControl(listening).fault({ action: { hang: true } });
    const hanging = fetch(`${listening}/v1/models`).catch(() => "cut");
    await expect.poll(() => standInControl(listening).journal()).toHaveLength(1);
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(await hanging).toBe("cut");
  });

  test.each([
    [{}, "ADMIN_TOKEN is missing"],
    [{ ADMIN_TOKEN, PORT: "many" }, "PORT must be a number"],
    [{ ADMIN_TOKEN, PORT: "70000" }, "PORT must be a number"],
  ])("with %j ends with 1 and a sentence", async (env, sentence) => {
    const child = start(env);
    const [[text], [code]] = await Promise.all([once(child.stderr, "data"), once(child, "exit")]);
    expect([code, String(text)]).toEqual([1, expect.stringContaining(sentence)]);
  });
});
