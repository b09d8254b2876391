/** The Helm charts, rendered by a real Helm: the same objects as kustomize makes, and values that are checked before anything is. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import * as z from "zod";

import { parseConfig } from "../../src/lib/config.ts";
import { obtainHelm } from "../../stack/obtain/helm.ts";
import { obtainKubectl } from "../../stack/obtain/kubectl.ts";
import { projectRoot } from "../../stack/paths.ts";
import { containerOf, readManifests } from "../../stack/product/manifests.ts";
import { CHARTS, helmTemplate, helmTemplateOf, lintArguments, NAMESPACE, valueSets } from "../support/helm.ts";

const object = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
});
type Object = z.infer<typeof object>;

let helm: string;
let kubectl: string;
beforeAll(async () => {
  kubectl = await obtainKubectl();
  helm = await obtainHelm();
}, 900_000);

/** YAML 1.1, as the API server's clients read it: 0440 is octal. */
const read = (text: string): Object[] =>
  parseAllDocuments(text, { version: "1.1" })
    .filter((document) => document.contents !== null)
    .map((document) => object.parse(document.toJS()));
const isHook = ({ metadata }: Object): boolean => metadata.annotations["helm.sh/hook"] !== undefined;
const keyOf = ({ kind, metadata }: Object): string => `${kind}/${metadata.namespace ?? ""}/${metadata.name}`;

/** What says who made an object, or when to roll a Pod; everything else must be the same. */
const OWN_MARKS = new Set([
  "app.kubernetes.io/managed-by",
  "helm.sh/chart",
  "helm.sh/resource-policy",
  "checksum/settings",
]);

function normalised(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalised);
  // kustomize appends a hash of the content; the chart has a checksum in the Pod's annotations.
  if (typeof value === "string") return value.replace(/^(unified-rbac-settings)-[0-9a-z]{10}$/, "$1");
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([name]) => !OWN_MARKS.has(name));
  return Object.fromEntries(entries.map(([name, inner]) => [name, normalised(inner)]));
}
const comparable = (objects: readonly Object[]) =>
  new Map(objects.map((each) => object.parse(normalised(each))).map((each) => [keyOf(each), each]));

const kustomize = (overlay: string): Object[] =>
  read(
    execFileSync(kubectl, ["kustomize", join(projectRoot, "manifests/overlays", overlay)], {
      encoding: "utf8",
      maxBuffer: 8 << 20,
    }),
  );
const rendered = (set: string): string => helmTemplate(helm, "unified-rbac", valueSets("unified-rbac").get(set) ?? []);

describe("the chart", () => {
  it.each(["default", "cert-manager", "client-certificate", "nats-login", "monitoring"])(
    "renders with values %s what kustomize makes of the overlay of that name",
    (name) => {
      // Helm creates the namespace itself, and the definitions are a chart of their own.
      const apart = new Set(["CustomResourceDefinition", "Namespace"]);
      const objects = kustomize(name).filter(({ kind }) => !apart.has(kind));
      const chart = read(rendered(name)).filter((each) => !isHook(each));
      expect(comparable(chart)).toEqual(comparable(objects));
      expect(objects.length).toBeGreaterThan(15);
    },
  );

  it("of the definitions renders those of kustomize, and has Helm keep them", () => {
    const definitions = read(helmTemplate(helm, "unified-rbac-crds", []));
    const theirs = kustomize("default").filter(({ kind }) => kind === "CustomResourceDefinition");
    expect(comparable(definitions)).toEqual(comparable(theirs));
    expect(definitions.map(({ metadata }) => metadata.annotations["helm.sh/resource-policy"])).toEqual([
      "keep",
      "keep",
    ]);
  });

  const everySet = CHARTS.flatMap((chart) => [...valueSets(chart).keys()].map((set) => [chart, set] as const));

  it.each(everySet)("%s passes lint with values %s", (chart, set) => {
    const args = lintArguments(chart, valueSets(chart).get(set) ?? []);
    expect(execFileSync(helm, args, { encoding: "utf8" })).not.toMatch(/WARNING|ERROR/);
  });

  it.each(everySet)("%s labels every object with values %s, and names no namespace but its own", (chart, set) => {
    for (const { kind, metadata } of read(helmTemplate(helm, chart, valueSets(chart).get(set) ?? []))) {
      expect({ kind, name: metadata.name, ...metadata.labels }).toMatchObject({
        "app.kubernetes.io/name": "unified-rbac",
        "app.kubernetes.io/instance": "unified-rbac",
        "app.kubernetes.io/version": expect.stringMatching(/^\d+\.\d+\.\d+/),
        "app.kubernetes.io/component": expect.stringMatching(/^[a-z]+$/),
        "app.kubernetes.io/part-of": "unified-rbac",
        "app.kubernetes.io/managed-by": "Helm",
      });
      expect([undefined, NAMESPACE]).toContain(metadata.namespace);
    }
  });

  it.each([...valueSets("unified-rbac").keys()])(
    "gives every container settings that it accepts, with values %s",
    (set) => {
      const manifests = readManifests(rendered(set));
      // What the kubelet would mount.
      const mounted = (path: string): string =>
        path.startsWith("/nats/url") ? "nats://nats:4222" : "postgres://db/rbac";
      for (const role of ["migrate", "webhook"] as const) {
        const { env } = containerOf(manifests, role, { podName: "p", secrets: {}, override: {} });
        expect(parseConfig(role, env, mounted).role).toBe(role);
      }
      const { env } = containerOf(manifests, "reconciler", { podName: "p", secrets: {}, override: {} });
      const { MASTER_KEYS_FILE: _, ...rest } = env;
      expect(parseConfig("reconciler", rest, mounted)).toMatchObject({
        operatorNamespace: NAMESPACE,
        webhookTLS: { secretName: manifests.tlsSecret.name, configurationName: "unified-rbac" },
      });
    },
  );
});

