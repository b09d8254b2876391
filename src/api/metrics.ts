/**
 * Every metric of the service, once: the registry, docs/metrics.md and the tests of alert rules follow from here. Names
 * follow the conventions of Prometheus and are API. Label values come from closed sets: never a user's, an object's or a
 * tenant's name.
 */
import { ADMISSION_METRICS } from "./metrics/admission.ts";
import type { MetricEntry } from "./metrics/entry.ts";
import { PROCESS_METRICS } from "./metrics/process.ts";
import { STATE_STORE_METRICS } from "./metrics/stateStore.ts";
import { UPSTREAM_METRICS } from "./metrics/upstreams.ts";
import { WORK_METRICS } from "./metrics/work.ts";

export const METRICS = {
  ...PROCESS_METRICS,
  ...ADMISSION_METRICS,
  ...WORK_METRICS,
  ...UPSTREAM_METRICS,
  ...STATE_STORE_METRICS,
} as const;
export type MetricName = keyof typeof METRICS;

/** The combinations of label values that exist, each exported from the start; none where a label has no closed list. */
export function knownSeries({ labels = {}, series }: MetricEntry): readonly Readonly<Record<string, string>>[] {
  if (series !== undefined) return series;
  let all: readonly Readonly<Record<string, string>>[] = [{}];
  for (const [label, values] of Object.entries(labels)) {
    if (typeof values === "string") return [];
    all = all.flatMap((each) => values.map((value) => ({ ...each, [label]: value })));
  }
  return all;
}
