/** A webhook certificate that is due for renewal soon, in the place of the one that the product has made. */
import { connect } from "node:tls";
import { assert } from "vitest";
import * as z from "zod";

import { OPERATOR_NAMESPACE } from "../../src/api/meta.ts";
import { makeCertificates } from "../../src/tls/authority.ts";
import { DEPLOYMENT } from "../../stack/cluster/install.ts";
import { applyText } from "../../stack/kube.ts";
import type { Pod, Pods } from "./pods.ts";
import { soon } from "./soon.ts";

const SECRET = "unified-rbac-webhook-tls";
const NAME = `unified-rbac-webhook.${OPERATOR_NAMESPACE}.svc`;
/** Certificates are dated an hour back. */
const BACKDATE_MS = 3_600_000;

/** Puts it there, and waits until Pods that began with it run and the API server trusts it. Gives its PEM. */
export async function beginWithAgedCertificate(pods: Pods, renewInMs: number): Promise<string> {
  // It is renewed at two thirds of its life.
  const lifetimeMs = (BACKDATE_MS + renewInMs) * 1.5 - BACKDATE_MS;
  const set = await makeCertificates({ dnsNames: [NAME], ips: [] }, { now: Date.now(), lifetimeMs });
  const stringData = { "tls.crt": set.cert, "tls.key": set.key, "ca.crt": set.ca };
  const metadata = { name: SECRET, namespace: OPERATOR_NAMESPACE };
  await applyText(
    pods.env,
    JSON.stringify({ apiVersion: "v1", kind: "Secret", type: "kubernetes.io/tls", metadata, stringData }),
  );
  await pods.kubectl("rollout", "restart", `deployment/${DEPLOYMENT}`);
  await allServe(await pods.settled(), set.cert);
  await soon(async () => assert.equal(await trusted(pods), set.ca.trim()), 90_000);
  return set.cert;
}

/** The certificate in the Secret. */
export async function storedCertificate(pods: Pods): Promise<string> {
  const encoded = await pods.kubectl("get", "secret", SECRET, "-o", "jsonpath={.data.tls\\.crt}");
  return Buffer.from(encoded, "base64").toString("utf8");
}

/** Waits until the webhook of each Pod shows this certificate. */
export async function allServe(replicas: readonly Pod[], cert: string): Promise<void> {
  await soon(async () => {
    for (const { status } of replicas) assert.equal(await served(status.podIP), base64Of(cert));
  }, 120_000);
}

const base64Of = (pem: string): string => pem.replaceAll(/-----[A-Z ]+-----|\s/g, "");

function served(podIP: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: podIP, port: 9443, servername: NAME, rejectUnauthorized: false });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      resolve(socket.getPeerCertificate().raw.toString("base64"));
      socket.destroy();
    });
  });
}

const webhooks = z.object({
  webhooks: z.array(z.object({ clientConfig: z.object({ caBundle: z.string().default("") }) })),
});

async function trusted(pods: Pods): Promise<string> {
  const path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/unified-rbac";
  const [hook] = webhooks.parse((await pods.api.send("GET", path)).body).webhooks;
  return Buffer.from(hook?.clientConfig.caBundle ?? "", "base64")
    .toString("utf8")
    .trim();
}
