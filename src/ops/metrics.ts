import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { type MetricEntry, type MetricName, METRICS, type MetricType } from "../api/metrics.ts";
import type { StoreStats } from "../store/stats.ts";

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
  readonly registry: Registry;
  increment<Name extends NameOf<"counter">>(name: Name, ...labels: WithLabels<Name>): void;
  observe<Name extends NameOf<"histogram">>(name: Name, value: number, ...labels: WithLabels<Name>): void;
  set<Name extends NameOf<"gauge">>(name: Name, value: number, ...labels: WithLabels<Name>): void;
  /** The gauge of one label by that label's values; what is not among them is no longer shown. */
  setAll(name: NameOf<"gauge">, values: Readonly<Record<string, number>>): void;
}

/** Its own registry, so that two can live in one test. */
export function makeMetrics(role: MetricEntry["role"], options: { runtime?: boolean } = {}): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ role });
  if (options.runtime !== false) collectDefaultMetrics({ register: registry });
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();

  for (const [name, entry] of Object.entries<MetricEntry>(METRICS)) {
    if (entry.role !== role) continue;
    const settings = { name, help: entry.help, labelNames: Object.keys(entry.labels ?? {}), registers: [registry] };
    if (entry.type === "counter") counters.set(name, new Counter(settings));
    else if (entry.type === "gauge") gauges.set(name, new Gauge(settings));
    else histograms.set(name, new Histogram({ ...settings, buckets: [...(entry.buckets ?? [])] }));
  }

  function named<Metric>(metrics: ReadonlyMap<string, Metric>, name: MetricName): Metric {
    const metric = metrics.get(name);
    if (metric === undefined) throw new TypeError(`${name} is no metric of the ${role}`);
    return metric;
  }

  return {
    registry,
    increment: (name, ...[labels = {}]) => named(counters, name).inc(labels),
    observe: (name, value, ...[labels = {}]) => named(histograms, name).observe(labels, value),
    set: (name, value, ...[labels = {}]) => named(gauges, name).set(labels, value),
    setAll(name, values) {
      const gauge = named(gauges, name);
      const [label = ""] = Object.keys((METRICS[name] as MetricEntry).labels ?? {});
      // A state that no user is in any more must not keep its last number.
      gauge.reset();
      for (const [value, count] of Object.entries(values)) gauge.set({ [label]: value }, count);
    },
  };
}

/** What the state store holds, read from it now and then; each call replaces all earlier values. */
export function recordStoreStats(metrics: Metrics, now: StoreStats): void {
  metrics.setAll("unified_rbac_users", now.users);
  metrics.setAll("unified_rbac_users_with_error", now.errors);
  metrics.setAll("unified_rbac_waiting_objects", now.waiting);
  metrics.set("unified_rbac_due_sagas", now.due);
  metrics.set("unified_rbac_oldest_due_saga_age_seconds", now.oldestDueSeconds);
  metrics.set("unified_rbac_pending_cleanups", now.cleanups);
  metrics.set("unified_rbac_outbox_events", now.outbox);
  metrics.set("unified_rbac_oldest_outbox_event_age_seconds", now.oldestOutboxSeconds);
  metrics.set("unified_rbac_parked_events", now.parkedEvents);
}
