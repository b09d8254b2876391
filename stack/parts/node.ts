/** What runs Pods: a scheduler beside the control plane, and a node in namespaces of its own. */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";

import { writeAtomically } from "../files.ts";
import { NODE_NAME, type NodeAddresses } from "../node/addresses.ts";
import {
  containerdConfiguration,
  kubeletConfiguration,
  kubeProxyConfiguration,
  networkConfiguration,
  nodeFolder,
  PAUSE_IMAGE,
  scriptEnv,
} from "../node/configuration.ts";
import { loadImages, programImage } from "../node/images.ts";
import { apiFromNode, clusterObjects, COREDNS_IMAGE, forwards } from "../node/objects.ts";
import { cniFolder } from "../obtain/nodePackages.ts";
import { projectRoot } from "../paths.ts";
import { kubeconfig, kubeconfigFile, pkiFile } from "../pki.ts";
import { accepts, httpOk } from "../probe.ts";
import { run } from "../process.ts";
import { readState } from "../state.ts";
import { dataDir, nodeOf, program, type Context, type Part } from "./part.ts";

export const scheduler: Part = {
  name: "scheduler",
  title: "kube-scheduler",
  needs: ["apiserver"],
  ofNode: true,
  command: (context) => {
    const access = kubeconfigFile(context.dir, "scheduler");
    return {
      file: program(context, "kube-scheduler"),
      args: [
        `--kubeconfig=${access}`,
        `--authentication-kubeconfig=${access}`,
        `--authorization-kubeconfig=${access}`,
        "--bind-address=127.0.0.1",
        `--secure-port=${context.ports.scheduler}`,
        `--cert-dir=${dataDir(context, "scheduler")}`,
        "--leader-elect=false",
        "--profiling=false",
      ],
    };
  },
  ready: ({ ports }) => accepts(ports.scheduler),
};

const script = (name: string): string => join(projectRoot, "stack", "node", name);

export const node: Part = {
  name: "node",
  title: "Node (kubelet, containerd)",
  needs: ["apiserver", "controller-manager", "scheduler"],
  ofNode: true,
  prepare: (context) => {
    const addresses = addressesOfNode(context);
    const folder = nodeFolder(context.dir);
    mkdirSync(join(folder, "cni"), { recursive: true });
    const files: Readonly<Record<string, object | string>> = {
      "kubelet.json": kubeletConfiguration(addresses),
      "kube-proxy.json": kubeProxyConfiguration(addresses),
      "cni/stack.conflist": networkConfiguration(addresses),
      "containerd.toml": containerdConfiguration(cniFolder() ?? ""),
      "resolv.conf": `nameserver ${addresses.dnsService}\n`,
    };
    for (const [name, content] of Object.entries(files)) {
      writeAtomically(join(folder, name), typeof content === "string" ? content : JSON.stringify(content, null, 2));
    }
    copyFileSync(pkiFile(context.dir, "ca.crt"), join(folder, "ca.crt"));
    for (const client of ["kubelet", "kube-proxy", "kube-router"] as const) {
      const access = kubeconfig(context.dir, client, apiFromNode(addresses));
      writeAtomically(join(folder, `${client}.kubeconfig`), access, 0o600);
    }
    return Promise.resolve();
  },
  command: (context) => ({
    file: "sh",
    args: [script("outside.sh")],
    env: {
      ...scriptEnv(context.dir, addressesOfNode(context)),
      PATH: withRootsFolders(),
      NODE_NAME,
      NODE_JS: process.execPath,
      NODE_OPTIONS: "",
      FORWARDS: forwards(context.ports),
      LOGS: join(context.dir, "logs"),
      KUBELET: program(context, "kubelet"),
      KUBE_PROXY: program(context, "kube-proxy"),
      KUBE_ROUTER: program(context, "kube-router"),
    },
  }),
  ready: (context) => httpOk(`http://${addressesOfNode(context).nodeIP}:10248/healthz`),
  settle: async (context) => {
    const folder = nodeFolder(context.dir);
    for (const [name, image] of [
      ["pause", PAUSE_IMAGE],
      ["coredns", COREDNS_IMAGE],
    ] as const) {
      await loadImages(context.dir, await programImage(program(context, name), image, folder));
    }
    const objects = join(folder, "objects.json");
    const items = clusterObjects(addressesOfNode(context));
    writeAtomically(objects, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    await kubectl(context, ["apply", "--server-side", "--force-conflicts", "-f", objects]);
    await kubectl(context, ["wait", "--for=condition=Ready", "--timeout=60s", `node/${NODE_NAME}`]);
    await kubectl(context, ["rollout", "status", "--timeout=120s", "-n", "kube-system", "deployment/coredns"]);
  },
  clean: async (dir) => {
    const addresses = nodeOf(readState(dir));
    if (addresses === undefined) return;
    await run({
      file: "sh",
      args: [script("clean.sh")],
      env: { ...scriptEnv(dir, addresses), PATH: withRootsFolders() },
    });
  },
};

function addressesOfNode(context: Context): NodeAddresses {
  const addresses = nodeOf(context);
  if (addresses === undefined) throw new Error("this stack has no node");
  return addresses;
}

/** Root's own programs are not on everybody's PATH. */
const withRootsFolders = (): string => `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;

function kubectl(context: Context, args: readonly string[]): Promise<string> {
  return run({
    file: program(context, "kubectl"),
    args: [...args, `--cache-dir=${join(context.dir, "data", "kubectl")}`],
    env: { KUBECONFIG: context.env.KUBECONFIG },
  });
}
