/** A gateway that is somebody's own program and means no good: what it says is never acted upon beyond its own people. */
import { once } from "node:events";
import { createServer } from "node:http";

import { afterEach, describe, expect, test } from "vitest";

import { isSagaError } from "../../../../src/lib/errors.ts";
import { Sensitive } from "../../../../src/lib/sensitive.ts";
import { makeLimits } from "../../../../src/gateway/dialects/new-api/limits.ts";
import { makeNewApiGateway } from "../../../../src/gateway/dialects/new-api/newApiGateway.ts";
import { searchWord } from "../../../../src/gateway/dialects/new-api/align.ts";
import { MASTER_KEYS, never, personRequest, TENANT } from "../../../support/gateways.ts";

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Record<string, unknown>;
}

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Answers each call with what `say` gives, as JSON with status 200. */
async function hostile(say: (asked: Asked) => unknown) {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(`http://gateway${request.url ?? "/"}`);
      const text = Buffer.concat(chunks).toString();
      const call = {
        method: request.method ?? "GET",
        path: url.pathname,
        query: url.searchParams,
        body: (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>,
      };
      asked.push(call);
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(say(call)));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const gateway = makeNewApiGateway({
    url: `http://127.0.0.1:${port}`,
    token: new Sensitive("t"),
    userID: "2",
    tenantID: TENANT,
    masterKeys: MASTER_KEYS,
    limits: makeLimits({ now: Date.now }),
    clock: { now: Date.now },
    passwordReset: () => undefined,
  });
  return { gateway, asked, writes: () => asked.filter(({ method }) => method !== "GET") };
}

const request = personRequest({ quota: 100 });
const account = (given: object = {}) => ({
  id: 7,
  username: "somebody",
  display_name: "d",
  role: 1,
  status: 1,
  group: "default",
  quota: 0,
  used_quota: 0,
  remark: `${TENANT}/${request.uuid}`,
  DeletedAt: null,
  ...given,
});
const done = (data?: unknown) => ({ success: true, message: "", data });
const listed = (...items: unknown[]) => done({ page: 1, page_size: 100, total: items.length, items });

async function outcome(act: () => Promise<unknown>): Promise<unknown> {
  return act().then(
    () => undefined,
    (error: unknown) => error,
  );
}

const IDS = [0, -1, 1, 2, 1.5, 1e16, 2 ** 53, "7", "../2", "", null, true, [7], { id: 7 }];

describe("an id that the gateway gives", () => {
  test.each(IDS)("of %j is never acted upon: not the root's, not our admin's own, not none", async (id) => {
    const named = account({ id });
    const { gateway, writes } = await hostile(({ method, path }) => {
      if (path === "/api/user/search") return listed(named);
      if (/^\/api\/user\/\d+$/.test(path)) return done(named);
      return method === "POST" && path === "/api/user/login" ? done({ id, username: "x" }) : done();
    });
    for (const userID of [undefined, "7", JSON.stringify(id)]) {
      const error = await outcome(() => gateway.ensure({ ...request, userID }, never));
      expect(isSagaError(error)).toBe(true);
      await outcome(async () => gateway.remove?.({ ...request, userID, enabled: false }, () => undefined, never));
    }
    const changed = writes().filter(({ method, path }) => method !== "POST" || path !== "/api/user/");
    expect(changed).toEqual([]);
  });

  test.each([0, -1, 1.5, 2 ** 53, "7", "../../user/1", null])(
    "to a token, %j, becomes no part of a path",
    async (id) => {
      const named = account();
      const token = { id, name: "unified-rbac-0", status: 1, key: "abcd**********wxyz" };
      const { gateway, asked } = await hostile(({ path }) => {
        if (path === "/api/user/search") return listed(named);
        if (path === "/api/user/login") return done({ id: 7, access_token: "a" });
        if (path === "/api/token/") return listed(token);
        return done(named);
      });
      const { account: found } = await gateway.ensure({ ...request, quota: undefined }, never);
      expect(await outcome(() => found.apiKey(never))).toMatchObject({ class: "transient" });
      expect(asked.filter(({ path }) => /^\/api\/token\/./.test(path))).toEqual([]);
    },
  );

  test.each(["../../token/1", "", "a/b", 7, null, "s".repeat(500)])(
    "to a session, %j, becomes no part of a path",
    async (sid) => {
      const { gateway, asked } = await hostile(({ path }) => {
        if (path === "/api/user/search") return listed(account());
        if (path === "/api/user/login") return done({ user: { id: 7 }, access_token: "a", session: { sid } });
        if (path === "/api/token/") return listed();
        return done(account());
      });
      const { account: found } = await gateway.ensure({ ...request, quota: undefined }, never);
      await outcome(() => found.apiKey(never));
      expect(asked.filter(({ method, path }) => method === "DELETE" && path !== "/api/user/auth/logout")).toEqual([]);
    },
  );
});