describe("values", () => {
  it.each<[string, object, RegExp]>([
    ["a misspelled name", { replica: 3 }, /additional properties 'replica' not allowed/],
    ["a misspelled name further in", { image: { name: "x" } }, /additional properties 'name' not allowed/],
    ["a setting that no process has", { settings: { WORKER: 3 } }, /additional properties 'WORKER' not allowed/],
    [
      "a setting that the templates set",
      { settings: { TLS_DIR: "/x" } },
      /additional properties 'TLS_DIR' not allowed/,
    ],
    ["a number out of range", { settings: { WORKERS: 1000 } }, /maximum/],
    ["a level that is none", { settings: { LOG_LEVEL: "loud" } }, /LOG_LEVEL/],
    ["a digest that is none", { image: { digest: "sha256:abc" } }, /digest/],
    ["an address of the webhook without https", { webhook: { url: "http://x" } }, /url/],
    ["entries of no Secret", { nats: { keys: { token: "t" } } }, /nats\.keys needs nats\.existingSecret/],
    ["a Secret without entries", { nats: { existingSecret: "x" } }, /nats\.existingSecret needs nats\.keys/],
    ["own certificates without a CA", { certificates: { source: "secret" } }, /needs certificates\.caBundle/],
    ["a CA beside our own", { certificates: { caBundle: "x" } }, /certificates\.caBundle is for/],
    [
      "both monitors",
      { monitoring: { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } } },
      /serviceMonitor or podMonitor, not both/,
    ],
  ])("are refused with %s", (_what, values, message) => {
    expect(() => helmTemplateOf(helm, values)).toThrow(message);
  });

  it("of a chart that has this one inside may be global", () => {
    expect(helmTemplateOf(helm, { global: { company: "x" } })).toContain("kind: Deployment");
  });

  it("install into no other namespace: the tenants' files name this one", () => {
    expect(() => helmTemplate(helm, "unified-rbac", [], ["--namespace", "elsewhere"])).toThrow(/unified-rbac-system/);
  });
});

describe("a webhook that the API server reaches by its address", () => {
  it("is called there, with a certificate for that address and the CA that was given", () => {
    const objects = read(rendered("hosted-control-plane"));
    const configurations = objects.filter(({ kind }) => kind.endsWith("WebhookConfiguration"));
    const clients = configurations.flatMap((each) =>
      z.array(z.looseObject({ clientConfig: z.unknown() })).parse(each["webhooks"]),
    );
    const caBundle = Buffer.from("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").toString("base64");
    expect(clients.map(({ clientConfig }) => clientConfig)).toEqual([
      { url: "https://203.0.113.7:30443/mutate", caBundle },
      { url: "https://203.0.113.7:30443/validate", caBundle },
    ]);
    expect(objects.find(({ kind }) => kind === "ConfigMap")?.["data"]).toMatchObject({
      WEBHOOK_IPS: "203.0.113.7",
      WEBHOOK_DNS_NAMES: "unified-rbac-webhook.unified-rbac-system.svc,webhook.example.com",
      WEBHOOK_CERTIFICATES: "external",
    });
  });

  it("by a name has that name in its certificate", () => {
    const objects = read(helmTemplateOf(helm, { webhook: { url: "https://webhook.example.com/rbac" } }));
    expect(objects.find(({ kind }) => kind === "ConfigMap")?.["data"]).toMatchObject({
      WEBHOOK_DNS_NAMES: "unified-rbac-webhook.unified-rbac-system.svc,webhook.example.com",
    });
    expect(JSON.stringify(objects)).toContain("https://webhook.example.com/rbac/validate");
  });
});

it("a changed setting rolls the Pods, and only that does", () => {
  const checksum = (values: object): unknown =>
    z
      .object({ template: z.object({ metadata: z.object({ annotations: z.record(z.string(), z.string()) }) }) })
      .parse(read(helmTemplateOf(helm, values)).find(({ kind }) => kind === "Deployment")?.["spec"]).template.metadata
      .annotations["checksum/settings"];
  expect(checksum({ settings: { WORKERS: 17 } })).not.toBe(checksum({}));
  expect(checksum({ podDisruptionBudget: { enabled: false } })).toBe(checksum({}));
});
