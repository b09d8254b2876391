/** What the programs of a node read, and what its scripts are told. */
import { join } from "node:path";

import type { NodeAddresses } from "./addresses.ts";

/** Where the scripts mount the node's own folder, inside its namespaces. */
export const INSIDE = "/run/node";
export const CLUSTER_DOMAIN = "cluster.local";
export const PAUSE_IMAGE = "localhost/pause:stack";

export function kubeletConfiguration({ nodeIP, dnsService, cgroup }: NodeAddresses): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: nodeIP,
    healthzBindAddress: nodeIP,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${INSIDE}/ca.crt` },
    },
    authorization: { mode: "Webhook" },
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${cgroup}`,
    failCgroupV1: false,
    failSwapOn: false,
    clusterDomain: CLUSTER_DOMAIN,
    clusterDNS: [dnsService],
    resolvConf: `${INSIDE}/resolv.conf`,
    // Outside of it, the kubelet would make this folder on the machine.
    volumePluginDir: "/var/lib/kubelet/volume-plugins",
    // The machine's disk and memory are not this node's: nothing is evicted or deleted for them.
    evictionHard: { "memory.available": "100Mi" },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    localStorageCapacityIsolation: false,
    // Tests wait for a changed Secret or a renewed token to arrive.
    syncFrequency: "10s",
    // A Pod that is gone is seen sooner.
    nodeStatusUpdateFrequency: "5s",
    registryPullQPS: 0,
  };
}

export function kubeProxyConfiguration({ nodeIP, pods }: NodeAddresses): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    bindAddress: nodeIP,
    clusterCIDR: pods,
    clientConnection: { kubeconfig: `${INSIDE}/kube-proxy.kubeconfig` },
    // These limits belong to the whole machine.
    conntrack: { maxPerCore: 0, min: 0 },
  };
}

export function networkConfiguration({ pods }: NodeAddresses): object {
  return {
    cniVersion: "1.0.0",
    name: "stack",
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir: "/run/cni-addresses",
          ranges: [[{ subnet: pods }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

/** For containerd from 1.6 on. */
export function containerdConfiguration(cniFolder: string): string {
  const cri = '[plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
${cri}]
  sandbox_image = "${PAUSE_IMAGE}"
  # Root of a container or of a service often lacks the right to lower it.
  restrict_oom_score_adj = true
  # A profile would be loaded into the kernel of the machine, and stay.
  disable_apparmor = true
  disable_tcp_service = true
${cri}.cni]
  bin_dir = "${cniFolder}"
  conf_dir = "${INSIDE}/cni"
${cri}.containerd]
  snapshotter = "overlayfs"
${cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
${cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "/run/runc"
`;
}

export const nodeFolder = (dir: string): string => join(dir, "data", "node");

/** What the scripts need to find, and to remove, the node of this stack. */
export function scriptEnv(dir: string, addresses: NodeAddresses): Record<string, string> {
  return {
    NODE_DIR: nodeFolder(dir),
    HOST_LINK: addresses.hostLink,
    NODE_LINK: addresses.nodeLink,
    HOST_IP: addresses.hostIP,
    NODE_IP: addresses.nodeIP,
    PODS: addresses.pods,
    SERVICES: addresses.services,
    NODE_CGROUP: addresses.cgroup,
  };
}
