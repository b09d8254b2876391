/** The real API server calls the webhook with its client certificate; nobody else is answered, whatever they hold. */
import { afterAll, beforeAll, expect, it } from "vitest";

import { FINALIZER } from "../../src/api/meta.ts";
import { reviewOf } from "../support/admission.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { connectWebhook } from "../support/stackWebhook.ts";
import type { TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;
beforeAll(async () => {
  platform = await openPlatform();
  tenant = await platform.tenant("clients");
});
afterAll(() => platform?.close());

/** A forged review, past the API server, to the process itself. */
async function forge(holder: string | undefined, dryRun = false): Promise<boolean> {
  const client = await connectWebhook(platform, holder);
  try {
    const review = reviewOf({
      namespace: tenant.namespace,
      name: "forged",
      spec: { email: "forged@example.com" },
      dryRun,
    });
    return (await client.send("/validate", review)).answer.response.allowed;
  } finally {
    client.close();
  }
}

const REFUSED = /alert|hang up|ECONNRESET|EPIPE|disconnected/;

it("a manifest that the API server takes has come by the webhook", async () => {
  const before = await platform.admissions();
  await tenant.apply("ada");
  expect(await platform.admissions()).toBeGreaterThan(before);
  expect((await tenant.user("ada"))?.metadata.finalizers).toContain(FINALIZER);
});

it.each([
  ["without a certificate", undefined],
  ["with that of another client of the same CA", "kustomize-controller"],
])("a forged review %s is not answered, and leaves nothing", async (_what, holder) => {
  await expect(forge(holder)).rejects.toThrow(REFUSED);
  const { rowCount } = await platform.db.query(
    "select from user_provision_state where object_namespace = $1 and object_name = 'forged'",
    [tenant.namespace],
  );
  expect(rowCount).toBe(0);
});

it("with the API server's own it would be", async () => {
  expect(await forge("admission", true)).toBe(true);
});

it("the webhook's login to the database reads nobody", async () => {
  const { rows } = await platform.db.query<{ name: string; reads: boolean }>(
    `select distinct usename as name, has_table_privilege(usename, 'user_provision_state', 'select') as reads
     from pg_stat_activity where application_name in ('unified-rbac admission', 'unified-rbac tenants') and datname = current_database()`,
  );
  expect(rows).toEqual([{ name: "unified_rbac_webhook", reads: false }]);
});
