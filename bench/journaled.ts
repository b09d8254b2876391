/** The product with something between it and its upstreams that notes each call. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";

import { recordingProxy, type RecordingProxy } from "../test/support/recordingProxy.ts";
import type { Environment } from "./environment.ts";
import { type KubeProxy, kubeProxy } from "./kubeProxy.ts";

export interface Journals {
  readonly kubernetes: KubeProxy;
  readonly keycloak: RecordingProxy;
  readonly newapi: RecordingProxy;
  /** Settings of a reconciler that goes this way to the API server; to the others go Tenants that name their URLs. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

const kubeconfig = z.looseObject({
  clusters: z.tuple([z.looseObject({ name: z.string(), cluster: z.looseObject({ server: z.string() }) })]),
});

/** The manifests must be installed: the service account's kubeconfig is made then. */
export async function openJournals({ env }: Environment): Promise<Journals> {
  const kubernetes = await kubeProxy(env);
  const keycloak = await recordingProxy(env.KEYCLOAK_URL);
  const newapi = await recordingProxy(env.NEWAPI_URL);
  const shipped = kubeconfig.parse(
    JSON.parse(readFileSync(join(env.STACK_DIR, "data", "product", "kubeconfig"), "utf8")),
  );
  const [{ name }] = shipped.clusters;
  const cluster = {
    server: kubernetes.url,
    "certificate-authority-data": Buffer.from(kubernetes.ca).toString("base64"),
  };
  const file = join(env.STACK_DIR, "data", "bench-kubeconfig");
  writeFileSync(file, JSON.stringify({ ...shipped, clusters: [{ name, cluster }] }), { mode: 0o600 });
  return {
    kubernetes,
    keycloak,
    newapi,
    env: { KUBECONFIG: file },
    async close() {
      kubernetes.close();
      await keycloak[Symbol.asyncDispose]();
      await newapi[Symbol.asyncDispose]();
    },
  };
}
