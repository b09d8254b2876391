/**
 * Writes everything that is made from this folder: `node src/api/generate.ts`. With `--check` it writes nothing, names
 * the files that differ and fails.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as z from "zod";
import { chartFiles } from "./chart/index.ts";
import { crd } from "./crd.ts";
import { editorSchema } from "./editor.ts";
import { dashboardJSON } from "./dashboards/panel.ts";
import { DASHBOARDS } from "./dashboards/index.ts";
import { runbookURL } from "./runbookLink.ts";
import { stateMetrics } from "./stateMetrics.ts";
import { GROUP, KINDS, VERSION, type Kind } from "./meta.ts";
import { metricsPage } from "./metricsPage.ts";
import { objectiveRules } from "./objectives.ts";
import { reference } from "./reference.ts";
import { reasonSections, replaceBetweenMarkers, userReasonLists } from "./reasonPages.ts";
import { toYAML } from "../lib/yaml.ts";

export interface GeneratedFile {
  /** From the project's root. */
  readonly path: string;
  readonly text: string;
}

const ROOT = join(import.meta.dirname, "../..");
const ALL_KINDS: readonly Kind[] = ["TenantUser", "Tenant"];

const packageFile = z.looseObject({ version: z.string() });

const yaml = (value: unknown) => `# Generated from src/api by \`npm run generate\`. Do not edit.\n${toYAML(value)}`;
const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;
const crdFile = (kind: Kind) => `${GROUP}_${KINDS[kind].plural}.yaml`;

const readText = (path: string): Promise<string> => readFile(join(ROOT, path), "utf8");

/** All files, always in the same order and with the same text. */
export async function generatedFiles(): Promise<GeneratedFile[]> {
  const [runbook, guide, rules, manifest] = await Promise.all([
    readText("docs/runbook.md"),
    readText("docs/tenant-guide.md"),
    readText("manifests/monitoring/rules.yaml"),
    readText("package.json"),
  ]);
  const objectives = objectiveRules(runbookURL).map(yaml).join("---\n");
  const dashboards = Object.entries(DASHBOARDS).map(([name, dashboard]) => ({
    path: `dashboards/${name}.json`,
    text: json(dashboardJSON(dashboard)),
  }));
  const copies = [{ path: "rules.yaml", text: rules }, { path: "objectives.yaml", text: objectives }, ...dashboards];
  return [
    ...ALL_KINDS.map((kind) => ({ path: `manifests/crd/${crdFile(kind)}`, text: yaml(crd(kind)) })),
    {
      path: "manifests/crd/kustomization.yaml",
      text: yaml({
        apiVersion: "kustomize.config.k8s.io/v1beta1",
        kind: "Kustomization",
        resources: ALL_KINDS.map(crdFile).toSorted(),
      }),
    },
    ...ALL_KINDS.map((kind) => ({
      path: `schemas/${KINDS[kind].singular}_${VERSION}.json`,
      text: json(editorSchema(kind)),
    })),
    ...chartFiles({ version: packageFile.parse(JSON.parse(manifest)).version, copies }),
    { path: "docs/reference.md", text: reference() },
    { path: "docs/metrics.md", text: metricsPage() },
    { path: "manifests/monitoring/objectives.yaml", text: objectives },
    ...dashboards.map(({ path, text }) => ({ path: `manifests/monitoring/${path}`, text })),
    { path: "manifests/monitoring/kube-state-metrics/config.yaml", text: yaml(stateMetrics()) },
    { path: "docs/runbook.md", text: replaceBetweenMarkers(runbook, "reasons", reasonSections()) },
    { path: "docs/tenant-guide.md", text: replaceBetweenMarkers(guide, "reasons", userReasonLists()) },
  ];
}

/** Those whose file on disk is missing or differs. */
export async function dirtyFiles(): Promise<GeneratedFile[]> {
  const files = await generatedFiles();
  const now = await Promise.all(files.map(({ path }) => readFile(join(ROOT, path), "utf8").catch(() => undefined)));
  return files.filter(({ text }, index) => text !== now[index]);
}

if (import.meta.main) {
  const dirty = await dirtyFiles();
  if (process.argv.includes("--check")) {
    for (const { path } of dirty) console.error(`${path} is not what src/api makes of it: run npm run generate`);
    if (dirty.length > 0) process.exitCode = 1;
  } else {
    for (const { path, text } of dirty) {
      await mkdir(dirname(join(ROOT, path)), { recursive: true });
      await writeFile(join(ROOT, path), text);
      console.log(path);
    }
  }
}
