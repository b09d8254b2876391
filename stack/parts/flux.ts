import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { kubeconfigFile, type Client } from "../pki.ts";
import { httpOk } from "../probe.ts";
import type { Command } from "../process.ts";
import { dataDir, program, type Context, type Part } from "./part.ts";

const address = (port: number): string => `127.0.0.1:${port}`;

function controller(context: Context, name: Client & Part["name"], own: readonly string[]): Command {
  const temporary = join(dataDir(context, name), "tmp");
  mkdirSync(temporary, { recursive: true });
  return {
    file: program(context, name),
    args: [
      "--watch-all-namespaces=true",
      "--enable-leader-election=false",
      "--log-encoding=json",
      // Quick to notice and to try again: people and tests wait for it.
      "--requeue-dependency=2s",
      "--min-retry-delay=500ms",
      "--max-retry-delay=5s",
      "--interval-jitter-percentage=0",
      "--kube-api-qps=500",
      "--kube-api-burst=1000",
      ...own,
    ],
    env: {
      KUBECONFIG: kubeconfigFile(context.dir, name),
      RUNTIME_NAMESPACE: "flux-system",
      TMPDIR: temporary,
      HOME: dataDir(context, name),
    },
  };
}

export const sourceController: Part = {
  name: "source-controller",
  title: "Flux source-controller",
  needs: ["apiserver"],
  command: (context) => {
    const { ports } = context;
    const storage = join(dataDir(context, "source-controller"), "storage");
    mkdirSync(storage, { recursive: true });
    return controller(context, "source-controller", [
      `--storage-path=${storage}`,
      `--storage-addr=${address(ports.sourceStorage)}`,
      // The address that it writes into each source's status, for kustomize-controller to fetch from.
      `--storage-adv-addr=${address(ports.sourceStorage)}`,
      `--metrics-addr=${address(ports.sourceMetrics)}`,
      `--health-addr=${address(ports.sourceHealth)}`,
    ]);
  },
  ready: ({ ports }) => httpOk(`http://${address(ports.sourceHealth)}/readyz`),
};

export const kustomizeController: Part = {
  name: "kustomize-controller",
  title: "Flux kustomize-controller",
  needs: ["apiserver"],
  command: (context) =>
    controller(context, "kustomize-controller", [
      // Flux's multi-tenancy lockdown: a tenant's Kustomization uses its own namespace's sources and
      // accounts, and never the controller's own rights.
      "--no-cross-namespace-refs=true",
      "--no-remote-bases=true",
      "--default-service-account=default",
      `--metrics-addr=${address(context.ports.kustomizeMetrics)}`,
      `--health-addr=${address(context.ports.kustomizeHealth)}`,
    ]),
  ready: ({ ports }) => httpOk(`http://${address(ports.kustomizeHealth)}/readyz`),
};
