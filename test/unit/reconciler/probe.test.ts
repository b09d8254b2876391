import { createServer } from "node:https";
import { afterEach, expect, test } from "vitest";
import { generate } from "selfsigned";
import type { TenantAccess } from "../../../src/reconciler/access.ts";
import { makeTrust } from "../../../src/keycloak/trust.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { makeProbe } from "../../../src/reconciler/probe.ts";
import { tenant } from "../../support/builders.ts";

const servers: ReturnType<typeof createServer>[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

const trust = makeTrust(systemClock);

test("behind a tenant's own certificate authority, one that is back is seen to be back", async () => {
  const { cert, private: key } = await generate([{ name: "commonName", value: "127.0.0.1" }], {
    keySize: 2048,
    extensions: [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }],
  });
  let status = 200;
  const server = createServer({ cert, key }, (_request, response) => response.writeHead(status).end());
  servers.push(server);
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const origin = `https://127.0.0.1:${port}`;
  const behind = (caBundle?: string): Partial<TenantAccess> => ({
    spec: tenant({
      keycloak: { url: `${origin}/auth`, realm: "acme", credentialsSecretName: "k", ...(caBundle && { caBundle }) },
    }),
  });
  const probe = (access: Partial<TenantAccess>) =>
    makeProbe({ all: () => [access as TenantAccess] }, trust)(origin, AbortSignal.timeout(10_000));
  expect(await probe(behind())).toBe(false);
  expect(await probe(behind(cert))).toBe(true);
  status = 503;
  expect(await probe(behind(cert))).toBe(false);
});

test("a bundle that was replaced leaves no dispatcher behind, and one for all who trust the same", async () => {
  const { cert: first } = await generate([{ name: "commonName", value: "first" }], { keyType: "ec" });
  const { cert: second } = await generate([{ name: "commonName", value: "second" }], { keyType: "ec" });
  let now = 0;
  const held = makeTrust({ now: () => now });
  const before = held.dispatcherFor(first);
  expect(held.dispatcherFor(first)).toBe(before);
  held.dispatcherFor(second);
  expect(held.size()).toBe(2);
  now += 11 * 60_000;
  held.dispatcherFor(second);
  expect(held.size()).toBe(1);
  await expect(fetch("https://127.0.0.1:9443/", { dispatcher: before })).rejects.toMatchObject({
    cause: { code: expect.stringMatching(/^UND_ERR_(CLOSED|DESTROYED)$/) },
  });
});
