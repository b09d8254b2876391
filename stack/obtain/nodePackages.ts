import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** What a node takes from the machine: a program that it runs, and Debian's package with it. */
const programs: Readonly<Record<string, string>> = {
  containerd: "containerd",
  runc: "runc",
  ctr: "containerd",
  nft: "nftables",
  iptables: "iptables",
  ipset: "ipset",
  ip: "iproute2",
  unshare: "util-linux",
  setpriv: "util-linux",
  nsenter: "util-linux",
};
const cniFolders = ["/usr/lib/cni", "/opt/cni/bin"];
const cniPackage = "containernetworking-plugins";

export interface Machine {
  readonly root: boolean;
  readonly platform: NodeJS.Platform;
  readonly executable: (file: string) => boolean;
  readonly path: string;
}

const thisMachine = (): Machine => ({
  root: process.getuid?.() === 0,
  platform: process.platform,
  executable: isExecutable,
  path: process.env["PATH"] ?? "",
});

/** The folder with the plugins that give Pods their network. */
export const cniFolder = (executable = isExecutable): string | undefined =>
  cniFolders.find((folder) => executable(join(folder, "bridge")));

/** One sentence for each thing that keeps a node from running here; empty when one can. */
export function missingForNode(machine: Machine = thisMachine()): string[] {
  if (machine.platform !== "linux") return ["A node (real Pods) runs on Linux only."];
  // Root's own folders are not on everybody's PATH.
  const folders = [...machine.path.split(delimiter), "/usr/sbin", "/sbin"].filter((folder) => folder !== "");
  const has = (program: string): boolean => folders.some((folder) => machine.executable(join(folder, program)));
  const packages = new Set(Object.entries(programs).flatMap(([program, name]) => (has(program) ? [] : [name])));
  if (cniFolder(machine.executable) === undefined) packages.add(cniPackage);
  return [
    ...(machine.root ? [] : ["A node (real Pods) needs root: it makes namespaces, a network link and cgroups."]),
    ...(packages.size === 0
      ? []
      : [`A node (real Pods) needs: apt-get install -y --no-install-recommends ${[...packages].join(" ")}`]),
  ];
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
