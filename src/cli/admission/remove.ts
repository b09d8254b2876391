/** `admission remove`: both webhook configurations go. */
import { type ClusterChoice, connectCluster } from "../cluster.ts";

const NAME = "unified-rbac";
const RESOURCES = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] as const;

/** Says what was removed; that one is gone already is no failure. Throws a CommandFailure. */
export async function removeWebhooks(choice: ClusterChoice, signal: AbortSignal): Promise<string> {
  const cluster = await connectCluster(choice, signal);
  try {
    for (const resource of RESOURCES) {
      await cluster.remove(`/apis/admissionregistration.k8s.io/v1/${resource}/${NAME}`);
    }
    return "The webhook configurations are gone. TenantUsers are admitted without the webhook.\n";
  } finally {
    cluster.close();
  }
}
