/** One catalogue of metrics: named by the conventions, each set somewhere, and nothing else named in rules and pages. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { MetricEntry } from "../../../src/api/metrics/entry.ts";
import { knownSeries, METRICS } from "../../../src/api/metrics.ts";
import { makeMetrics } from "../../../src/ops/metrics.ts";
import { recordStoreStats } from "../../../src/ops/storeStats.ts";

const ROOT = join(import.meta.dirname, "../../..");
const ALL = Object.entries<MetricEntry>(METRICS);
const textsIn = (folder: string, ending: string): readonly (readonly [string, string])[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => [join(folder, file), readFileSync(join(ROOT, folder, file), "utf8")]);
const sorted = (labels: Readonly<Record<string, string>>) =>
  Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
/** Without what only a histogram's buckets have. */
const labelsIn = (line: string): string =>
  JSON.stringify(
    sorted(
      Object.fromEntries(
        Array.from(line.matchAll(/([a-z_]+)="([^"]*)"/g), ([, name = "", value = ""]) => [name, value]),
      ),
    ),
  );
const startOf = async (role: "webhook" | "reconciler"): Promise<readonly string[]> =>
  (await makeMetrics(role, { runtime: false }).text())
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
/** What each process exports before anything has happened. */
const START = { webhook: await startOf("webhook"), reconciler: await startOf("reconciler") };
/** Roles of the database that have the prefix, too. */
const NO_METRICS = new Set(["unified_rbac_webhook", "unified_rbac_reconciler"]);

describe.each(ALL)("%s", (name, { type, role, help, labels = {}, buckets, isUnknownAtFirst }) => {
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
      ([file, text]) => !file.startsWith("src/api/") && text.includes(`"${name}"`),
    );
    expect(setting).toHaveLength(1);
  });

  it("is exported by its own process alone, with every series that the catalogue knows, from the start", () => {
    for (const process of ["webhook", "reconciler"] as const) {
      const lines = START[process].filter(
        (line) => line.split(/[{ ]/)[0]?.replace(/_(bucket|sum|count)$/, "") === name,
      );
      const shown = new Set(lines.filter((line) => !/_(bucket|sum)\{/.test(line)).map(labelsIn));
      const isHere = role === process || role === "both";
      const expected = isHere && isUnknownAtFirst !== true ? knownSeries(METRICS[name as keyof typeof METRICS]) : [];
      expect(shown).toEqual(new Set(expected.map((each) => JSON.stringify(sorted({ ...each, role: process })))));
      for (const line of lines) expect(line.endsWith(" 0")).toBe(true);
    }
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
      // Every metric has it.
      if (label === "role") continue;
      const values = ALL.find(([each]) => each === name)?.[1].labels?.[label];
      expect(values, `${name} has no label ${label}`).toBeDefined();
      expect(typeof values === "object" ? values : [value]).toContain(value);
    }
  });
});

describe("the gauges of the state store", () => {
  const nothing = {
    users: {},
    errors: {},
    overdue: { ready: 0, removed: 0 },
    waiting: {},
    due: 0,
    oldestDueAt: 0,
    oldestDriftCheckAt: 0,
    cleanups: 0,
    outbox: 0,
    oldestOutboxAt: 0,
    parkedEvents: 0,
  };
  const clock = { now: () => 1_700_000_000_000 };

  it("show 0 for a state that nobody is in any more, and count reasons of other versions together", async () => {
    const metrics = makeMetrics("reconciler", { runtime: false });
    recordStoreStats(metrics, { ...nothing, users: { pending: 2 }, errors: { OfTomorrow: 2, Gone: 1 } }, clock);
    expect(await metrics.text()).toContain('unified_rbac_users_with_error{reason="other",role="reconciler"} 3');
    recordStoreStats(metrics, { ...nothing, users: { done: 2 } }, clock);
    const text = await metrics.text();
    expect(text).toContain('unified_rbac_users{state="done",role="reconciler"} 2');
    expect(text).toContain('unified_rbac_users{state="pending",role="reconciler"} 0');
    expect(text).not.toContain("OfTomorrow");
  });

  it("say when they were read, in seconds", async () => {
    const metrics = makeMetrics("reconciler", { runtime: false });
    expect(await metrics.text()).toContain('unified_rbac_store_stats_timestamp_seconds{role="reconciler"} 0');
    recordStoreStats(metrics, nothing, clock);
    expect(await metrics.text()).toContain('unified_rbac_store_stats_timestamp_seconds{role="reconciler"} 1700000000');
  });
});

it("reads what stands in memory before each scrape", async () => {
  const metrics = makeMetrics("reconciler", { runtime: false });
  let busy = 1;
  metrics.onScrape(() => metrics.set("unified_rbac_active_workers", busy));
  expect(await metrics.text()).toContain('unified_rbac_active_workers{role="reconciler"} 1');
  busy = 3;
  expect(await metrics.text()).toContain('unified_rbac_active_workers{role="reconciler"} 3');
});

it("refuses a value of the other process", () => {
  const metrics = makeMetrics("reconciler", { runtime: false });
  expect(() => metrics.set("unified_rbac_certificate_expiry_timestamp_seconds", 1)).toThrow(
    "no metric of the reconciler",
  );
});
