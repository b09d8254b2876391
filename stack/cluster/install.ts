/**
 * The product as its users install it, in any cluster that runs Pods: the shipped overlay unchanged, and the Secret with the
 * database's URLs. `make pod` and `make kind` share all that is in this folder.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { OPERATOR_NAMESPACE } from "../../src/api/meta.ts";
import { toYAML } from "../../src/lib/yaml.ts";
import type { StackEnv } from "../env.ts";
import { applyText, kubectl } from "../kube.ts";
import type { TenantValues } from "../tenant.ts";
import { DATABASE_ROLES } from "../parts/postgres.ts";
import { projectRoot } from "../paths.ts";

export const DEPLOYMENT = "unified-rbac";
/** As manifests/base names it: what is built has to be in the cluster under this name. */
export const IMAGE = "unified-rbac:0.1.0";

/** Where Pods find the upstreams, in every cluster of ours. */
const INSIDE = {
  postgres: "postgres.postgres.svc:5432",
  keycloak: "http://keycloak.keycloak.svc:8080",
  newapi: "http://newapi.newapi.svc:3000",
} as const;

/** What a tenant's Tenant says of its upstreams: the addresses as Pods know them, and the gateway's as people do. */
export const insideValues = (
  env: Pick<StackEnv, "NEWAPI_URL">,
): Pick<TenantValues, "KEYCLOAK_URL" | "NEWAPI_URL" | "NEWAPI_PUBLIC_URL"> => ({
  KEYCLOAK_URL: INSIDE.keycloak,
  NEWAPI_URL: INSIDE.newapi,
  NEWAPI_PUBLIC_URL: env.NEWAPI_URL,
});

/** Applies definitions and overlay, and waits until the API server calls the webhook. Harmless when all of it is there. */
export async function installProduct(env: StackEnv, overlay = "default"): Promise<void> {
  const apply = (path: string): Promise<string> =>
    kubectl(env, [
      "apply",
      "--server-side",
      "--force-conflicts",
      "--field-manager=platform",
      "-k",
      join(projectRoot, "manifests", path),
    ]);
  await apply("crd");
  await kubectl(env, ["wait", "--for=condition=Established", "--timeout=30s", "crd/tenants.catalyst.openova.io"]);
  await kubectl(env, ["wait", "--for=condition=Established", "--timeout=30s", "crd/tenantusers.catalyst.openova.io"]);
  await apply(`overlays/${overlay}`);
  await applyText(env, databaseSecret(env));
  await rolledOut(env);
  await webhookCalled(env);
}

function databaseSecret(env: StackEnv): string {
  const urlOf = (role?: string): string => {
    const url = new URL(env.DATABASE_URL);
    url.host = INSIDE.postgres;
    if (role !== undefined) url.username = role;
    return url.href;
  };
  return toYAML({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "unified-rbac-database", namespace: OPERATOR_NAMESPACE },
    stringData: {
      url: urlOf(),
      "webhook-url": urlOf(DATABASE_ROLES.webhook),
      "reconciler-url": urlOf(DATABASE_ROLES.reconciler),
    },
  });
}

/** Throws what the Pods say when they are not Ready in time. */
export async function rolledOut(env: StackEnv, withinSeconds = 180): Promise<void> {
  const status = ["rollout", "status", `--timeout=${withinSeconds}s`, `deployment/${DEPLOYMENT}`];
  try {
    await kubectl(env, [...status, "-n", OPERATOR_NAMESPACE]);
  } catch (cause) {
    const pods = await kubectl(env, ["get", "pods", "-n", OPERATOR_NAMESPACE, "-o", "wide"]);
    const events = await kubectl(env, ["get", "events", "-n", OPERATOR_NAMESPACE, "--sort-by=.lastTimestamp"]);
    const last = events.split("\n").slice(-15).join("\n");
    throw new Error(`The Pods are not Ready after ${withinSeconds} s.\n${pods}\n${last}`, { cause });
  }
}

const configurations = z.object({
  items: z.array(
    z.object({ webhooks: z.array(z.object({ clientConfig: z.object({ caBundle: z.string().default("") }) })) }),
  ),
});

/** Until then the API server skips the webhook, as failurePolicy says. */
async function webhookCalled(env: StackEnv, withinMs = 60_000): Promise<void> {
  const kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
  for (const until = Date.now() + withinMs; Date.now() < until; await sleep(250)) {
    const text = await kubectl(env, ["get", kinds, "-l", "app.kubernetes.io/part-of=unified-rbac", "-o", "json"]);
    const hooks = configurations.parse(JSON.parse(text)).items.flatMap(({ webhooks }) => webhooks);
    if (hooks.length === 2 && hooks.every(({ clientConfig }) => clientConfig.caBundle !== "")) return;
  }
  throw new Error(`The webhook configurations have no CA after ${withinMs / 1000} s: see the reconciler's log.`);
}
