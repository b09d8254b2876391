/** The webhook's certificate between the renewal, the cluster and the webhook of the same Pod. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { WebhookConfig } from "../../../src/kube/webhookConfig.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { parseConfig } from "../../../src/lib/config.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { composeRenewer } from "../../../src/roles/certificates.ts";
import { makeTLSFiles } from "../../../src/tls/files.ts";

const env = { DATABASE_URL: "postgres://u@localhost/d", NATS_URL: "nats://localhost", WEBHOOK_TLS_SECRET: "tls" };

/** The cluster, and a renewer that knows it. */
function start(variables: Readonly<Record<string, string>> = {}) {
  const { webhookTLS } = parseConfig("reconciler", { ...env, ...variables });
  const stored = new Map<string, { readonly [name: string]: string }>();
  const bundles: unknown[] = [];
  const api: WebhookConfig = {
    getTLSSecret: (name) => {
      const data = stored.get(name);
      return Promise.resolve(
        data && { metadata: { name, namespace: "operator", uid: "u", resourceVersion: "1" }, data },
      );
    },
    putTLSSecret: (name, current, data) => {
      const encoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")] as const);
      stored.set(name, Object.fromEntries(encoded));
      return Promise.resolve({ metadata: { name, namespace: "operator", uid: current?.metadata.uid ?? "u" } });
    },
    setCABundle: (names, ca) => {
      bundles.push([names, ca]);
      return Promise.resolve([]);
    },
  };
  const renewer = composeRenewer({ api, config: webhookTLS, clock: systemClock, log: silentLog });
  return { stored, bundles, renewer };
}

test("what the renewal makes is stored under the Secret's keys, read back, and put into both configurations", async () => {
  const { stored, bundles, renewer } = start();
  const signal = AbortSignal.timeout(30_000);
  expect(await renewer.renew(signal)).toBe("renewed");
  const { "tls.crt": cert = "", "tls.key": key = "", "ca.crt": ca = "" } = stored.get("tls") ?? {};
  const decoded = [cert, key, ca].map((text) => Buffer.from(text, "base64").toString());
  expect(decoded.map((text) => /-----BEGIN ([A-Z ]+)-----/.exec(text)?.[1])).toEqual([
    "CERTIFICATE",
    expect.stringContaining("PRIVATE KEY"),
    "CERTIFICATE",
  ]);
  expect(bundles.at(-1)).toEqual([{ mutating: "unified-rbac", validating: "unified-rbac" }, decoded[2]]);
  expect(await renewer.renew(signal)).toBe("kept");
  // Until it is renewed, or nobody listens.
  expect(renewer.allowedMs).toBeGreaterThan(60_000);
});

test("what the reconciler makes reaches the webhook beside it without the Secret's volume", async () => {
  const folder = mkdtempSync(join(tmpdir(), "handover-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const handover = join(folder, "tls-handover");
  const variables = { TLS_DIR: join(folder, "mounted"), TLS_HANDOVER_DIR: handover };
  const { tlsDirs } = parseConfig("webhook", { ...env, ...variables });
  const served: string[] = [];
  const files = makeTLSFiles({ directories: tlsDirs, clock: systemClock, log: silentLog, pollMs: 10 });
  files.subscribe(({ cert }) => served.push(cert));
  await files.start();
  onTestFinished(() => files.stop());

  const { stored, renewer } = start(variables);
  expect(await renewer.renew(AbortSignal.timeout(30_000))).toBe("renewed");
  await expect.poll(() => served).toHaveLength(1);
  expect(Buffer.from(stored.get("tls")?.["tls.crt"] ?? "", "base64").toString()).toBe(served[0]);
});

test("a folder that cannot be written keeps nobody from renewing", async () => {
  const { stored, renewer } = start({ TLS_HANDOVER_DIR: "/proc/no/such/folder" });
  expect(await renewer.renew(AbortSignal.timeout(30_000))).toBe("renewed");
  expect(stored.size).toBe(1);
  expect(await renewer.renew(AbortSignal.timeout(30_000))).toBe("kept");
});
