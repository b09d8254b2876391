/** The page about metrics. */
import type { MetricEntry } from "./metrics/entry.ts";
import { METRICS } from "./metrics.ts";
import { table } from "./reference.ts";

export function metricsPage(): string {
  const rows = Object.entries<MetricEntry>(METRICS).map(([name, { type, role, labels = {}, help }]) => [
    `\`${name}\``,
    type,
    role,
    Object.entries(labels)
      .map(([label, values]) => `\`${label}\`: ${typeof values === "string" ? values : values.join(", ")}`)
      .join("; "),
    help,
  ]);
  return `<!-- Generated from src/api/metrics.ts by \`npm run generate\`. Do not edit. -->

# Metrics

Both processes serve Prometheus metrics at \`/metrics\` on \`OPS_ADDRESS\`, each with the label \`role\`, beside the default
metrics of Node.js (\`process_*\`, \`nodejs_*\`). Labels never hold the name of a user, an object or a tenant. Every
replica of the reconciler reads the same gauges from the state store: use \`max\`, not \`sum\`.

[observability.md](observability.md) says how to install alerts and dashboards. While Postgres is down, the gauges of
the state store keep their last values; \`unified_rbac_store_stats_timestamp_seconds\` says how old they are.

${table(["Metric", "Type", "Role", "Labels", "Meaning"], rows)}
`;
}
