import { once } from "node:events";
import { createServer } from "node:http";
import { inspect } from "node:util";

import { afterEach, describe, expect, test } from "vitest";

import { systemClock } from "../../../src/lib/clock.ts";
import { Sensitive } from "../../../src/lib/sensitive.ts";
import { makeAdminV1Gateway } from "../../../src/gateway/dialects/admin-v1/adminV1Gateway.ts";
import type { AccountHolder } from "../../../src/gateway/gateway.ts";

const never = new AbortController().signal;
const UUID = "7f1e9a52-6c1f-5f0e-9d3b-2f6f0c1f7a11";
const ADA: AccountHolder = {
  uuid: UUID,
  tenantID: "acme",
  email: "ada@acme.example",
  userID: undefined,
  enabled: true,
  keyVersion: "0",
  rotating: false,
  overlapping: false,
  masterKey: undefined,
};

interface Seen {
  readonly line: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

let cleanUp: (() => void) | undefined;
afterEach(() => cleanUp?.());

/** A server that writes down what it is asked and knows nobody, or one account. */
async function recorder(known?: { readonly external_id: string; readonly user_id: string }) {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      seen.push({ line: `${request.method} ${request.url}`, headers: request.headers, body });
      const isKnown = known !== undefined && request.url?.endsWith(`external_id=${known.external_id}`) === true;
      response.writeHead(isKnown ? 200 : 404, { "content-type": "application/json" });
      response.end(JSON.stringify(isKnown ? known : {}));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUp = () => {
    server.close();
    server.closeAllConnections();
  };
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { url: `http://127.0.0.1:${address.port}`, seen };
}

const gatewayAt = (url: string, token = "t0ken") =>
  makeAdminV1Gateway({ url, token: new Sensitive(token), clock: systemClock });

describe("the admin-v1 client", () => {
  test.each(["", "/", "/gw", "/gw/", "/gw//"])("keeps the path prefix of a base URL that ends with %j", async (end) => {
    const { url, seen } = await recorder({ external_id: UUID, user_id: "usr_1" });
    const gateway = gatewayAt(url + end);
    const prefix = end.replace(/\/+$/, "");
    await gateway.check({ tiers: [] }, never);
    await gateway.disable("usr_1", UUID, never);
    await gateway.verifyKey(new Sensitive("sk-abcdef"), never).catch(() => "transient");
    expect(seen.map(({ line }) => line)).toEqual([
      `GET ${prefix}/api/v1/admin/users?external_id=00000000-0000-0000-0000-000000000000`,
      `GET ${prefix}/api/v1/admin/users?external_id=${UUID}`,
      `POST ${prefix}/api/v1/admin/users/usr_1/disable`,
      `GET ${prefix}/v1/models`,
    ]);
  });

  test("sends the create of the contract, with the uuid as idempotency key", async () => {
    const { url, seen } = await recorder();
    const request = { ...ADA, tier: "standard", quota: undefined, keycloakUserID: "kc-1", keycloakRealm: "acme" };
    await expect(gatewayAt(url).ensure(request, never)).rejects.toThrow("404");
    expect(seen[0]?.line).toBe("POST /api/v1/admin/users");
    expect(seen[0]?.headers).toMatchObject({
      authorization: "Bearer t0ken",
      "content-type": "application/json",
      "x-idempotency-key": UUID,
    });
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual({
      external_id: UUID,
      email: "ada@acme.example",
      tenant_id: "acme",
      tier: "standard",
      metadata: { kc_user_id: "kc-1", kc_realm: "acme" },
    });
  });

  test("encodes what it puts into a query or a path", async () => {
    const { url, seen } = await recorder({ external_id: UUID, user_id: "a:b@c&d=e" });
    await gatewayAt(url).find({ ...ADA, uuid: "a&b=c/d#e" }, never);
    await gatewayAt(url).enable("a:b@c&d=e", UUID, never);
    expect(seen.map(({ line }) => line)).toEqual([
      "GET /api/v1/admin/users?external_id=a%26b%3Dc%2Fd%23e",
      `GET /api/v1/admin/users?external_id=${UUID}`,
      "POST /api/v1/admin/users/a%3Ab%40c%26d%3De/enable",
    ]);
  });

  test.each(["disable", "enable"] as const)("%ss nobody else where the id on record was given again", async (verb) => {
    const moved = await recorder({ external_id: UUID, user_id: "usr_9" });
    await gatewayAt(moved.url)[verb]("usr_1", UUID, never);
    expect(moved.seen.map(({ line }) => line).filter((line) => line.startsWith("POST"))).toEqual([
      `POST /api/v1/admin/users/usr_9/${verb}`,
    ]);
    cleanUp?.();
    const { url, seen } = await recorder();
    expect(await gatewayAt(url)[verb]("usr_1", UUID, never)).toBe(false);
    expect(seen.filter(({ line }) => line.startsWith("POST"))).toEqual([]);
  });

  test.each(["", ".", "..", "a/b", "../../v1", "a\\b", "a b?c#d%2f", "a\u0000", "a".repeat(129)])(
    "never calls with the user id %j",
    async (userID) => {
      const { url, seen } = await recorder();
      const gateway = gatewayAt(url);
      for (const attempt of [
        () => gateway.rotate(ADA, userID, never),
        () => gateway.disable(userID, UUID, never),
        () => gateway.enable(userID, UUID, never),
      ]) {
        await expect(attempt()).rejects.toMatchObject({ class: "terminal", code: "RequestRefused" });
      }
      expect(seen).toEqual([]);
    },
  );

  test("sends no idempotency key where a replayed answer would undo a later change", async () => {
    const { url, seen } = await recorder({ external_id: UUID, user_id: "usr_1" });
    const gateway = gatewayAt(url);
    await gateway.disable("usr_1", UUID, never);
    await gateway.enable("usr_1", UUID, never);
    await gateway.rotate(ADA, "usr_1", never).catch(() => "gone");
    expect(seen.filter(({ line }) => line.startsWith("POST"))).toHaveLength(3);
    for (const { headers } of seen) expect(headers).not.toHaveProperty("x-idempotency-key");
  });

  test.each(["", "secret-token\n", "secret token"])("says so instead of sending the admin token %j", async (token) => {
    const { url, seen } = await recorder();
    const error: unknown = await gatewayAt(url, token)
      .check({ tiers: [] }, never)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ class: "terminal", code: "CredentialsRefused" });
    expect(inspect(error, { depth: 10 })).not.toMatch(/secret.token/);
    expect(seen).toEqual([]);
  });

  test("cannot change tier, quota or email, nor keep an old key", () => {
    const { capabilities } = gatewayAt("http://127.0.0.1:1");
    expect(capabilities).toEqual({ tier: false, quota: false, overlap: false, email: false, keyIsFree: true });
  });
});
