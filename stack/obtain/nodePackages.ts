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
  const plugins = cniFolder(machine.executable) === undefined ? [cniPackage] : [];
  return [
    ...(machine.root ? [] : ["A node (real Pods) needs root: it makes namespaces, a network link and cgroups."]),
    ...missingPackages("A node (real Pods)", programs, plugins, machine),
  ];
}

/** At most one sentence: which packages `what` needs for those of these programs (program: package) that are not here. */
export function missingPackages(
  what: string,
  needed: Readonly<Record<string, string>>,
  further: readonly string[] = [],
  machine: Machine = thisMachine(),
): string[] {
  // Root's own folders are not on everybody's PATH.
  const folders = [...machine.path.split(delimiter), "/usr/sbin", "/sbin"].filter((folder) => folder !== "");
  const has = (program: string): boolean => folders.some((folder) => machine.executable(join(folder, program)));
  const absent = Object.entries(needed).flatMap(([program, name]) => (has(program) ? [] : [name]));
  const packages = [...new Set([...absent, ...further])];
  return packages.length === 0
    ? []
    : [`${what} needs: apt-get install -y --no-install-recommends ${packages.join(" ")}`];
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
