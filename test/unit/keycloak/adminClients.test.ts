import { once } from "node:events";
import { createServer, type IncomingMessage, type Server as HttpServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type KeycloakAdminClient from "@keycloak/keycloak-admin-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeAdminClients, type Server } from "../../../src/keycloak/adminClients.ts";
import { Sensitive } from "../../../src/lib/sensitive.ts";

let keycloak: HttpServer;
let url: string;
let asked: IncomingMessage[] = [];

beforeAll(async () => {
  // Answers out of order, with the realm that was asked.
  keycloak = createServer((request, response) => {
    asked.push(request);
    const realm = request.url?.split("/")[3] ?? "";
    const answer = (): void => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify([{ id: realm, username: realm }]));
    };
    setTimeout(answer, (asked.length * 7) % 20);
  }).listen(0, "127.0.0.1");
  await once(keycloak, "listening");
  const address = keycloak.address();
  url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
});
afterAll(() => {
  keycloak.closeAllConnections();
  keycloak.close();
});

const realm = (name: string): Server => ({ url, realm: name, dispatcher: () => undefined });
const token = (name: string): Sensitive => new Sensitive(`token-of-${name}`);
const { signal } = new AbortController();

describe("clients that calls share", () => {
  it("carry each call's own realm, token and key, however many are under way", async () => {
    const clients = makeAdminClients();
    asked = [];
    await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        await sleep(n % 13);
        const name = `r${n % 7}`;
        const headers = { "X-Idempotency-Key": name };
        const found = await clients.lend(realm(name), token(name), { signal, headers }, (client) =>
          client.users.find({ max: 1 }),
        );
        expect(found).toEqual([{ id: name, username: name }]);
      }),
    );
    expect(asked).toHaveLength(200);
    for (const { url: path = "", headers } of asked) {
      const name = path.split("/")[3] ?? "";
      expect(headers.authorization).toBe(`Bearer token-of-${name}`);
      expect(headers["x-idempotency-key"]).toBe(name);
    }
  });

  it("are lent again when a call is over, and not before", async () => {
    const clients = makeAdminClients();
    const lent = (more: () => Promise<unknown> = () => Promise.resolve()) =>
      clients.lend(realm("a"), token("a"), { signal }, async (client) => {
        await more();
        return client;
      });
    const first = await lent();
    expect(await lent()).toBe(first);
    let second: KeycloakAdminClient | undefined;
    expect(await lent(async () => (second = await lent()))).toBe(first);
    expect(second).not.toBe(first);
  });

  it("are given back by a call that fails, and by one that is cut", async () => {
    const clients = makeAdminClients();
    const used: KeycloakAdminClient[] = [];
    const failing = clients.lend(realm("a"), token("a"), { signal }, (client) => {
      used.push(client);
      return Promise.reject(new Error("refused"));
    });
    await expect(failing).rejects.toThrow("refused");
    const cut = AbortSignal.timeout(1);
    const call = clients.lend(realm("a"), token("a"), { signal: cut }, async (client) => {
      used.push(client);
      await sleep(20);
      return client.users.find();
    });
    await expect(call).rejects.toThrow("timeout");
    await clients.lend(realm("b"), token("b"), { signal }, async (client) => {
      used.push(client);
      expect(await client.users.find()).toEqual([{ id: "b", username: "b" }]);
    });
    expect(new Set(used).size).toBe(1);
  });

  it("keep nobody's token when a call is over", async () => {
    const clients = makeAdminClients();
    const client = await clients.lend(realm("a"), token("a"), { signal }, (own) => Promise.resolve(own));
    await expect(client.getAccessToken()).rejects.toThrow("outlived");
    expect(client.getRequestOptions()).toEqual({});
  });
});
