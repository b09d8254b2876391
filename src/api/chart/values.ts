/** The values of charts/unified-rbac. From this come values.yaml, values.schema.json and docs/chart-values.md. */
import * as z from "zod";
import { settings } from "./settings.ts";

/** Anything that the API server knows better than we do. */
const anyMap = (description: string) => z.record(z.string(), z.unknown()).default({}).describe(description);
const anyList = (description: string) => z.array(z.record(z.string(), z.unknown())).default([]).describe(description);
const texts = (description: string) => z.record(z.string(), z.string()).default({}).describe(description);
const flag = (fallback: boolean, description: string) => z.boolean().default(fallback).describe(description);
const text = (fallback: string, description: string) => z.string().default(fallback).describe(description);
const secretName = (fallback: string, description: string) =>
  z
    .string()
    .regex(/^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$/)
    .default(fallback)
    .describe(description);
const key = (fallback: string, description: string) =>
  z
    .string()
    .regex(/^[A-Za-z0-9._-]*$/)
    .default(fallback)
    .describe(description);
const group = <T extends z.ZodRawShape>(shape: T, description: string) =>
  z
    .strictObject(shape)
    .prefault({} as z.input<z.ZodObject<T, z.core.$strict>>)
    .describe(description);

const ports = (fallback: readonly number[]) =>
  z
    .array(z.int().min(1).max(65_535))
    .default([...fallback])
    .describe("TCP ports.");
const peers = (fallback: readonly Record<string, unknown>[], description: string) =>
  z
    .array(z.record(z.string(), z.unknown()))
    .default([...fallback])
    .describe(description);
