import { createServer } from "node:https";
import { afterEach, expect, test } from "vitest";
import { generate } from "selfsigned";
import type { TenantAccess } from "../../../src/reconciler/access.ts";
import { makeProbe } from "../../../src/reconciler/probe.ts";
import { tenant } from "../../support/builders.ts";

const servers: ReturnType<typeof createServer>[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

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
    makeProbe({ all: () => [access as TenantAccess] })(origin, AbortSignal.timeout(10_000));
  expect(await probe(behind())).toBe(false);
  expect(await probe(behind(cert))).toBe(true);
  status = 503;
  expect(await probe(behind(cert))).toBe(false);
});
