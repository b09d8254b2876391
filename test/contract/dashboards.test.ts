/** Dashboards, and what else of manifests/monitoring a Prometheus or Grafana reads, rendered by a real kubectl. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import * as z from "zod";
import { crd } from "../../src/api/crd.ts";
import { DASHBOARDS } from "../../src/api/dashboards/index.ts";
import { queriesOf } from "../../src/api/dashboards/panel.ts";
import { ON_CALL } from "../../src/api/dashboards/onCall.ts";
import type { Kind } from "../../src/api/meta.ts";
import { findProgram } from "../../stack/obtain/found.ts";
import { goParts, obtainGoPart } from "../../stack/obtain/go.ts";
import { ALERTS } from "../support/alertRules.ts";
import { exportedOfRoles } from "../support/exportedOfRoles.ts";
import { type Exported, unknownIn } from "../support/promql.ts";

const ROOT = join(import.meta.dirname, "../..");
const MONITORING = join(ROOT, "manifests/monitoring");
const object = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), labels: z.record(z.string(), z.string()).default({}) }),
});
type Object = z.infer<typeof object>;

let kubectl: string;
let exported: Exported;
beforeAll(async () => {
  const part = goParts.find(({ name }) => name === "kubernetes");
  const programs = part && (await obtainGoPart(part, () => {})).programs;
  kubectl = programs?.get("kubectl") ?? findProgram("kubectl") ?? "kubectl";
  exported = await exportedOfRoles();
}, 1_800_000);

const render = (folder: string): Object[] =>
  parseAllDocuments(execFileSync(kubectl, ["kustomize", folder], { encoding: "utf8", maxBuffer: 8 << 20 })).map(
    (document) => object.parse(document.toJS()),
  );

/** An overlay of its own, inside the repository: kustomize reads nothing outside. */
function overlay(text: string): Object[] {
  mkdirSync(join(ROOT, ".stack"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, ".stack", "overlay-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
  writeFileSync(join(folder, "kustomization.yaml"), `${head}${text}`);
  return render(folder);
}

describe.each(Object.entries(DASHBOARDS))("the dashboard %s", (name, dashboard) => {
  it.each(queriesOf(dashboard))("asks only for what is exported: %s", (expression) => {
    expect(unknownIn(expression.replaceAll("$__rate_interval", "5m"), exported)).toEqual([]);
  });

  it("has panels that do not overlap, and each says what it shows", () => {
    const file = readFileSync(join(MONITORING, "dashboards", `${name}.json`), "utf8");
    const { panels } = z
      .object({
        panels: z.array(
          z.looseObject({
            type: z.string(),
            title: z.string(),
            description: z.string().optional(),
            gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
          }),
        ),
      })
      .parse(JSON.parse(file));
    const taken = new Set<string>();
    const unsaid = panels.filter(({ type, description = "" }) => type !== "row" && !description.endsWith("."));
    expect(unsaid.map(({ title }) => title)).toEqual([]);
    for (const { title, gridPos } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x},${y}`), `${title} covers another panel`).toBe(false);
          taken.add(`${x},${y}`);
        }
      }
    }
  });
});

it("the dashboard for the on-call has one number for each alert, with its section of the runbook", () => {
  const linked = ON_CALL.rows.flatMap(({ panels }) => panels.flatMap(({ link }) => link?.url ?? []));
  const runbooks = new Set(ALERTS.map(({ annotations }) => annotations?.["runbook_url"] ?? ""));
  expect(linked.toSorted()).toEqual([...runbooks].toSorted());
});

describe("the component monitoring", () => {
  it("holds the dashboards as the sidecar of Grafana looks for them", () => {
    const found = render(join(ROOT, "manifests/overlays/monitoring")).find(
      ({ metadata }) => metadata.labels["grafana_dashboard"] === "1",
    );
    const data = z.record(z.string(), z.string()).parse(found?.["data"]);
    expect(Object.keys(data).toSorted()).toEqual(
      Object.keys(DASHBOARDS)
        .map((name) => `${name}.json`)
        .toSorted(),
    );
    for (const text of Object.values(data))
      expect(JSON.parse(text)).toMatchObject({ uid: /^unified-rbac-/ as unknown });
  });

  it("finds each container's port once, by a ServiceMonitor or by a PodMonitor", () => {
    const kinds = (objects: readonly Object[]) =>
      objects.filter(({ kind }) => kind.endsWith("Monitor")).map(({ kind }) => kind);
    expect(kinds(render(join(ROOT, "manifests/overlays/monitoring")))).toEqual(["ServiceMonitor"]);
    const pods = overlay(
      "resources: [../../manifests/overlays/default]\ncomponents: [../../manifests/monitoring, ../../manifests/monitoring/podmonitor]\n",
    );
    expect(kinds(pods)).toEqual(["PodMonitor"]);
    expect(pods.map(({ metadata }) => metadata.name)).not.toContain("unified-rbac-metrics");
    const monitor = z
      .looseObject({ spec: z.object({ podMetricsEndpoints: z.array(z.looseObject({ port: z.string() })) }) })
      .parse(pods.find(({ kind }) => kind === "PodMonitor"));
    const deployment = JSON.stringify(pods.find(({ kind }) => kind === "Deployment"));
    for (const { port } of monitor.spec.podMetricsEndpoints) expect(deployment).toContain(`"name":"${port}"`);
  });

  it("leads to another copy of the runbook with the lines that the page shows", () => {
    const page = readFileSync(join(ROOT, "docs/observability.md"), "utf8");
    const [, lines = ""] = /```yaml\n(configMapGenerator:[\s\S]+?)```/.exec(page) ?? [];
    const objects = overlay(`resources: [../../manifests/overlays/monitoring]\n${lines}`);
    const rules = JSON.stringify(objects.filter(({ kind }) => kind === "PrometheusRule"));
    expect(rules).not.toContain("git.example.com");
    for (const { alert } of ALERTS) {
      expect(rules).toContain(`https://git.internal/platform/unified-rbac/docs/runbook.md#${alert.toLowerCase()}"`);
    }
  });
});

describe("kube-state-metrics", () => {
  const config = z
    .object({
      spec: z.object({
        resources: z.array(
          z.object({
            groupVersionKind: z.object({ kind: z.enum(["TenantUser", "Tenant"]) }),
            labelsFromPath: z.record(z.string(), z.array(z.string())),
            metrics: z.array(
              z.object({
                each: z.record(z.string(), z.union([z.string(), z.looseObject({ path: z.array(z.string()) })])),
              }),
            ),
          }),
        ),
      }),
    })
    .parse(parse(readFileSync(join(MONITORING, "kube-state-metrics/config.yaml"), "utf8")));
  const METADATA = ["name", "namespace", "creationTimestamp", "deletionTimestamp"];
  const paths = config.spec.resources.flatMap(({ groupVersionKind: { kind }, labelsFromPath, metrics }) =>
    [
      ...Object.values(labelsFromPath),
      ...metrics.flatMap(({ each }) => Object.values(each).flatMap((of) => (typeof of === "string" ? [] : [of.path]))),
    ].map((path) => [kind, path.join(".")] as const),
  );

  it.each(paths)("reads a field that %s has: %s", (kind: Kind, path) => {
    const properties = z.looseObject({ properties: z.record(z.string(), z.unknown()) });
    const { openAPIV3Schema } = z
      .looseObject({
        spec: z.looseObject({
          versions: z.tuple([z.looseObject({ schema: z.looseObject({ openAPIV3Schema: z.unknown() }) })]),
        }),
      })
      .parse(crd(kind)).spec.versions[0].schema;
    // The schema leaves the metadata to the API server.
    const metadata = { properties: Object.fromEntries(METADATA.map((field) => [field, {}])) };
    const root = properties.parse(openAPIV3Schema);
    let schema: unknown = { properties: { ...root.properties, metadata } };
    for (const field of path.split(".")) {
      schema = properties.parse(schema).properties[field];
      expect(schema, `${kind} has no ${path}`).toBeDefined();
    }
  });
});
