/** The webhook as it is composed, on a real Postgres: what a review says is recorded, and shows in its pages. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { candidateUUID } from "../../../src/api/names.ts";
import { parseConfig } from "../../../src/lib/config.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { runWebhook } from "../../../src/roles/webhook.ts";
import { makePool } from "../../../src/store/pool.ts";
import { loadSaga } from "../../../src/store/sagas.ts";
import { tenantStore } from "../../../src/store/tenants.ts";
import { makeCertificates } from "../../../src/tls/authority.ts";
import { writePair } from "../../../src/tls/folder.ts";
import { reviewOf, webhookClient } from "../../support/admission.ts";
import { freshDatabase } from "../../support/postgres.ts";
import { freePort, startRole } from "../../support/role.ts";
import { tenantSpecOf } from "../../support/tenantSpec.ts";

const SOON = { timeout: 20_000, interval: 50 };
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

test("a review is answered by the Tenants in Postgres, recorded there, and counted", async () => {
  const database = await freshDatabase();
  cleanups.push(() => database.drop());
  const pool = makePool({ url: database.url, max: 2, applicationName: "test" });
  cleanups.push(() => pool.end());
  const directory = mkdtempSync(join(tmpdir(), "webhook-"));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  const [port, ops] = [await freePort(), await freePort()];
  const env = {
    DATABASE_URL: database.url,
    WEBHOOK_ADDRESS: `127.0.0.1:${port}`,
    OPS_ADDRESS: `127.0.0.1:${ops}`,
    TLS_DIR: join(directory, "mounted"),
    TLS_HANDOVER_DIR: join(directory, "handover"),
    SHUTDOWN_DELAY_SECONDS: "0",
  };
  const role = startRole(ops, (lifecycle) => runWebhook(parseConfig("webhook", env), silentLog, lifecycle));
  cleanups.push(() => role.stop());
  // Nothing is promised before the certificate is there.
  await expect.poll(() => role.get("/readyz").catch(() => undefined), SOON).toMatchObject({ status: 503 });
  const { cert, key, ca } = await makeCertificates({ dnsNames: ["localhost"], ips: [] }, { now: Date.now() });
  // By the reconciler of the same Pod: the kubelet would deliver the Secret later.
  await writePair(env.TLS_HANDOVER_DIR, { cert, key });
  await expect.poll(() => role.get("/readyz"), SOON).toMatchObject({ status: 200, text: "[+] admission\n" });

  // As the reconciler mirrors them, while the webhook runs.
  const accepted = tenantSpecOf("acme", { namespaces: ["tenant-a"] });
  const store = tenantStore(pool);
  await store.mirrorTenant({
    tenantID: "acme",
    objectUID: "0b000000-0000-4000-8000-000000000001",
    name: "acme",
    createdAt: "2026-05-01T12:00:00Z",
    accepted,
    revision: "r1",
    ready: true,
    problems: [],
  });
  await store.grantNamespaces("acme", ["tenant-a"]);
  const client = webhookClient({ port, ca });
  cleanups.push(() => client.close());
  const recorded = () => loadSaga(pool, candidateUUID("acme", "ada@example.com"));
  await expect
    .poll(async () => {
      await client.send("/validate", reviewOf());
      return recorded();
    }, SOON)
    .toMatchObject({ email: "ada@example.com", confirmed: false });
  const { text } = await role.get("/metrics");
  expect(text).toMatch(
    /unified_rbac_admission_requests_total\{webhook="validate",operation="create",outcome="\w+",dry_run="false",role="webhook"\} [1-9]/,
  );
  expect(text).toMatch(/unified_rbac_certificate_expiry_timestamp_seconds\{role="webhook"\} [1-9]/);
  expect(await role.stop()).toBe(0);
});