describe("a value of the wrong type", () => {
  const WRONG = [
    { quota: "0" },
    { quota: null },
    { quota: 1e300 },
    { used_quota: {} },
    { group: 5 },
    { display_name: ["x"] },
    { remark: 7 },
    { role: "1" },
    { status: "1" },
    { username: null },
    { username: "u".repeat(5_000) },
  ];

  test.each(WRONG)("%j is not taken for an empty one and written back", async (given) => {
    const { gateway, writes } = await hostile(({ path }) => {
      const wrong = account(given);
      if (path === "/api/user/search") return listed(wrong);
      return done(wrong);
    });
    const error = await outcome(() => gateway.ensure({ ...request, userID: "7", tier: "vip" }, never));
    expect(error).toMatchObject({ class: "transient", code: "UpstreamUnavailable" });
    expect(writes()).toEqual([]);
  });

  test.each(WRONG)("%j of one account does not hide the others from the comparison", async (given) => {
    const other = personRequest({ userID: "8" });
    const fine = account({
      id: 8,
      remark: `${TENANT}/${other.uuid}`,
      display_name: `${other.email.slice(0, 9)} ${searchWord(other)}`,
    });
    const { gateway } = await hostile(() => listed(account(given), fine));
    const wanted = [{ ...request, userID: "7" }, other];
    expect(await gateway.drifted(wanted, () => Promise.resolve(), never)).toEqual([request.uuid]);
  });

  test("anywhere in an answer is an error of ours, whatever is asked", async () => {
    const nonsense = [
      null,
      0,
      "",
      [],
      [[]],
      { items: 1 },
      { items: [1] },
      { items: null, total: -1 },
      { total: 1e308 },
    ];
    for (const data of nonsense) {
      const { gateway } = await hostile(() => done(data));
      const { uuid } = request;
      const attempts = [
        () => gateway.ensure({ ...request, userID: "7" }, never),
        () => gateway.find(request, never),
        () => gateway.rotate(request, "7", never),
        () => gateway.retire(request, never),
        () => gateway.enable("7", uuid, never),
        () => gateway.disable("7", uuid, never),
        async () => gateway.remove?.(request, () => undefined, never),
        () => gateway.drifted([{ ...request, userID: "7" }], () => Promise.resolve(), never),
        () => gateway.check({ tiers: ["default"] }, never),
      ];
      for (const attempt of attempts) {
        const error = await outcome(attempt);
        expect(error === undefined || isSagaError(error)).toBe(true);
      }
    }
  });
});

test("a name that somebody gave the account is kept as one line that can be stored", async () => {
  const { gateway } = await hostile(({ path }) => {
    const named = account({ username: `\u0000a\nb\u202e${"n".repeat(900)}` });
    return path === "/api/user/search" ? listed(named) : done(named);
  });
  const found = await gateway.find({ ...request, userID: "7" }, never);
  expect(found?.username).toMatch(/^ a b n{100,125}$/);
});

describe("a list without an end", () => {
  const full = (given: (n: number) => object) =>
    done({ total: 1_000_000_000, items: Array.from({ length: 100 }, (_, n) => given(n)) });

  test("of accounts is read for a few pages, and none of them is made twice", async () => {
    const { gateway, asked, writes } = await hostile(({ path }) =>
      path === "/api/user/search" ? full((n) => account({ id: 100 + n, remark: "" })) : done(),
    );
    await outcome(() => gateway.ensure(request, never));
    expect(asked.length).toBeLessThan(12);
    expect(writes().filter(({ path }) => path === "/api/user/").length).toBeLessThanOrEqual(1);
  });

  test("of tokens ends, when a key is wanted and when all are removed", async () => {
    let id = 0;
    const { gateway, asked } = await hostile(({ path }) => {
      if (path === "/api/user/search") return listed(account());
      if (path === "/api/user/login") return done({ id: 7, access_token: "a" });
      if (path === "/api/token/") return full(() => ({ id: (id += 1), name: "mine", status: 1, key: "" }));
      return done(account());
    });
    const { account: found } = await gateway.ensure({ ...request, quota: undefined }, never);
    expect(await outcome(() => found.apiKey(never))).toMatchObject({ class: "transient" });
    expect(asked.length).toBeLessThan(70);
    id = 0;
    const removed = outcome(async () => gateway.remove?.({ ...request, userID: "7" }, () => undefined, never));
    expect(await removed).toMatchObject({ class: "transient" });
  });

  test("of accounts stops the comparison after as many calls as people are compared", async () => {
    const { gateway, asked } = await hostile(({ path }) =>
      path === "/api/user/" ? full((n) => account({ id: 100 + n })) : done(account()),
    );
    await gateway.drifted([{ ...request, userID: "7" }], () => Promise.resolve(), never);
    expect(asked.length).toBeLessThanOrEqual(2);
  });
});

describe("an email that people chose", () => {
  test.each([
    "____________________@evil.example",
    "%%%%%%%%%%%%%%%%%%%%@evil.example",
    "a@evil.example",
    "\\_\\_@evil.example",
  ])("%s is no part of a search, which is for what we derive", async (email) => {
    const { gateway, asked } = await hostile(({ path }) =>
      path === "/api/user/search" ? listed() : { success: false, message: "no" },
    );
    await outcome(() => gateway.ensure({ ...request, email }, never));
    const words = asked.flatMap(({ query }) => query.get("keyword") ?? []);
    expect(words.length).toBeGreaterThan(1);
    for (const word of words) expect(word).toMatch(/^[a-z2-7]{10,20}$/);
  });
});
