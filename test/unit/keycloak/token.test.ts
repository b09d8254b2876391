import { createServer } from "node:http";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { makeTokens, type Tokens } from "../../../src/keycloak/token.ts";
import { Sensitive } from "../../../src/lib/sensitive.ts";

const never = new AbortController().signal;

/** A login endpoint that answers what the test says, and a clock that the test turns. */
async function login(answer: (nth: number) => { status: number; body: string }) {
  const time = { now: 1_000_000 };
  let logins = 0;
  const server = createServer((_incoming, outgoing) => {
    logins += 1;
    const { status, body } = answer(logins);
    setTimeout(() => outgoing.writeHead(status, { "content-type": "application/json" }).end(body), 20);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const tokens: Tokens = makeTokens({
    url: `http://127.0.0.1:${port}`,
    realm: "acme",
    dispatcher: () => undefined,
    clientID: "unified-rbac",
    clientSecret: new Sensitive("the-secret"),
    clock: { now: () => time.now },
  });
  return { tokens, time, logins: () => logins };
}

/** A token that lives for `life` seconds by a clock that is years away from ours. */
function token(life: number, more: object = {}): { status: number; body: string } {
  const payload = Buffer.from(JSON.stringify({ iat: 5, exp: 5 + life, ...more })).toString("base64url");
  return { status: 200, body: JSON.stringify({ access_token: `e30.${payload}.sig${Math.random()}` }) };
}

test("keeps one token and renews it 30 s before its end, by our own clock", async () => {
  const { tokens, time, logins } = await login(() => token(300));
  await Promise.all([tokens.current(never), tokens.current(never), tokens.current(never)]);
  time.now += 269_000;
  await tokens.current(never);
  expect(logins()).toBe(1);
  time.now += 2_000;
  await tokens.current(never);
  expect(logins()).toBe(2);
});

test("renews a short-lived token at half its life", async () => {
  const { tokens, time, logins } = await login(() => token(40));
  await tokens.current(never);
  time.now += 19_000;
  await tokens.current(never);
  expect(logins()).toBe(1);
  time.now += 2_000;
  await tokens.current(never);
  expect(logins()).toBe(2);
});

test("logs in once when many were refused with the same token", async () => {
  const { tokens, logins } = await login(() => token(300));
  const stale = await tokens.current(never);
  const renewed = await Promise.all([tokens.after(stale, never), tokens.after(stale, never)]);
  expect(renewed[0]).toBe(renewed[1]);
  expect(await tokens.after(stale, never)).toBe(renewed[0]);
  expect(logins()).toBe(2);
});

test("counts a token's life from its receipt: a slow login does not use it up", async () => {
  const { tokens, time, logins } = await login(() => {
    time.now += 1_500;
    return token(2);
  });
  await tokens.current(never);
  time.now += 900;
  await tokens.current(never);
  expect(logins()).toBe(1);
});

test("tries again after a failed login, and remembers no failure", async () => {
  const { tokens } = await login((nth) => (nth === 1 ? { status: 503, body: "" } : token(300)));
  await expect(tokens.current(never)).rejects.toMatchObject({ class: "transient" });
  expect((await tokens.current(never)).value.reveal()).toContain("e30.");
});

test("takes nonsense with 200 for no answer", async () => {
  for (const body of ["<html>Welcome</html>", "{}", '{"access_token": 5}']) {
    const { tokens } = await login(() => ({ status: 200, body }));
    await expect(tokens.current(never)).rejects.toMatchObject({ class: "transient" });
  }
});

test("cuts only the pending user whose signal ends", async () => {
  const { tokens, logins } = await login(() => token(300));
  const cut = tokens.current(AbortSignal.abort());
  const stays = tokens.current(never);
  await expect(cut).rejects.toMatchObject({ class: "transient" });
  expect((await stays).value).toBeInstanceOf(Sensitive);
  expect(logins()).toBe(1);
});
