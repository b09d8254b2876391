/** What a cluster has of its own: DNS, Services that lead to the stack's parts, rights of the node's programs. */
import { KUBELET_CLIENT } from "../pki.ts";
import type { Ports } from "../ports.ts";
import type { NodeAddresses } from "./addresses.ts";
import { CLUSTER_DOMAIN } from "./configuration.ts";

export const COREDNS_IMAGE = "localhost/coredns:stack";

interface Upstream {
  readonly namespace: string;
  readonly name: string;
  /** As in most clusters, so that the shipped NetworkPolicy holds. */
  readonly port: number;
  /** The part's port on loopback. */
  readonly inner: keyof Ports;
}

/** The stack's parts as Pods find them: `nats.nats.svc:4222`. */
export const upstreams: readonly Upstream[] = [
  { namespace: "nats", name: "nats", port: 4222, inner: "nats" },
  { namespace: "postgres", name: "postgres", port: 5432, inner: "postgres" },
  { namespace: "keycloak", name: "keycloak", port: 8080, inner: "keycloak" },
  { namespace: "newapi", name: "newapi", port: 3000, inner: "newapi" },
];
const API_PORT = 6443;

/** For forward.ts: what listens on the link, and where it leads. */
export const forwards = (ports: Ports): string =>
  [...upstreams.map(({ port, inner }) => [port, ports[inner]]), [API_PORT, ports.apiserver]]
    .map((pair) => pair.join("="))
    .join(" ");

export const apiFromNode = ({ hostIP }: NodeAddresses): string => `https://${hostIP}:${API_PORT}`;

export function clusterObjects(addresses: NodeAddresses): object[] {
  return [
    ...rights(),
    endpoints(addresses, "default", "kubernetes", "https", API_PORT),
    ...upstreams.flatMap(({ namespace, name, port }) => [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name, namespace },
        spec: { ports: [{ name: "main", port, protocol: "TCP" }] },
      },
      endpoints(addresses, namespace, name, "main", port),
    ]),
    ...dns(addresses),
  ];
}

const endpoints = ({ hostIP }: NodeAddresses, namespace: string, name: string, portName: string, port: number) => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: `${name}-stack`, namespace, labels: { "kubernetes.io/service-name": name } },
  addressType: "IPv4",
  ports: [{ name: portName, port, protocol: "TCP" }],
  endpoints: [{ addresses: [hostIP], conditions: { ready: true } }],
});

const rbac = "rbac.authorization.k8s.io";

const bound = (role: string, subject: object, name = role): object => ({
  apiVersion: `${rbac}/v1`,
  kind: "ClusterRoleBinding",
  metadata: { name: `stack-${name.replaceAll(":", "-")}` },
  roleRef: { apiGroup: rbac, kind: "ClusterRole", name: role },
  subjects: [subject],
});

const reader = (name: string, rules: Readonly<Record<string, readonly string[]>>): object => ({
  apiVersion: `${rbac}/v1`,
  kind: "ClusterRole",
  metadata: { name },
  rules: Object.entries(rules).map(([group, resources]) => ({
    apiGroups: [group],
    resources,
    verbs: ["get", "list", "watch"],
  })),
});

function rights(): object[] {
  const user = (name: string) => ({ apiGroup: rbac, kind: "User", name });
  return [
    bound("system:kubelet-api-admin", user(KUBELET_CLIENT)),
    reader("kube-router", {
      "": ["namespaces", "pods", "services", "nodes", "endpoints"],
      "networking.k8s.io": ["networkpolicies"],
      "discovery.k8s.io": ["endpointslices"],
    }),
    bound("kube-router", user("kube-router")),
  ];
}

function dns({ dnsService }: NodeAddresses): object[] {
  const metadata = { name: "coredns", namespace: "kube-system" };
  const labels = { "k8s-app": "kube-dns" };
  const corefile = `.:53 {
  errors
  health
  ready
  kubernetes ${CLUSTER_DOMAIN} in-addr.arpa {
    pods insecure
    fallthrough in-addr.arpa
  }
  cache 5
}
`;
  const probe = (path: string, port: number) => ({ httpGet: { path, port }, periodSeconds: 2, timeoutSeconds: 5 });
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    reader("coredns", {
      "": ["endpoints", "services", "pods", "namespaces"],
      "discovery.k8s.io": ["endpointslices"],
    }),
    bound("coredns", { kind: "ServiceAccount", ...metadata }),
    { apiVersion: "v1", kind: "ConfigMap", metadata, data: { Corefile: corefile } },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kube-dns", namespace: "kube-system", labels },
      spec: {
        selector: labels,
        clusterIP: dnsService,
        ports: ["UDP", "TCP"].map((protocol) => ({ name: `dns-${protocol.toLowerCase()}`, port: 53, protocol })),
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { ...metadata, labels },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: "coredns",
            priorityClassName: "system-cluster-critical",
            // A drained node keeps its DNS, as one of several nodes would.
            tolerations: [{ operator: "Exists" }],
            dnsPolicy: "Default",
            containers: [
              {
                name: "coredns",
                image: COREDNS_IMAGE,
                imagePullPolicy: "Never",
                args: ["-conf", "/etc/coredns/Corefile"],
                volumeMounts: [{ name: "config", mountPath: "/etc/coredns" }],
                readinessProbe: probe("/ready", 8181),
                livenessProbe: { ...probe("/health", 8080), failureThreshold: 30 },
              },
            ],
            volumes: [{ name: "config", configMap: { name: "coredns" } }],
          },
        },
      },
    },
  ];
}
