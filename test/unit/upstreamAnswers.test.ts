/** Whatever an upstream answers is classified: each schema of an answer with generated nonsense, through the client that reads it. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/lib/clock.ts";
import { isSagaError } from "../../src/lib/errors.ts";
import { Sensitive } from "../../src/lib/sensitive.ts";
import { makeRealm } from "../../src/keycloak/client.ts";
import { makeAdminV1Gateway } from "../../src/gateway/dialects/admin-v1/adminV1Gateway.ts";

let said: { status: number; body: string; location: string | undefined } = {
  status: 200,
  body: "",
  location: undefined,
};
const server = createServer((request, response) => {
  request.resume();
  const isLogin = request.url?.endsWith("/protocol/openid-connect/token") === true && said.status !== 599;
  const body = isLogin ? JSON.stringify({ access_token: "a.e30.c", expires_in: 60 }) : said.body;
  response.writeHead(isLogin ? 200 : said.status === 599 ? 200 : said.status, {
    "content-type": "application/json",
    ...(said.location === undefined ? {} : { location: said.location }),
  });
  response.end(body);
});
let url = "";
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const { signal } = new AbortController();
const CLASSES = new Set(["transient", "conflict", "terminal", "waiting"]);
const UUID = "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90";
const id = fc.oneof(
  fc.constantFrom<unknown>("..", ".", "", "a/b", "a\u0000", "x".repeat(200), 0, -1, 1.5, null, "kc-1", UUID, 7),
  fc.jsonValue({ depthSize: "small" }),
);
const user = fc.record(
  {
    id,
    username: fc.oneof(fc.constant("ada@example.com"), fc.string(), fc.jsonValue()),
    email: fc.oneof(fc.constant("ada@example.com"), fc.jsonValue()),
    attributes: fc.oneof(
      fc.constant({ sme_tenant_id: ["acme"], sme_user_uuid: [UUID] }),
      fc.jsonValue({ depthSize: "small" }),
    ),
  },
  { requiredKeys: [] },
);
const account = fc.record(
  {
    user_id: id,
    api_key: fc.oneof(fc.constant("sk-abcdefghijklmnop"), fc.jsonValue()),
    external_id: fc.oneof(fc.constant(UUID), fc.jsonValue()),
    tenant_id: fc.oneof(fc.constant("acme"), fc.jsonValue()),
  },
  { requiredKeys: [] },
);
const body = fc.oneof(
  fc.oneof(user, fc.array(user, { maxLength: 3 }), account, fc.jsonValue()).map((value) => JSON.stringify(value)),
  fc.string(),
  fc.constantFrom("", "<html>", "[", "null", "\u0000"),
);
const answers = fc.record({
  status: fc.constantFrom(200, 201, 204, 301, 302, 400, 401, 403, 404, 409, 422, 429, 500, 503, 599),
  body,
  location: fc.option(fc.constantFrom("..", "/users/..", "http://x/users/a%2fb", "/users/kc-1", "https://other/"), {
    nil: undefined,
  }),
});

const person = {
  uuid: UUID,
  tenantID: "acme",
  email: "ada@example.com",
  userID: undefined,
  enabled: true,
  keyVersion: "0",
  rotating: false,
  overlapping: false,
  masterKey: undefined,
};

const realm = () =>
  makeRealm({ url, realm: "acme", clientID: "rbac", clientSecret: new Sensitive("s"), clock: systemClock });
const gateway = () => makeAdminV1Gateway({ url, token: new Sensitive("t0ken"), clock: systemClock });

const CALLS: Readonly<Record<string, () => Promise<unknown>>> = {
  "finding a Keycloak user": () => realm().findUser(UUID, "acme", signal),
  "deleting a Keycloak user": () => realm().deleteUser(UUID, "acme", "kc-1", signal),
  "locking a Keycloak user": () => realm().setEnabled(UUID, "acme", "..", false, signal),
  "the realm's unmanaged users": () => realm().unmanagedUsers({ first: 0, allowedGroups: [] }, signal),
  "finding an account": () => gateway().find(person, signal),
  "creating an account": () =>
    gateway().ensure(
      { ...person, tier: "standard", quota: undefined, keycloakUserID: "kc-1", keycloakRealm: "acme" },
      signal,
    ),
  "rotating a key": () => gateway().rotate(person, "acc-1", signal),
  "locking an account": () => gateway().disable("acc-1", UUID, signal),
  "trying a key": () => gateway().verifyKey(new Sensitive("sk-abcdefghijklmnop"), signal),
  "the check of the gateway": () => gateway().check({ tiers: ["standard"] }, signal),
};

describe("whatever an upstream answers", () => {
  it.each(Object.entries(CALLS))(
    "is an answer or one of our four errors, for %s",
    async (_what, call) => {
      await fc.assert(
        fc.asyncProperty(answers, async (answer) => {
          said = answer;
          const failure = await call().then(
            () => undefined,
            (error: unknown) => error,
          );
          expect(failure === undefined || (isSagaError(failure) && CLASSES.has(failure.class))).toBe(true);
          const message = isSagaError(failure) ? failure.message : "";
          expect(message.isWellFormed() && !/\p{Cc}/u.test(message)).toBe(true);
        }),
        { numRuns: 60 },
      );
    },
    120_000,
  );
});
