/** A client that speaks past the API server to the webhook of a product on the stack. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { pkiFile } from "../../stack/pki.ts";
import { type WebhookClient, webhookClient } from "./admission.ts";
import type { Platform } from "./platform.ts";

const CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/unified-rbac";
const withClient = z.object({ webhooks: z.tuple([z.object({ clientConfig: z.object({ caBundle: z.string() }) })]) });

/** `holder`: whose certificate of the stack it shows; "admission" is the API server's own. Without one it shows none. */
export async function connectWebhook(platform: Platform, holder?: string): Promise<WebhookClient> {
  const { STACK_DIR: dir } = platform.env;
  const { body } = await platform.api.send("GET", CONFIGURATION);
  const { caBundle } = withClient.parse(body).webhooks[0].clientConfig;
  const pem = (ending: string): string => readFileSync(pkiFile(dir, `${holder}.${ending}`), "utf8");
  return webhookClient({
    port: Number(readFileSync(join(dir, "data", "product", "endpoints", platform.product.id), "utf8")),
    ca: Buffer.from(caBundle, "base64").toString("utf8"),
    servername: "unified-rbac-webhook.unified-rbac-system.svc",
    ...(holder === undefined ? {} : { certificate: { cert: pem("crt"), key: pem("key") } }),
  });
}