const namespaced = (name: string) => ({ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": name } } });
const WHERE = "Where this rule leads, as NetworkPolicyPeers. Empty: anywhere.";

const resources = (cpu: string, memory: string, limit: string) =>
  z
    .record(z.string(), z.unknown())
    .default({ requests: { cpu, memory }, limits: { memory: limit } })
    .describe("Requests and limits.");
const extraEnv = anyList("More environment variables, as in a container. Do not put a secret here: use a file.");
const extraVolumeMounts = anyList("More mounts, of volumes in extraVolumes.");
const heap = (fallback: number) =>
  z
    .int()
    .min(32)
    .max(65_536)
    .default(fallback)
    .describe("Limit of the JavaScript heap in MiB: half of the memory limit.");
const monitor = {
  enabled: flag(false, "Create it. The cluster needs the Prometheus operator."),
  interval: z
    .string()
    .regex(/^(\d+(ms|s|m|h))+$/)
    .default("30s")
    .describe("How often Prometheus scrapes."),
  labels: texts("Labels by which your Prometheus selects it."),
};

const image = group(
  {
    repository: z.string().min(1).default("unified-rbac").describe("Registry and name of the image."),
    tag: text("", "Tag. Empty: the chart's appVersion."),
    digest: z
      .string()
      .regex(/^(sha256:[0-9a-f]{64})?$/)
      .default("")
      .describe("Digest, such as sha256:... If set, it decides and the tag does not."),
    pullPolicy: z.enum(["", "Always", "IfNotPresent", "Never"]).default("").describe("Empty: Kubernetes' default."),
  },
  "The image of all containers.",
);

const database = group(
  {
    existingSecret: secretName(
      "unified-rbac-database",
      "Secret with three addresses. You create it; the chart never does.",
    ),
    keys: group(
      {
        owner: key("url", "Entry with the address of the schema's owner, for migrate."),
        webhook: key("webhook-url", "Entry with the address of the webhook's role."),
        reconciler: key("reconciler-url", "Entry with the address of the reconciler's role."),
      },
      "Entries of the Secret. To try the product, all three may name the same entry.",
    ),
    roles: group(
      {
        webhook: text("unified_rbac_webhook", "Role of the webhook, to which migrate grants rights. Empty: none."),
        reconciler: text("unified_rbac_reconciler", "Role of the reconciler. Empty: none."),
      },
      "Roles in Postgres.",
    ),
  },
  "Postgres.",
);

const nats = group(
  {
    existingSecret: secretName("", "Secret with the login to NATS. Empty: no login beyond settings.NATS_URL."),
    keys: group(
      {
        url: key("", "Entry with the address. It replaces settings.NATS_URL."),
        password: key("", "Entry with the password of settings.NATS_USER."),
        token: key("", "Entry with a token."),
        credentials: key("", "Entry with a NATS credentials file."),
        nkey: key("", "Entry with the seed of an nkey."),
        ca: key("", "Entry with the CA of the server's certificate."),
        certificate: key("", "Entry with a client certificate."),
        key: key("", "Entry with the key of that certificate."),
      },
      "Entries of the Secret. Set those that it has; each becomes a file that the reconciler reads at each connect.",
    ),
  },
  "Login to NATS. The address is settings.NATS_URL.",
);

const certificates = group(
  {
    source: z
      .enum(["own", "cert-manager", "secret"])
      .default("own")
      .describe(
        "own: the reconciler creates and renews the webhook's certificate. cert-manager: cert-manager does. secret: you do; set caBundle or webhook.annotations.",
      ),
    existingSecret: secretName(
      "unified-rbac-webhook-tls",
      "Secret with tls.crt and tls.key. With source secret, you create it.",
    ),
    caBundle: text("", "CA in PEM that signed the certificate. Only with source secret."),
    issuerRef: anyMap(
      "Issuer of the certificate. Only with source cert-manager. Empty: the chart creates a CA of its own.",
    ),
  },
  "The webhook's certificate.",
);

const webhook = group(
  {
    url: z
      .string()
      .regex(/^(https:\/\/[^/?#]+(\/[^?#]*[^/?#])?)?$/)
      .default("")
      .describe(
        "Where the API server finds the webhook, if it cannot reach Services (a hosted control plane): https://host:port, which you route to the Service. Empty: by the Service.",
      ),
    dnsNames: z
      .array(z.string())
      .default([])
      .describe("More names in the certificate. The host of url is always in it."),
    ips: z.array(z.string()).default([]).describe("Addresses in the certificate."),
    annotations: texts("Annotations of both webhook configurations, for example of a CA injector."),
    timeoutSeconds: z.int().min(1).max(30).default(2).describe("How long a commit waits for the webhook at most."),
    heapMiB: heap(128),
    resources: resources("50m", "96Mi", "256Mi"),
    extraEnv,
    extraVolumeMounts,
  },
  "The webhook: its address and its container.",
);

const networkPolicy = group(
  {
    enabled: flag(true, "Create it."),
    webhookFrom: peers([], "Who may call the webhook. Empty: anyone, because labels cannot select the API server."),
    metricsFrom: peers([namespaced("monitoring")], "Who may read metrics."),
    egress: group(
      {
        dns: group({ to: peers([namespaced("kube-system")], WHERE) }, "DNS, port 53."),
        postgres: group({ to: peers([], WHERE), ports: ports([5432]) }, "Postgres."),
        nats: group({ to: peers([], WHERE), ports: ports([4222]) }, "NATS."),
        apiServer: group({ to: peers([], WHERE), ports: ports([443, 6443]) }, "The API server."),
        upstreams: group(
          {
            to: peers(
              [
                { ipBlock: { cidr: "0.0.0.0/0", except: ["169.254.0.0/16"] } },
                { ipBlock: { cidr: "::/0", except: ["fd00:ec2::254/128"] } },
              ],
              `${WHERE} By default, not the addresses at which clouds give out a node's credentials.`,
            ),
            ports: ports([443, 8080, 8443, 3000]),
          },
          "Keycloak and the gateways of the Tenants.",
        ),
        extra: anyList("More egress rules."),
      },
      "What the Pods may reach.",
    ),
  },
  "NetworkPolicy of the Pods.",
);

export const chartValues = z.strictObject({
  global: anyMap("Ignored. Helm sets it where this chart is part of another."),
  image,
  imagePullSecrets: anyList("Secrets for the registry, as in a Pod."),
  replicas: z.int().min(0).max(100).default(2).describe("Number of Pods. There is no leader: each one works."),
  settings: z
    .strictObject(settings)
    .prefault({})
    .describe("Settings of the processes, by the names of their environment variables (docs/configuration.md)."),
  database,
  nats,
  masterKeys: group(
    {
      existingSecret: secretName(
        "unified-rbac-master-keys",
        "Secret with the master keys, for gateways whose dialect derives passwords from them. It may be missing. Restart the Deployment after you change it.",
      ),
      key: key("keys", "Its entry."),
    },
    "Master keys (docs/newapi.md).",
  ),
  certificates,
  webhook,
  admissionClients: group(
    {
      existingSecret: secretName(
        "",
        "Secret with the CA of the API server's client certificate. Empty: the webhook answers every client.",
      ),
      key: key("ca.crt", "Its entry."),
      names: z
        .array(z.string())
        .default([])
        .describe("Names that such a certificate may have. Empty: every certificate of that CA."),
    },
    "Only the API server may call the webhook (docs/platform-guide.md).",
  ),
  reconciler: group(
    { heapMiB: heap(256), resources: resources("100m", "128Mi", "512Mi"), extraEnv, extraVolumeMounts },
    "The reconciler's container.",
  ),
  migrate: group(
    { resources: resources("50m", "96Mi", "256Mi"), extraEnv, extraVolumeMounts },
    "The init container that migrates the database.",
  ),
  extraVolumes: anyList("More volumes of the Pod."),
  serviceAccount: group({ annotations: texts("Its annotations.") }, "The ServiceAccount unified-rbac."),
  rbac: group(
    {
      aggregate: flag(
        true,
        "Add TenantUsers to the cluster's roles view, edit and admin: never status, finalizers or Tenants.",
      ),
      onCall: flag(true, "Create the roles for people on call (docs/kubectl-tenantuser.md). Nobody is bound to them."),
    },
    "Roles for people.",
  ),
  podDisruptionBudget: group(
    {
      enabled: flag(true, "Create it."),
      maxUnavailable: z
        .union([z.int().min(0), z.string().regex(/^\d+%$/)])
        .default(1)
        .describe("How many Pods may be away."),
    },
    "PodDisruptionBudget.",
  ),
  networkPolicy,
  monitoring: group(
    {
      serviceMonitor: group(monitor, "ServiceMonitor, with a Service for metrics."),
      podMonitor: group(monitor, "PodMonitor, instead of a ServiceMonitor."),
      rules: group(
        { enabled: monitor.enabled, labels: monitor.labels },
        "PrometheusRules: alerts and service level objectives (docs/observability.md).",
      ),
      dashboards: group(
        {
          enabled: flag(false, "Create it."),
          labels: z
            .record(z.string(), z.string())
            .default({ grafana_dashboard: "1" })
            .describe("Labels by which the sidecar of Grafana's chart finds it."),
        },
        "ConfigMap with the dashboards for Grafana.",
      ),
    },
    "Prometheus.",
  ),
  priorityClassName: text("", "PriorityClass of the Pods."),
  nodeSelector: texts("Nodes for the Pods."),
  tolerations: anyList("Tolerations of the Pods."),
  affinity: anyMap("Affinity of the Pods."),
  topologySpreadConstraints: z
    .array(z.record(z.string(), z.unknown()))
    .default([
      {
        maxSkew: 1,
        topologyKey: "kubernetes.io/hostname",
        whenUnsatisfiable: "ScheduleAnyway",
        labelSelector: { matchLabels: { "app.kubernetes.io/name": "unified-rbac" } },
      },
    ])
    .describe("How the Pods spread."),
  podAnnotations: texts("Annotations of the Pods."),
  podLabels: texts("Labels of the Pods."),
  commonLabels: texts("Labels of every object."),
  terminationGracePeriodSeconds: z.int().min(10).max(600).default(30).describe("Time to end, for each Pod."),
  hooks: group(
    {
      check: group(
        {
          enabled: flag(
            true,
            "After an installation or upgrade, and on helm test: a dry run shows that the API server calls the webhook.",
          ),
          timeoutSeconds: z
            .int()
            .min(5)
            .max(3600)
            .default(240)
            .describe("How long to wait. Less than the --timeout of helm."),
        },
        "The check that admission works.",
      ),
      removeWebhooks: group(
        {
          enabled: flag(
            true,
            "Before an uninstallation: remove the webhook configurations, so that no request waits for a webhook that is going.",
          ),
        },
        "The removal of the webhook configurations.",
      ),
      resources: resources("50m", "64Mi", "128Mi"),
    },
    "Jobs that Helm runs.",
  ),
});

export type ChartValues = z.output<typeof chartValues>;

/** The values of charts/unified-rbac-crds. */
export const definitionValues = z.strictObject({
  global: anyMap("Ignored. Helm sets it where this chart is part of another."),
  annotations: texts("Annotations of the definitions, beside helm.sh/resource-policy: keep."),
});
