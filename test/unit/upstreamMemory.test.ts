/** An upstream that gives as much as it may, page after page: nothing of it is kept but what somebody asked about. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Worker } from "node:worker_threads";
import { afterEach, expect, it } from "vitest";

const closing: (() => void)[] = [];
afterEach(() => closing.splice(0).forEach((close) => close()));

/** Answers each call with what `say` gives, as JSON. */
async function upstream(say: (url: URL) => unknown): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(say(new URL(request.url ?? "/", "http://upstream"))));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function askedInSmallHeap(url: string, what: string): Promise<unknown> {
  const worker = new Worker(new URL("../support/smallHeap.worker.ts", import.meta.url), {
    workerData: { url, what },
    resourceLimits: { maxOldGenerationSizeMb: 72 },
  });
  closing.push(() => void worker.terminate());
  const [said]: unknown[] = await once(worker, "message");
  return said;
}

const number = (url: URL, name: string): number => Number(url.searchParams.get(name) ?? "0");
const PROFILE = { unmanagedAttributePolicy: "ADMIN_EDIT" };
const TOKEN = { access_token: "a.e30.c", expires_in: 60 };
const group = (name: string) => ({ id: name, name, path: `/${name}` });

function keycloak(say: (path: string, url: URL) => unknown) {
  return upstream((url) => {
    const path = url.pathname.replace("/admin/realms/acme", "").replace(/\/$/, "");
    if (path.endsWith("/token")) return TOKEN;
    if (path.endsWith("/users/profile")) return PROFILE;
    if (path === "") return { realm: "acme" };
    if (path === "/groups") return [group(url.searchParams.get("search") ?? "")];
    if (path === "/clients") return [{ id: "rm", clientId: "realm-management" }];
    return say(path, url);
  });
}

it("a realm of many large users with a mark of ours", async () => {
  const page = (first: number, size: number) =>
    Array.from({ length: first < 6_000 ? 200 : 0 }, (_user, n) => ({
      id: `u${first + n}`,
      username: "u",
      attributes: { sme_tenant_id: ["acme"], sme_user_uuid: [`${first + n}`], much: ["x".repeat(size)] },
    }));
  const url = await keycloak((path, asked) => page(number(asked, "first"), path.startsWith("/users") ? 16_000 : 10));
  expect(await askedInSmallHeap(url, "users")).toBe("done");
});

it("a role with more roles in it, and more in each of them", async () => {
  let made = 0;
  const role = () => ({ id: `r${(made += 1)}`, name: "x".repeat(60), composite: true });
  const marks = { sme_tenant_id: ["acme"], sme_user_uuid: ["0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90"] };
  const user = {
    id: "u",
    username: "u",
    email: "ada@example.com",
    emailVerified: true,
    enabled: true,
    attributes: marks,
  };
  const url = await keycloak((path) => {
    if (path === "/users") return [user];
    if (path === "/roles/r") return role();
    return path.startsWith("/roles-by-id") ? Array.from({ length: 9_000 }, role) : [];
  });
  expect(await askedInSmallHeap(url, "roles")).toContain("contains more than 5000 roles");
});

it("a gateway of many large accounts", async () => {
  const account = (id: number) => ({
    id,
    username: `u${id}`,
    display_name: "x".repeat(900),
    role: 1,
    status: 1,
    group: "x".repeat(900),
    quota: 0,
    used_quota: 0,
    remark: "x".repeat(2_000),
  });
  const url = await upstream((asked) => ({
    success: true,
    data: {
      total: 3_000,
      items: Array.from({ length: 1_000 }, (_item, n) => account(3 + 1_000 * number(asked, "p") + n)),
    },
  }));
  expect(await askedInSmallHeap(url, "accounts")).toBe("done");
});
