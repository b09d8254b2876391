/** Every request to an upstream is told of once when it is over, with its status, or without one where no answer came. */
import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, expect, test } from "vitest";
import type { UpstreamCall } from "../../src/api/upstreamOperations.ts";
import { makeAdminV1Gateway } from "../../src/gateway/dialects/admin-v1/adminV1Gateway.ts";
import { makeRealm } from "../../src/keycloak/client.ts";
import { makeApiClient } from "../../src/kube/apiClient.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { answer, COLLECTION, startFakeApiserver } from "./kube/fakeApiserver.ts";

const { signal } = new AbortController();
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Answers with these statuses in turn; 0 breaks the connection. */
async function upstream(...statuses: readonly number[]): Promise<string> {
  const left = [...statuses];
  const server = createServer((request, response) => {
    const status = request.url?.endsWith("/token") === true ? 200 : (left.shift() ?? 500);
    if (status === 0) return void request.socket.destroy();
    response.writeHead(status, { "content-type": "application/json" });
    response.end(request.url?.endsWith("/token") === true ? '{"access_token":"t"}' : "{}");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(
    () => server.close(),
    () => server.closeAllConnections(),
  );
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}

function listener() {
  const calls: UpstreamCall[] = [];
  return {
    observe: (call: UpstreamCall) => void calls.push(call),
    told: () => calls.map(({ upstream: name, operation, status }) => [name, operation, status]),
  };
}

test("of Keycloak", async () => {
  const { observe, told } = listener();
  const url = await upstream(503, 0, 404);
  const realm = makeRealm({
    url,
    realm: "acme",
    clientID: "c",
    clientSecret: new Sensitive("s"),
    clock: systemClock,
    observe,
  });
  const ask = () => realm.invite("u-1", ["VERIFY_EMAIL"], signal).catch(() => undefined);
  for (let n = 0; n < 3; n += 1) await ask();
  expect(told()).toEqual([
    ["keycloak", "login", 200],
    ["keycloak", "send_invitation", 503],
    ["keycloak", "send_invitation", undefined],
    ["keycloak", "send_invitation", 404],
  ]);
});

test("of a gateway", async () => {
  const { observe, told } = listener();
  const gateway = makeAdminV1Gateway({
    url: await upstream(401, 0),
    token: new Sensitive("t"),
    clock: systemClock,
    observe,
  });
  for (let n = 0; n < 2; n += 1) await gateway.verifyKey(new Sensitive("sk-1"), signal).catch(() => undefined);
  expect(told()).toEqual([
    ["newapi", "verify_key", 401],
    ["newapi", "verify_key", undefined],
  ]);
});

test("of the API server", async () => {
  const { observe, told } = listener();
  const server = await startFakeApiserver();
  const client = makeApiClient(server.access, { clock: systemClock, observe }, { deadlineMs: 1_000 });
  cleanups.push(
    () => client.close(),
    () => server.close(),
  );
  server.next.push(answer(409, "{}"), () => undefined);
  const request = { method: "PUT", path: `${COLLECTION}/s`, body: {} } as const;
  await client.send(request, signal);
  await client.send(request, signal).catch(() => undefined);
  server.next.push(answer(410, "{}"));
  await client.stream({ method: "GET", path: COLLECTION }, () => undefined, signal);
  expect(told()).toEqual([
    ["kubernetes", "update_secrets", 409],
    ["kubernetes", "update_secrets", undefined],
    ["kubernetes", "watch_secrets", 410],
  ]);
});
