import type { WebhookConfig } from "../kube/webhookConfig.ts";
import type { SecretObject } from "../kube/cluster.ts";
import type { Clock } from "../lib/clock.ts";
import type { WebhookTLSConfig } from "../lib/config.ts";
import type { Log } from "../lib/log.ts";
import { makeHandover } from "../tls/handover.ts";
import { makeRenewer, type Renewer } from "../tls/renewer.ts";

/** Joins the certificate's renewal to the cluster and to the webhook of the same Pod: none of them knows the others. */
export function composeRenewer(deps: {
  readonly api: WebhookConfig;
  readonly config: WebhookTLSConfig;
  readonly clock: Clock;
  readonly log: Log;
}): Renewer {
  const { api, config, clock, log } = deps;
  return makeRenewer<SecretObject>({
    port: {
      async readSecret(signal) {
        const stored = await api.getTLSSecret(config.secretName, signal);
        if (stored === undefined) return undefined;
        const entry = (name: string): string => Buffer.from(stored.data?.[name] ?? "", "base64").toString("utf8");
        return { stored, set: { cert: entry("tls.crt"), key: entry("tls.key"), ca: entry("ca.crt") } };
      },
      writeSecret: (set, stored, signal) =>
        api.putTLSSecret(
          config.secretName,
          stored,
          { "tls.crt": set.cert, "tls.key": set.key, "ca.crt": set.ca },
          signal,
        ),
      setCABundle: (ca, signal) =>
        api.setCABundle({ mutating: config.configurationName, validating: config.configurationName }, ca, signal),
      handOver: makeHandover({ directory: config.handoverDir, log }),
    },
    subject: { dnsNames: config.dnsNames, ips: config.ips },
    clock,
    log,
  });
}
