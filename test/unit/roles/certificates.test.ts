/** The webhook's certificate between the renewal and the cluster: each side's words in the other's. */
import { expect, test } from "vitest";
import type { WebhookConfig } from "../../../src/kube/webhookConfig.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { parseConfig } from "../../../src/lib/config.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { certificatePort } from "../../../src/roles/certificates.ts";
import { makeRenewer } from "../../../src/tls/renewer.ts";

const env = { DATABASE_URL: "postgres://u@localhost/d", NATS_URL: "nats://localhost", WEBHOOK_TLS_SECRET: "tls" };
const { webhookTLS } = parseConfig("reconciler", env);

test("what the renewal makes is stored under the Secret's keys, read back, and put into both configurations", async () => {
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
  const renewer = makeRenewer({
    port: certificatePort(api, webhookTLS),
    subject: { dnsNames: webhookTLS.dnsNames, ips: webhookTLS.ips },
    clock: systemClock,
    log: silentLog,
  });
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
