/** One catalogue of metrics: named by the conventions, each set somewhere, and nothing else named in rules and pages. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type MetricEntry, METRICS } from "../../../src/api/metrics.ts";
import { makeMetrics } from "../../../src/ops/metrics.ts";

const ROOT = join(import.meta.dirname, "../../..");
const ALL = Object.entries<MetricEntry>(METRICS);
const textsIn = (folder: string, ending: string): readonly (readonly [string, string])[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => [join(folder, file), readFileSync(join(ROOT, folder, file), "utf8")]);
/** Roles of the database that have the prefix, too. */
const NO_METRICS = new Set(["unified_rbac_webhook", "unified_rbac_reconciler"]);

describe.each(ALL)("%s", (name, { type, role, help, labels = {}, buckets }) => {
  it("is named as Prometheus wants it", () => {
    expect(name).toMatch(/^unified_rbac_[a-z]+(_[a-z]+)*$/);
    expect(name.endsWith("_total")).toBe(type === "counter");
    expect(type !== "histogram" || name.endsWith("_seconds")).toBe(true);
    expect(buckets === undefined).toBe(type !== "histogram");
    expect(name).not.toMatch(/_(ms|millis|minutes|hours|kb|count|sum|bucket)(_|$)/);
    expect(help).toMatch(/^[A-Z].*\.$/);
    for (const label of Object.keys(labels)) expect(label).toMatch(/^[a-z]+(_[a-z]+)*$/);
  });

  it("is set once in the source", () => {
    const setting = textsIn("src", ".ts").filter(
      ([file, text]) => file !== "src/api/metrics.ts" && text.includes(`"${name}"`),
    );
    expect(setting).toHaveLength(1);
  });

  it("is registered in its own process alone", () => {
    const shown = (in_: MetricEntry["role"]) => makeMetrics(in_, { runtime: false }).registry.getSingleMetric(name);
    expect(shown(role)).toBeDefined();
    expect(shown(role === "webhook" ? "reconciler" : "webhook")).toBeUndefined();
  });
});

describe("what is named elsewhere", () => {
  const pages = ["README.md", "CHANGELOG.md", "certs/README.md"].map(
    (file) => [file, readFileSync(join(ROOT, file), "utf8")] as const,
  );
  const texts = [...pages, ...textsIn("docs", ".md"), ...textsIn("manifests", ".yaml")];

  it.each(texts)("in %s is in the catalogue", (_file, text) => {
    const named = Array.from(text.matchAll(/\bunified_rbac_[a-z_]+/g), ([word]) =>
      word in METRICS ? word : word.replace(/_(bucket|sum|count)$/, ""),
    );
    expect(named.filter((word) => !(word in METRICS) && !NO_METRICS.has(word))).toEqual([]);
  });

  it("by an alert has the labels and values that it asks for", () => {
    const rules = readFileSync(join(ROOT, "manifests/monitoring/rules.yaml"), "utf8");
    const matchers = Array.from(rules.matchAll(/\b(unified_rbac_[a-z_]+)\{([a-z]+)="([^"]*)"\}/g));
    expect(matchers.length).toBeGreaterThan(3);
    for (const [, name = "", label = "", value = ""] of matchers) {
      const values = ALL.find(([each]) => each === name)?.[1].labels?.[label];
      expect(values, `${name} has no label ${label}`).toBeDefined();
      expect(typeof values === "object" ? values : [value]).toContain(value);
    }
  });
});

it("refuses a value of the other process", () => {
  const metrics = makeMetrics("reconciler", { runtime: false });
  expect(() => metrics.set("unified_rbac_certificate_expiry_timestamp_seconds", 1)).toThrow(
    "no metric of the reconciler",
  );
});
