/** Installs, upgrades and uninstalls the product with Helm, into any cluster. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { obtainHelm } from "./obtain/helm.ts";
import { projectRoot } from "./paths.ts";
import { run } from "./process.ts";

const NAMESPACE = "unified-rbac-system";
export const PRODUCT_RELEASE = "unified-rbac";
export const DEFINITIONS_RELEASE = "unified-rbac-crds";

export interface ChartOptions {
  /** Folder, file or oci:// address of each chart. Default: those of this project. */
  readonly charts?: { readonly product: string; readonly definitions: string };
  /** Whether Helm runs the chart's Jobs. Default: true. They need a node; so does `wait`. */
  readonly hooks?: boolean;
  /** Whether to wait until the Pods are Ready. Default: false. */
  readonly wait?: boolean;
  /** Takes over objects that something else has applied, such as kustomize. Default: false. */
  readonly takeOwnership?: boolean;
  /** For one command, as Helm writes durations. Default: 5m. */
  readonly timeout?: string;
}

/**
 * Installs both charts, or upgrades them: first the definitions, then the product with these values (docs/chart-values.md).
 * Creates the namespace. Throws with what Helm says.
 */
export async function installChart(kubeconfig: string, values: object, options: ChartOptions = {}): Promise<void> {
  const { charts, hooks = true, wait = false, takeOwnership = false, timeout = "5m" } = options;
  const { product, definitions } = charts ?? {
    product: join(projectRoot, "charts", "unified-rbac"),
    definitions: join(projectRoot, "charts", "unified-rbac-crds"),
  };
  const flags = [
    "--install",
    "--create-namespace",
    `--timeout=${timeout}`,
    ...(wait ? ["--wait=watcher"] : []),
    ...(hooks ? [] : ["--no-hooks"]),
    ...(takeOwnership ? ["--take-ownership", "--force-conflicts"] : []),
  ];
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-values-"));
  try {
    const file = join(folder, "values.json");
    writeFileSync(file, JSON.stringify(values), { mode: 0o600 });
    await helm(kubeconfig, ["upgrade", DEFINITIONS_RELEASE, definitions, ...flags]);
    await helm(kubeconfig, ["upgrade", PRODUCT_RELEASE, product, ...flags, "--values", file]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Uninstalls the product. Definitions, people and the namespace stay. Throws with what Helm says. */
export async function uninstallChart(
  kubeconfig: string,
  { hooks = true, timeout = "5m" }: Pick<ChartOptions, "hooks" | "timeout"> = {},
): Promise<void> {
  await helm(kubeconfig, ["uninstall", PRODUCT_RELEASE, `--timeout=${timeout}`, ...(hooks ? [] : ["--no-hooks"])]);
}

/** Any command of Helm in the product's namespace: what it prints. Nothing of this machine's Helm is read or changed. */
export async function helm(kubeconfig: string, args: readonly string[]): Promise<string> {
  const file = await obtainHelm();
  const home = mkdtempSync(join(tmpdir(), "unified-rbac-helm-"));
  try {
    const env = {
      HELM_CACHE_HOME: join(home, "cache"),
      HELM_CONFIG_HOME: join(home, "config"),
      HELM_DATA_HOME: join(home, "data"),
    };
    return await run({ file, args: [...args, "--kubeconfig", kubeconfig, "--namespace", NAMESPACE], env });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
