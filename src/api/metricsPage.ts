/** The page about metrics. */
import { type MetricEntry, METRICS } from "./metrics.ts";
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

\`manifests/monitoring\` has a ServiceMonitor and alert rules; the [runbook](runbook.md#alerts) explains each alert.

${table(["Metric", "Type", "Role", "Labels", "Meaning"], rows)}
`;
}
