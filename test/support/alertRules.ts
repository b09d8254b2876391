/** The alerts and recording rules of manifests/monitoring, as a Prometheus without an operator reads them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import * as z from "zod";

const FOLDER = join(import.meta.dirname, "../../manifests/monitoring");

const rule = z.object({
  alert: z.string().optional(),
  record: z.string().optional(),
  expr: z.string(),
  for: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
export type Rule = z.infer<typeof rule>;
const resource = z.looseObject({
  kind: z.literal("PrometheusRule"),
  spec: z.object({ groups: z.array(z.object({ name: z.string(), rules: z.array(rule) })) }),
});

const groups = ["rules.yaml", "objectives.yaml"]
  .flatMap((file) => parseAllDocuments(readFileSync(join(FOLDER, file), "utf8")))
  .flatMap((document) => resource.parse(document.toJS()).spec.groups);

export const RULES: readonly Rule[] = groups.flatMap(({ rules }) => rules);
export const ALERTS: readonly (Rule & { readonly alert: string })[] = RULES.flatMap((each) =>
  each.alert === undefined ? [] : [{ ...each, alert: each.alert }],
);

/** A file of rules; `change` may shorten what a test cannot wait for. */
export function ruleFile(change: (rule: Rule) => Rule = (same) => same, interval?: string): string {
  return stringify({
    groups: groups.map((group) => ({
      ...group,
      ...(interval === undefined ? {} : { interval }),
      rules: group.rules.map(change),
    })),
  });
}
