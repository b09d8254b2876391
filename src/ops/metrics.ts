import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { MetricEntry, MetricRole, MetricType } from "../api/metrics/entry.ts";
import { knownSeries, type MetricName, METRICS } from "../api/metrics.ts";

type Catalogue = typeof METRICS;
type NameOf<Type extends MetricType> = {
  [Name in MetricName]: Catalogue[Name]["type"] extends Type ? Name : never;
}[MetricName];
type Values<Spec> = Spec extends readonly (infer Value)[] ? Value : string;
type LabelsOf<Name extends MetricName> = Catalogue[Name] extends { readonly labels: infer Specs }
  ? { readonly [Label in keyof Specs]: Values<Specs[Label]> }
  : Readonly<Record<never, string>>;
type WithLabels<Name extends MetricName> = Catalogue[Name] extends { readonly labels: object }
  ? [labels: LabelsOf<Name>]
  : [];

/** Values for the metrics of src/api/metrics.ts; each is set by the process whose role it has. */
export interface Metrics {
  increment<Name extends NameOf<"counter">>(name: Name, ...labels: WithLabels<Name>): void;
  /** The same, by more than one. */
  add<Name extends NameOf<"counter">>(name: Name, count: number, ...labels: WithLabels<Name>): void;
  observe<Name extends NameOf<"histogram">>(name: Name, value: number, ...labels: WithLabels<Name>): void;
  set<Name extends NameOf<"gauge">>(name: Name, value: number, ...labels: WithLabels<Name>): void;
  /**
   * The gauge of one label by that label's values: those that are not given are 0, and what the catalogue does not know
   * counts as its value `other`.
   */
  setAll(name: NameOf<"gauge">, values: Readonly<Record<string, number>>): void;
  /** `read` sets what stands in memory; it is called before each scrape, and must not wait for anything. */
  onScrape(read: () => void): void;
  /** What Prometheus reads. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Its own registry, so that two can live in one test. Every series that the catalogue knows is there from the start. */
export function makeMetrics(role: MetricRole, options: { runtime?: boolean } = {}): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ role });
  if (options.runtime !== false) collectDefaultMetrics({ register: registry });
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  const reads: (() => void)[] = [];

  for (const [name, entry] of Object.entries<MetricEntry>(METRICS)) {
    if (entry.role !== role && entry.role !== "both") continue;
    const settings = { name, help: entry.help, labelNames: Object.keys(entry.labels ?? {}), registers: [registry] };
    const series = knownSeries(entry);
    if (entry.type === "counter") {
      const counter = new Counter(settings);
      for (const labels of series) counter.inc(labels, 0);
      counters.set(name, counter);
    } else if (entry.type === "gauge") {
      const gauge = new Gauge(settings);
      for (const labels of series) gauge.set(labels, 0);
      if (entry.isUnknownAtFirst === true) gauge.remove({});
      gauges.set(name, gauge);
    } else {
      const histogram = new Histogram({ ...settings, buckets: [...(entry.buckets ?? [])] });
      for (const labels of series) histogram.zero(labels);
      histograms.set(name, histogram);
    }
  }

  function named<Metric>(metrics: ReadonlyMap<string, Metric>, name: MetricName): Metric {
    const metric = metrics.get(name);
    if (metric === undefined) throw new TypeError(`${name} is no metric of the ${role}`);
    return metric;
  }

  return {
    increment: (name, ...[labels = {}]) => named(counters, name).inc(labels),
    add: (name, count, ...[labels = {}]) => named(counters, name).inc(labels, count),
    observe: (name, value, ...[labels = {}]) => named(histograms, name).observe(labels, value),
    set: (name, value, ...[labels = {}]) => named(gauges, name).set(labels, value),
    setAll(name, values) {
      const gauge = named(gauges, name);
      const [label = ""] = Object.keys((METRICS[name] as MetricEntry).labels ?? {});
      const known = new Map(knownSeries(METRICS[name]).map((labels) => [labels[label] ?? "", 0]));
      for (const [value, count] of Object.entries(values)) {
        const counted = known.has(value) ? value : "other";
        if (known.has(counted)) known.set(counted, (known.get(counted) ?? 0) + count);
      }
      for (const [value, count] of known) gauge.set({ [label]: value }, count);
    },
    onScrape: (read) => void reads.push(read),
    text() {
      for (const read of reads) read();
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}
