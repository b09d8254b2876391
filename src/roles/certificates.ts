import type { WebhookConfig } from "../kube/webhookConfig.ts";
import type { SecretObject } from "../kube/cluster.ts";
import type { WebhookTLSConfig } from "../lib/config.ts";
import type { CertificatePort } from "../tls/renewer.ts";

/** Joins the certificate's renewal to the cluster: neither side knows the other. */
export function certificatePort(api: WebhookConfig, names: WebhookTLSConfig): CertificatePort<SecretObject> {
  return {
    async readSecret(signal) {
      const stored = await api.getTLSSecret(names.secretName, signal);
      if (stored === undefined) return undefined;
      const entry = (name: string): string => Buffer.from(stored.data?.[name] ?? "", "base64").toString("utf8");
      return { stored, set: { cert: entry("tls.crt"), key: entry("tls.key"), ca: entry("ca.crt") } };
    },
    writeSecret: (set, stored, signal) =>
      api.putTLSSecret(names.secretName, stored, { "tls.crt": set.cert, "tls.key": set.key, "ca.crt": set.ca }, signal),
    setCABundle: (ca, signal) =>
      api.setCABundle({ mutating: names.configurationName, validating: names.configurationName }, ca, signal),
  };
}
