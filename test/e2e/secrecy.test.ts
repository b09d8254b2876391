/** No secret is anywhere but where it belongs: not after good days, and not after upstreams that say too much. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";

import { collectionPath } from "../../src/kube/objects.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("secrecy");
});
afterAll(() => platform?.close());

/** Everything that the product has written, by where it stands. */
async function everythingWritten(uuids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const { env, db, api, product } = platform;
  const written = new Map<string, string>();
  const logs = join(env.STACK_DIR, "logs");
  for (const file of readdirSync(logs)) {
    if (file.startsWith("product-")) written.set(file, readFileSync(join(logs, file), "utf8"));
  }
  const tables = await db.query<{ name: string }>(
    "select quote_ident(tablename) as name from pg_tables where schemaname = 'public'",
  );
  for (const { name } of tables.rows) {
    const { rows } = await db.query<{ text: string }>(`select t::text as text from ${name} t`);
    written.set(`table ${name}`, rows.map(({ text }) => text).join("\n"));
  }
  for (const path of [
    "/apis/events.k8s.io/v1/events",
    collectionPath("TenantUser"),
    collectionPath("Tenant"),
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
  ]) {
    written.set(path, JSON.stringify((await api.send("GET", path)).body));
  }
  for (const role of ["webhook", "reconciler"] as const) {
    written.set(`metrics of the ${role}`, await (await fetch(`${product.process(role).opsURL}/metrics`)).text());
  }
  const events = await Promise.all(uuids.map((uuid) => platform.events(uuid)));
  written.set("events on NATS", JSON.stringify(events));
  return written;
}

describe("API keys, the admin's token, client secrets and passwords", () => {
  it("are in no log, no Event, no status, no metric, no event and no table", async () => {
    const { env, gateway } = platform;
    const keys: string[] = [];

    // A person who comes, whose key is rotated, whose Secret is changed by hand.
    await tenant.apply("ada");
    const ada = await tenant.person("ada");
    keys.push(ada.apiKey);
    await tenant.apply("ada", { key: { generation: 1 } });
    const rotated = await soon(async () => {
      const now = await tenant.person("ada");
      assert.notEqual(now.apiKey, ada.apiKey);
      return now;
    });
    keys.push(rotated.apiKey);

    // A gateway that repeats in its errors what it was told, and more.
    const babble = `you sent Bearer ${env.NEWAPI_ADMIN_TOKEN}; {"api_key":"${rotated.apiKey}"}`;
    for (const [name, status] of [
      ["unlucky", 500],
      ["refused", 422],
    ] as const) {
      const body = { error: { message: babble }, api_key: rotated.apiKey };
      const fault = await gateway.fault({
        match: { method: "POST", path: "/api/v1/admin/users$" },
        count: 1,
        action: { status, body },
      });
      await tenant.apply(name);
      if (status === 422) await tenant.says(name, "Stalled", "True", "RequestRefused");
      else await tenant.ready(name);
      await gateway.heal(fault);
      expect((await tenant.user(name))?.status?.lastError?.upstreamStatus).toBe(status);
    }
    keys.push((await tenant.person("unlucky")).apiKey);

    // A person who goes.
    await tenant.remove("unlucky");
    await tenant.gone("unlucky");

    const passwords = [env.DATABASE_URL, env.POSTGRES_URL].map((url) => new URL(url).password);
    const plain = [...keys, env.NEWAPI_ADMIN_TOKEN, tenant.realm.clientSecret, ...passwords];
    const secrets = plain.flatMap((secret) => [secret, Buffer.from(secret).toString("base64").replace(/=+$/, "")]);
    const found: string[] = [];
    const written = await everythingWritten([ada.uuid]);
    // The search looks where something is.
    for (const where of ["product-a-reconciler.log", "table user_provision_state", "table audit", "events on NATS"]) {
      expect(written.get(where)).toContain(ada.uuid);
    }
    for (const [where, text] of written) {
      for (const secret of secrets) if (text.includes(secret)) found.push(`${where}: ${excerpt(text, secret)}`);
      // Whatever looks like a key or a token of anybody, from whatever test before this one.
      for (const [like] of text.matchAll(/sk-[\w-]{40,}|eyJ[\w-]{16,}\.eyJ[\w-]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY/g)) {
        found.push(`${where}: ${excerpt(text, like)}`);
      }
    }
    expect(found).toEqual([]);
    // And it would find what is there.
    const own = await platform.api.send("GET", `/api/v1/namespaces/${tenant.namespace}/secrets/${rotated.secretName}`);
    const { data } = z.object({ data: z.record(z.string(), z.string()) }).parse(own.body);
    expect(secrets).toContain(data["api-key"]?.replace(/=+$/, ""));
  });
});

/** Enough around it to see who wrote it, and nothing of the secret itself. */
function excerpt(text: string, secret: string): string {
  const at = text.indexOf(secret);
  return `${text.slice(Math.max(0, at - 120), at)}<${secret.length} characters>`;
}
