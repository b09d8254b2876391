/** A Keycloak that gives ids which would be another path: nothing is ever asked for, changed or deleted by them. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { makeRealm } from "../../../src/keycloak/client.ts";
import { isSagaError } from "../../../src/lib/errors.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { Sensitive } from "../../../src/lib/sensitive.ts";

const UUID = "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90";
const closing: (() => void)[] = [];
afterEach(() => closing.splice(0).forEach((close) => close()));

async function keycloakWith(id: unknown) {
  const seen: string[] = [];
  const user = {
    id,
    username: "ada@example.com",
    email: "ada@example.com",
    emailVerified: true,
    enabled: true,
    attributes: { sme_tenant_id: ["acme"], sme_user_uuid: [UUID] },
  };
  const server = createServer((request, response) => {
    request.resume();
    const { method = "", url = "" } = request;
    response.setHeader("content-type", "application/json");
    if (url.endsWith("/token")) return response.end(JSON.stringify({ access_token: "a.e30.c", expires_in: 60 }));
    seen.push(`${method} ${url}`);
    return response.end(JSON.stringify(/\/users\/?\?/.test(url) ? [user] : user));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const realm = makeRealm({
    url,
    realm: "acme",
    clientID: "rbac",
    clientSecret: new Sensitive("s"),
    clock: systemClock,
  });
  return { seen, realm };
}

it.each(["..", ".", "", "../../realms/other", "a\u0000b", "a?b", "x".repeat(200), 7, null])(
  "never by the id %j",
  async (id) => {
    const { seen, realm } = await keycloakWith(id);
    const { signal } = new AbortController();
    const hint = typeof id === "string" ? id : "..";
    for (const act of [
      () => realm.deleteUser(UUID, "acme", hint, signal),
      () => realm.setEnabled(UUID, "acme", hint, false, signal),
      () => realm.invite(hint, ["UPDATE_PASSWORD"], signal),
    ]) {
      const failure: unknown = await act().then(
        () => "it was done",
        (error: unknown) => error,
      );
      expect(isSagaError(failure)).toBe(true);
    }
    // Searches only: nothing is written, and nothing is read by that id.
    expect(seen.filter((line) => !/^GET \/admin\/realms\/acme\/users\/?\?/.test(line))).toEqual([]);
  },
);
