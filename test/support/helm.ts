/** The charts as Helm renders them, without a cluster. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import { projectRoot } from "../../stack/paths.ts";

export const CHARTS = ["unified-rbac", "unified-rbac-crds"] as const;
export type Chart = (typeof CHARTS)[number];
export const RELEASE = "unified-rbac";
export const NAMESPACE = "unified-rbac-system";

export const chartFolder = (chart: Chart): string => join(projectRoot, "charts", chart);

/** Files with values under which a chart is linted and rendered, by name; "default" has none. */
export function valueSets(chart: Chart): ReadonlyMap<string, readonly string[]> {
  const folder = join(chartFolder(chart), "ci");
  const files = chart === "unified-rbac" ? readdirSync(folder).toSorted() : [];
  return new Map<string, readonly string[]>([
    ["default", []],
    ...files.map((file) => [basename(file, "-values.yaml"), [join(folder, file)]] as const),
  ]);
}

/** Arguments of `helm lint`, which renders the chart and checks the values too. */
export const lintArguments = (chart: Chart, files: readonly string[]): string[] => [
  "lint",
  chartFolder(chart),
  "--strict",
  "--quiet",
  "--namespace",
  NAMESPACE,
  ...files.flatMap((file) => ["--values", file]),
];

/** What Helm would apply. Throws with what Helm says. */
export function helmTemplate(
  helm: string,
  chart: Chart,
  files: readonly string[],
  more: readonly string[] = [],
): string {
  const values = files.flatMap((file) => ["--values", file]);
  const args = ["template", RELEASE, chartFolder(chart), "--namespace", NAMESPACE, ...values, ...more];
  return execFileSync(helm, args, { encoding: "utf8", maxBuffer: 16 << 20, stdio: ["ignore", "pipe", "pipe"] });
}

/** The same with values that are given here. */
export function helmTemplateOf(helm: string, values: object, chart: Chart = "unified-rbac"): string {
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-values-"));
  try {
    const file = join(folder, "values.json");
    writeFileSync(file, JSON.stringify(values));
    return helmTemplate(helm, chart, [file]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
