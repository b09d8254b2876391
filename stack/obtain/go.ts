import { cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

import { lockDir } from "../paths.ts";
import { run } from "../process.ts";
import { cached, cacheKey } from "./cache.ts";
import { findProgram } from "./found.ts";

export interface GoPart {
  readonly name: string;
  /** The folder under stack/lock with go.mod and go.sum. Default: the name. */
  readonly lock?: string;
  readonly title: string;
  /** Program name -> package. */
  readonly programs: Readonly<Record<string, string>>;
  readonly tags?: string;
  readonly ldflags?: string;
  /** Folders that the program needs beside it, copied out of the module. */
  readonly copies?: { readonly module: string; readonly folders: readonly string[] };
}

const kubeVersion = "k8s.io/component-base/version";
// Without it the server calls itself v0.0.0, and clients doubt what it can do.
const kubeFlags = `-X ${kubeVersion}.gitVersion=v1.37.2 -X ${kubeVersion}.gitMajor=1 -X ${kubeVersion}.gitMinor=37`;

export const goParts: readonly GoPart[] = [
  {
    name: "kubernetes",
    title: "Kubernetes control plane",
    programs: {
      "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
      "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
      kubectl: "k8s.io/kubernetes/cmd/kubectl",
    },
    ldflags: kubeFlags,
  },
  { name: "etcd", title: "etcd", programs: { etcd: "go.etcd.io/etcd/server/v3" } },
  { name: "nats", title: "NATS", programs: { "nats-server": "github.com/nats-io/nats-server/v2" } },
  {
    name: "prometheus",
    title: "Prometheus",
    programs: {
      prometheus: "github.com/prometheus/prometheus/cmd/prometheus",
      promtool: "github.com/prometheus/prometheus/cmd/promtool",
    },
    // It scrapes what a file names; without every cloud's own discovery it is half as large.
    tags: "remove_all_sd",
  },
  {
    name: "source-controller",
    title: "Flux source-controller",
    programs: { "source-controller": "github.com/fluxcd/source-controller" },
    copies: { module: "github.com/fluxcd/source-controller", folders: ["config/crd/bases"] },
  },
  // A go.mod of its own: in one with kustomize-controller 1.9.6, source-controller 1.7.3 does not compile (pkg/sourceignore).
  {
    name: "kustomize-controller",
    title: "Flux kustomize-controller",
    programs: { "kustomize-controller": "github.com/fluxcd/kustomize-controller" },
    copies: { module: "github.com/fluxcd/kustomize-controller", folders: ["config/crd/bases"] },
  },
  {
    name: "gitea",
    title: "Gitea",
    programs: { gitea: "code.gitea.io/gitea" },
    tags: "sqlite",
    ldflags: "-X main.Version=1.26.0",
    copies: { module: "code.gitea.io/gitea", folders: ["templates", "options", "public"] },
  },
];

/** What runs Pods. Built only for a stack with a node. */
export const nodeGoParts: readonly GoPart[] = [
  {
    name: "kubernetes-node",
    lock: "kubernetes",
    title: "Kubernetes node",
    programs: {
      kubelet: "k8s.io/kubernetes/cmd/kubelet",
      "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
      "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    },
    ldflags: kubeFlags,
  },
  { name: "coredns", title: "CoreDNS", programs: { coredns: "unified-rbac/stack/coredns" } },
  {
    name: "kube-router",
    title: "kube-router",
    programs: { "kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router" },
  },
  { name: "pause", title: "pause", programs: { pause: "unified-rbac/stack/pause" } },
];

const lockOf = (part: GoPart): string => lockDir(part.lock ?? part.name);

/** The programs of a part that this machine does not have in a fitting version. */
export function programsToBuild(part: GoPart): string[] {
  return Object.keys(part.programs).filter((program) => findProgram(program) === undefined);
}

/** What one entry of the cache is built from. Without cgo: a C compiler is nothing we ask for. */
export function goCacheKey(part: GoPart, programs: readonly string[], version: string, lock = lockOf(part)): string {
  const files = readdirSync(lock, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const contents = files.map(({ parentPath, name }) => {
    const path = join(parentPath, name);
    return [path.slice(lock.length), readFileSync(path, "utf8")];
  });
  return cacheKey(part.name, {
    ...Object.fromEntries(contents),
    programs: programs.join(),
    flags: buildFlags(part).join(" "),
    go: version,
    platform: `${process.platform}/${process.arch}`,
  });
}

function buildFlags(part: GoPart): string[] {
  const ldflags = ["-s -w", part.ldflags ?? ""].join(" ").trim();
  return [
    "-mod=readonly",
    "-buildvcs=false",
    "-trimpath",
    ...(part.tags ? ["-tags", part.tags] : []),
    "-ldflags",
    ldflags,
  ];
}

// GOFLAGS of the user could contradict ours; where modules come from (GOPROXY and its kin) stays theirs.
const goEnv = { GOFLAGS: "", GOWORK: "off", CGO_ENABLED: "0" };

/** Asked inside the lock folder: an older Go fetches the toolchain that go.mod wants. */
export async function goVersion(part: GoPart): Promise<string> {
  return (await run({ file: "go", args: ["env", "GOVERSION"], cwd: lockOf(part), env: goEnv })).trim();
}

/** Builds what is missing and returns where each program is, and the cache entry if there is one. */
export async function obtainGoPart(
  part: GoPart,
  detail: (text: string) => void,
): Promise<{ programs: Map<string, string>; entry: string | undefined }> {
  const wanted = programsToBuild(part);
  const programs = new Map<string, string>();
  for (const program of Object.keys(part.programs)) {
    const found = wanted.includes(program) ? undefined : findProgram(program);
    if (found) programs.set(program, found);
  }
  if (wanted.length === 0) return { programs, entry: undefined };
  const key = goCacheKey(part, wanted, await goVersion(part));
  const entry = await cached(key, detail, (draft) => build(part, wanted, draft, detail));
  for (const program of wanted) programs.set(program, join(entry, "bin", program));
  return { programs, entry };
}

async function build(part: GoPart, wanted: readonly string[], draft: string, detail: (text: string) => void) {
  const cwd = lockOf(part);
  mkdirSync(join(draft, "bin"));
  detail(`building ${wanted.join(", ")}`);
  // One call for all: they share most of their packages. With a folder Go names each program after
  // its package, which is right for Kubernetes; a single program is named by us.
  const [only] = wanted;
  const output = wanted.length === 1 && only ? join(draft, "bin", only) : `${join(draft, "bin")}/`;
  const packages = wanted.map((program) => part.programs[program] ?? "");
  await run({ file: "go", args: ["build", ...buildFlags(part), "-o", output, ...packages], cwd, env: goEnv });
  if (!part.copies) return;
  const list = ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", part.copies.module];
  const module = (await run({ file: "go", args: list, cwd, env: goEnv })).trim();
  for (const folder of part.copies.folders) copyWritable(join(module, folder), join(draft, basename(folder)));
}

/** Files in Go's module cache are read-only; copies must not be, or nobody could clear the cache. */
function copyWritable(from: string, to: string): void {
  mkdirSync(to);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) copyWritable(source, target);
    else cpSync(source, target, { mode: 0 });
  }
}
