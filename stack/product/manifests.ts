/** What is shipped in manifests/, rendered for a stack and read as the kubelet reads it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseAllDocuments } from "yaml";
import * as z from "zod";

import type { StackEnv } from "../env.ts";
import { projectRoot } from "../paths.ts";
import { run } from "../process.ts";

export type Role = "webhook" | "reconciler" | "migrate";

const source = z.union([
  z.object({ secretKeyRef: z.object({ name: z.string(), key: z.string(), optional: z.boolean().default(false) }) }),
  z.object({ fieldRef: z.object({ fieldPath: z.string() }) }),
]);
const container = z.object({
  name: z.string(),
  args: z.array(z.string()),
  env: z.array(z.object({ name: z.string(), value: z.string().optional(), valueFrom: source.optional() })).default([]),
  envFrom: z.array(z.object({ configMapRef: z.object({ name: z.string() }) })).default([]),
});
export type Container = z.infer<typeof container>;

const metadata = z.looseObject({ name: z.string(), namespace: z.string().optional() });
const anyObject = z.looseObject({ kind: z.string(), metadata });
const configMap = z.looseObject({ kind: z.literal("ConfigMap"), metadata, data: z.record(z.string(), z.string()) });
const deployment = z.looseObject({
  kind: z.literal("Deployment"),
  metadata: metadata.extend({ namespace: z.string() }),
  spec: z.looseObject({
    template: z.looseObject({
      spec: z.looseObject({
        serviceAccountName: z.string(),
        initContainers: z.array(container),
        containers: z.array(container),
        volumes: z.array(
          z.looseObject({
            name: z.string(),
            secret: z
              .looseObject({ secretName: z.string(), items: z.array(z.object({ key: z.string(), path: z.string() })) })
              .optional(),
          }),
        ),
      }),
    }),
  }),
});

export interface Manifests {
  /** YAML of everything, for `kubectl apply`. */
  readonly text: string;
  readonly crds: readonly string[];
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly tlsSecret: { readonly name: string; readonly items: readonly { key: string; path: string }[] };
  readonly containers: readonly Container[];
  readonly configMaps: ReadonlyMap<string, Readonly<Record<string, string>>>;
}

/** The overlay `local`, with the port of the webhook's stand-in for a Service put into both urls. */
export async function renderManifests(env: StackEnv, folder: string, webhookPort: number): Promise<Manifests> {
  const patch = (kind: string, path: string): object => {
    const value = `https://127.0.0.1:${webhookPort}${path}`;
    const op = { op: "replace", path: "/webhooks/0/clientConfig/url", value };
    return { target: { kind, name: "unified-rbac" }, patch: JSON.stringify([op]) };
  };
  mkdirSync(folder, { recursive: true });
  const kustomization = {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: [relative(folder, join(projectRoot, "manifests", "overlays", "local"))],
    patches: [patch("MutatingWebhookConfiguration", "/mutate"), patch("ValidatingWebhookConfiguration", "/validate")],
  };
  writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(kustomization, null, 2));
  return readManifests(await run({ file: env.KUBECTL, args: ["kustomize", folder] }));
}

export function readManifests(text: string): Manifests {
  const objects = parseAllDocuments(text).map((document) => anyObject.parse(document.toJS()));
  const app = deployment.parse(objects.find(({ kind }) => kind === "Deployment"));
  const { serviceAccountName, initContainers, containers, volumes } = app.spec.template.spec;
  const secret = volumes.find(({ name }) => name === "tls")?.secret;
  if (secret === undefined) throw new Error("the Deployment has no volume tls made from a Secret");
  return {
    text,
    crds: objects.filter(({ kind }) => kind === "CustomResourceDefinition").map((crd) => crd.metadata.name),
    namespace: app.metadata.namespace,
    serviceAccount: serviceAccountName,
    tlsSecret: { name: secret.secretName, items: secret.items },
    containers: [...initContainers, ...containers],
    configMaps: new Map(
      objects.flatMap((object) => {
        const found = configMap.safeParse(object);
        return found.success ? [[found.data.metadata.name, found.data.data] as const] : [];
      }),
    ),
  };
}

export interface ContainerFacts {
  readonly podName: string;
  /** By "name/key" of a Secret. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Replaces or adds: addresses and folders of this machine. */
  readonly override: Readonly<Record<string, string>>;
}

/** Arguments and environment of one container, as the kubelet would give them. */
export function containerOf(
  manifests: Manifests,
  role: Role,
  facts: ContainerFacts,
): { args: readonly string[]; env: Record<string, string> } {
  const found = manifests.containers.find(({ name }) => name === role);
  if (found === undefined) throw new Error(`the Deployment has no container ${role}`);
  const env: Record<string, string> = {};
  for (const { configMapRef } of found.envFrom) Object.assign(env, manifests.configMaps.get(configMapRef.name));
  for (const { name, value, valueFrom } of found.env) env[name] = value ?? resolve(name, valueFrom, manifests, facts);
  return { args: found.args, env: { ...env, ...facts.override } };
}

function resolve(
  name: string,
  from: z.infer<typeof source> | undefined,
  manifests: Manifests,
  facts: ContainerFacts,
): string {
  if (from === undefined) return "";
  if ("secretKeyRef" in from) {
    const value = facts.secrets[`${from.secretKeyRef.name}/${from.secretKeyRef.key}`];
    if (value === undefined && from.secretKeyRef.optional) return "";
    if (value === undefined) throw new Error(`${name} comes from a Secret that the stack does not have`);
    return value;
  }
  switch (from.fieldRef.fieldPath) {
    case "metadata.namespace":
      return manifests.namespace;
    case "metadata.name":
      return facts.podName;
    default:
      throw new Error(`${name} comes from the field ${from.fieldRef.fieldPath}, which the stack does not know`);
  }
}
