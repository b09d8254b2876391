/** Every request to an upstream is told of once, with its status when it is over, or without one where no answer came. */
import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, expect, test } from "vitest";
import type { CallUnderWay, UpstreamCall } from "../../src/api/upstreamOperations.ts";
import { makeAdminV1Gateway } from "../../src/gateway/dialects/admin-v1/adminV1Gateway.ts";
import { makeRealm } from "../../src/keycloak/client.ts";
import { makeApiClient } from "../../src/kube/apiClient.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { makeMetrics } from "../../src/ops/metrics.ts";
import { callObserver } from "../../src/roles/measurements.ts";
import { collectSpans } from "../support/spans.ts";
import { answer, COLLECTION, startFakeApiserver } from "./kube/fakeApiserver.ts";

const { signal } = new AbortController();
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  named.splice(0);
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Answers with these statuses in turn; 0 breaks the connection. */
async function upstream(...statuses: readonly number[]): Promise<string> {
  const left = [...statuses];
  const server = createServer((request, response) => {
    named.push(request.headers["traceparent"]);
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

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/** What the upstream's requests named as their trace. */
const named: unknown[] = [];

function listener() {
  const told: unknown[] = [];
  const observe = ({ upstream: name, operation }: UpstreamCall): CallUnderWay => ({
    headers: { traceparent: TRACEPARENT },
    over: (status) => void told.push([name, operation, status]),
  });
  return { observe, told: () => told };
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
  expect(named).toEqual(told().map(() => TRACEPARENT));
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
  expect(named).toEqual(told().map(() => TRACEPARENT));
});

test("in a span below that of the step it belongs to, which its header names; outside of one, in none", async () => {
  const spans = collectSpans();
  const observe = callObserver(makeMetrics("reconciler", { runtime: false }), spans.tracer);
  const url = await upstream(404, 404, 404);
  const login = { realm: "acme", clientID: "c", clientSecret: new Sensitive("s3cret-value") };
  const realm = makeRealm({ ...login, url, clock: systemClock, observe });
  const gateway = makeAdminV1Gateway({ url, token: new Sensitive("admin-token"), clock: systemClock, observe });
  const both = async (): Promise<void> => {
    await realm.uuidByEmail("ada@example.com", "acme", signal).catch(() => undefined);
    await gateway.verifyKey(new Sensitive("sk-1"), signal).catch(() => undefined);
  };
  await spans.tracer.inTrace(undefined, "keycloak up", {}, both);
  await realm.invite("u-1", ["VERIFY_EMAIL"], signal).catch(() => undefined);
  const all = await spans.all();
  const step = all.at(-1);
  expect(all.slice(0, -1)).toMatchObject(
    (
      [
        ["POST login", "keycloak", 200, false],
        ["GET find_users", "keycloak", 404, true],
        ["GET verify_key", "newapi", 404, true],
      ] as const
    ).map(([name, to, status, failed]) => ({
      name,
      kind: "client",
      trace: step?.trace,
      parent: step?.id,
      failed,
      attributes: {
        "unified_rbac.upstream": to,
        "http.request.method": name.split(" ")[0],
        "http.response.status_code": status,
        "server.address": "127.0.0.1",
        "server.port": Number(new URL(url).port),
      },
    })),
  );
  expect(named).toEqual([...all.slice(0, -1).map(({ trace, id }) => `00-${trace}-${id}-01`), undefined]);
  expect(JSON.stringify(all)).not.toMatch(/ada@|s3cret-value|admin-token|sk-1/);
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
