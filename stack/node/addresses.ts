import { networkInterfaces } from "node:os";

/** Where a stack's node, its Pods and its Services are. Each stack with a node has a slot of its own. */
export interface NodeAddresses {
  readonly slot: number;
  /** Both ends of the link between this machine and the node: the names, and the addresses. */
  readonly hostLink: string;
  readonly nodeLink: string;
  readonly hostIP: string;
  readonly nodeIP: string;
  readonly pods: string;
  readonly services: string;
  /** The Services `default/kubernetes` and `kube-system/kube-dns`. */
  readonly apiService: string;
  readonly dnsService: string;
  readonly cgroup: string;
}

export const NODE_NAME = "node";

/** Slot 1 to 254: the third byte of each address. */
export function addressesOf(slot: number): NodeAddresses {
  return {
    slot,
    hostLink: `urbac${slot}h`,
    nodeLink: `urbac${slot}n`,
    hostIP: `10.231.${slot}.1`,
    nodeIP: `10.231.${slot}.2`,
    pods: `10.244.${slot}.0/24`,
    services: `10.96.${slot}.0/24`,
    apiService: `10.96.${slot}.1`,
    dnsService: `10.96.${slot}.10`,
    cgroup: `unified-rbac-${slot}`,
  };
}

/** The first slot that neither another stack of this checkout has, nor a running node of anybody on this machine. */
export function chooseSlot(
  taken: ReadonlySet<number>,
  links: ReadonlySet<string> = new Set(Object.keys(networkInterfaces())),
): number {
  for (let slot = 1; slot < 255; slot += 1) {
    if (!taken.has(slot) && !links.has(addressesOf(slot).hostLink)) return slot;
  }
  throw new Error("All 254 places for nodes on this machine are taken: stop the stacks that you do not need.");
}
