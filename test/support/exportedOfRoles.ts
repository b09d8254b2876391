/** What both roles answer at /metrics right after their start, with every dependency down. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "vitest";
import { parseConfig } from "../../src/lib/config.ts";
import { silentLog } from "../../src/lib/log.ts";
import { runReconciler } from "../../src/roles/reconciler.ts";
import { runWebhook } from "../../src/roles/webhook.ts";
import { makeCertificates } from "../../src/tls/authority.ts";
import { exportedIn, type Exported } from "./promql.ts";
import { soon } from "./soon.ts";
import { freePort, type RunningRole, startRole } from "./role.ts";

export async function exportedOfRoles(): Promise<Exported> {
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-roles-"));
  const nobody = await freePort();
  const DATABASE_URL = `postgres://nobody@127.0.0.1:${nobody}/none`;
  const { cert, key } = await makeCertificates({ dnsNames: ["localhost"], ips: [] }, { now: Date.now() });
  writeFileSync(join(folder, "tls.crt"), cert);
  writeFileSync(join(folder, "tls.key"), key);
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "c", cluster: { server: `https://127.0.0.1:${nobody}` } }],
      users: [{ name: "u", user: { token: "t" } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
  const [listen, webhookOps, reconcilerOps] = [await freePort(), await freePort(), await freePort()];
  const roles = [
    startRole(webhookOps, (lifecycle) =>
      runWebhook(
        parseConfig("webhook", {
          DATABASE_URL,
          WEBHOOK_ADDRESS: `127.0.0.1:${listen}`,
          OPS_ADDRESS: `127.0.0.1:${webhookOps}`,
          TLS_DIR: folder,
          SHUTDOWN_DELAY_SECONDS: "0",
        }),
        silentLog,
        lifecycle,
      ),
    ),
    startRole(reconcilerOps, (lifecycle) =>
      runReconciler(
        parseConfig("reconciler", {
          DATABASE_URL,
          NATS_URL: `nats://127.0.0.1:${nobody}`,
          KUBECONFIG: kubeconfig,
          OPS_ADDRESS: `127.0.0.1:${reconcilerOps}`,
        }),
        silentLog,
        lifecycle,
      ),
    ),
  ];
  try {
    // The certificate's expiry comes with the certificate; everything else is there from the start.
    const read = (role: RunningRole) => role.get("/metrics").then(({ text }) => text);
    await soon(async () => {
      const text = await read(roles[0] as RunningRole);
      assert(text.includes("unified_rbac_certificate_expiry_timestamp_seconds{"), "there is no certificate yet");
    });
    return exportedIn(...(await Promise.all(roles.map(read))));
  } finally {
    await Promise.all(roles.map((role) => role.stop()));
    rmSync(folder, { recursive: true });
  }
}
