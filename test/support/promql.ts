/** What a PromQL expression of ours names, and what our processes export: enough of both to hold one against the other. */

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly { readonly label: string; readonly values: readonly string[] }[];
}

/** Selectors of our metrics; of a recorded one (with a colon) none. */
export function selectorsIn(expression: string): readonly Selector[] {
  return Array.from(
    expression.matchAll(/\b(unified_rbac_[a-z_]+)\b(?!:)(?:\{([^}]*)\})?/g),
    ([, metric = "", inner = ""]) => ({
      metric,
      matchers: Array.from(inner.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"/g), ([, label = "", value = ""]) => ({
        label,
        // Of a pattern, each of its alternatives.
        values: value.replaceAll(/[()]/g, "").split("|"),
      })),
    }),
  );
}

/** Labels by which an expression groups or joins. */
export function groupingsIn(expression: string): readonly string[] {
  return Array.from(expression.matchAll(/\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g), ([, inner = ""]) => inner)
    .flatMap((inner) => inner.split(","))
    .map((label) => label.trim())
    .filter((label) => label !== "");
}

/** Metric -> label -> values, of a text in Prometheus's format. */
export type Exported = ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>>;

export function exportedIn(...texts: readonly string[]): Exported {
  const all = new Map<string, Map<string, Set<string>>>();
  for (const line of texts.join("\n").split("\n")) {
    const [, metric = "", inner = ""] = /^([a-zA-Z_:]+)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    if (metric === "") continue;
    const labels = all.get(metric) ?? new Map<string, Set<string>>();
    all.set(metric, labels);
    for (const [, label = "", value = ""] of inner.matchAll(/([a-zA-Z_]+)="([^"]*)"/g)) {
      labels.set(label, (labels.get(label) ?? new Set()).add(value));
    }
  }
  return all;
}

/** Sentences about what an expression names and nobody exports. */
export function unknownIn(expression: string, exported: Exported): readonly string[] {
  const found: string[] = [];
  const selectors = selectorsIn(expression);
  for (const { metric, matchers } of selectors) {
    const labels = exported.get(metric);
    if (labels === undefined) found.push(`there is no metric ${metric}`);
    for (const { label, values } of labels === undefined ? [] : matchers) {
      const known = labels?.get(label);
      if (known === undefined) found.push(`${metric} has no label ${label}`);
      // Prometheus 3 writes the bounds of buckets in another way; the expressions take both.
      else if (label === "le") continue;
      else
        found.push(...values.filter((value) => !known.has(value)).map((value) => `${metric} has no ${label} ${value}`));
    }
  }
  const ours = new Set(selectors.flatMap(({ metric }) => [...(exported.get(metric)?.keys() ?? [])]));
  // Prometheus gives each target its own.
  const given = new Set(["instance", "job", "pod"]);
  found.push(
    ...groupingsIn(expression)
      .filter((label) => selectors.length > 0 && !ours.has(label) && !given.has(label))
      .map((label) => `nothing of it has the label ${label}`),
  );
  return found;
}
