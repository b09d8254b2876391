/** What stands in the catalogue of metrics for one of them. */
export type MetricType = "counter" | "gauge" | "histogram";
export type MetricRole = "webhook" | "reconciler";

export interface MetricEntry {
  readonly type: MetricType;
  /** The process that exports it. */
  readonly role: MetricRole | "both";
  /** One sentence. */
  readonly help: string;
  /** What each label can be: a closed list, of which every value is exported as 0 from the start; or a word on it. */
  readonly labels?: Readonly<Record<string, readonly string[] | string>>;
  /** The combinations that exist, where not every value of one label goes with every value of another. */
  readonly series?: readonly Readonly<Record<string, string>>[];
  /** Of a histogram. */
  readonly buckets?: readonly number[];
  /** A gauge of which nothing is exported before its first value: 0 would say something else. */
  readonly isUnknownAtFirst?: true;
}

export type MetricEntries = Readonly<Record<string, MetricEntry>>;
