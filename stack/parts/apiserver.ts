import { get } from "node:https";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { writeAtomically } from "../files.ts";
import { pkiFile, preparePki } from "../pki.ts";
import { run } from "../process.ts";
import { dataDir, nodeOf, program, type Context, type Part } from "./part.ts";

export const apiserver: Part = {
  name: "apiserver",
  title: "kube-apiserver",
  needs: ["etcd"],
  prepare: async (context) => {
    await preparePki(context.dir, context.env.KUBE_API_URL, nodeOf(context));
    writeAdmissionConfig(context);
  },
  command: (context) => {
    const { dir, ports } = context;
    const node = nodeOf(context);
    return {
      file: program(context, "kube-apiserver"),
      args: [
        `--etcd-servers=http://127.0.0.1:${ports.etcd}`,
        "--bind-address=127.0.0.1",
        `--secure-port=${ports.apiserver}`,
        `--cert-dir=${dataDir(context, "apiserver")}`,
        `--tls-cert-file=${pkiFile(dir, "apiserver.crt")}`,
        `--tls-private-key-file=${pkiFile(dir, "apiserver.key")}`,
        `--client-ca-file=${pkiFile(dir, "ca.crt")}`,
        `--authorization-mode=${node ? "Node,RBAC" : "RBAC"}`,
        `--admission-control-config-file=${admissionFile(context, "config")}`,
        "--service-account-issuer=https://kubernetes.default.svc",
        `--service-account-key-file=${pkiFile(dir, "service-account.pub")}`,
        `--service-account-signing-key-file=${pkiFile(dir, "service-account.key")}`,
        `--service-cluster-ip-range=${node?.services ?? "10.0.0.0/24"}`,
        // The service "kubernetes" cannot point to a loopback address. A node gets an EndpointSlice of ours.
        "--endpoint-reconciler-type=none",
        ...(node ? flagsForNode(dir) : []),
        "--profiling=false",
      ],
    };
  },
  ready: (context) => answersReady(context),
  settle: installFlux,
};

const flagsForNode = (dir: string): string[] => [
  "--enable-admission-plugins=NodeRestriction",
  // As in most clusters: PodSecurity decides which Pods may be privileged.
  "--allow-privileged=true",
  `--kubelet-client-certificate=${pkiFile(dir, "apiserver-kubelet.crt")}`,
  `--kubelet-client-key=${pkiFile(dir, "apiserver-kubelet.key")}`,
  "--kubelet-preferred-address-types=InternalIP",
];

const admissionFile = (context: Context, name: string): string =>
  join(dataDir(context, "apiserver"), `admission-${name}.json`);

/** As docs/platform-guide.md has it: with this certificate the API server calls every webhook. */
function writeAdmissionConfig(context: Context): void {
  const { dir } = context;
  const kubeConfigFile = admissionFile(context, "clients");
  const plugin = (name: string) => ({
    name,
    configuration: {
      apiVersion: "apiserver.config.k8s.io/v1",
      kind: "WebhookAdmissionConfiguration",
      kubeConfigFile,
    },
  });
  const config = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AdmissionConfiguration",
    plugins: [plugin("MutatingAdmissionWebhook"), plugin("ValidatingAdmissionWebhook")],
  };
  const user = {
    "client-certificate": pkiFile(dir, "admission.crt"),
    "client-key": pkiFile(dir, "admission.key"),
  };
  // Any: the webhook has no Service here, and its port is not known yet.
  const clients = { apiVersion: "v1", kind: "Config", users: [{ name: "*", user }] };
  writeAtomically(kubeConfigFile, JSON.stringify(clients));
  writeAtomically(admissionFile(context, "config"), JSON.stringify(config));
}

function answersReady({ dir, ports }: Context): Promise<boolean> {
  return new Promise((resolve) => {
    const ca = readFileSync(pkiFile(dir, "ca.crt"));
    const request = get({
      host: "127.0.0.1",
      port: ports.apiserver,
      path: "/readyz",
      ca,
      agent: false,
      timeout: 3_000,
    });
    request.once("response", (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    request.once("timeout", () => request.destroy());
    request.once("error", () => resolve(false));
    request.once("close", () => resolve(false));
  });
}

/** Flux's kinds, and the rights that an installation gives its controllers: all, for they impersonate the tenants. */
async function installFlux(context: Context): Promise<void> {
  const manifest = join(dataDir(context, "apiserver"), "flux.json");
  const items = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "flux-system" } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "flux-controllers" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "flux-controllers" }],
    },
  ];
  writeAtomically(manifest, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  const files = [manifest, ...context.obtained.fluxCrds].flatMap((path) => ["-f", path]);
  await kubectl(context, ["apply", "--server-side", "--force-conflicts", ...files]);
  await kubectl(context, ["wait", "--for=condition=Established", "--timeout=30s", ...files.slice(2)]);
}

function kubectl(context: Context, args: readonly string[]): Promise<string> {
  return run({
    file: program(context, "kubectl"),
    args: [...args, `--cache-dir=${join(context.dir, "data", "kubectl")}`],
    env: { KUBECONFIG: context.env.KUBECONFIG },
  });
}
