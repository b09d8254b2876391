/**
 * The service level objectives, once: recording rules, alerts of burn rates and the page follow from here. A user who does
 * not get there counts as missed for as long as that lasts.
 */
import { OBJECTIVE_SECONDS } from "./metrics/work.ts";

export interface Objective {
  /** The label of `unified_rbac_users_overdue`, and the name in rules. */
  readonly name: "ready" | "removed";
  readonly alert: string;
  readonly histogram: "unified_rbac_time_to_ready_seconds" | "unified_rbac_time_to_removed_seconds";
  /** One sentence. */
  readonly promise: string;
  readonly summary: string;
}

export const OBJECTIVES: readonly Objective[] = [
  {
    name: "ready",
    alert: "UnifiedRBACReadyBudgetBurn",
    histogram: "unified_rbac_time_to_ready_seconds",
    promise: `99 % of new users are Ready within ${OBJECTIVE_SECONDS} s of the creation of their TenantUser.`,
    summary: `Too many users are not Ready within ${OBJECTIVE_SECONDS} s of their creation.`,
  },
  {
    name: "removed",
    alert: "UnifiedRBACRemovedBudgetBurn",
    histogram: "unified_rbac_time_to_removed_seconds",
    promise: `99 % of deleted users have lost their access within ${OBJECTIVE_SECONDS} s of the deletion of their TenantUser.`,
    summary: `Too many users keep access for more than ${OBJECTIVE_SECONDS} s after their deletion.`,
  },
];

/** The part of users who may miss an objective within 30 days. */
const BUDGET = 0.01;
/** Fewer than these wake nobody at night, however few there were in all. */
export const WAKING_USERS = 5;

/** How fast the budget of 30 days may be used, over which windows: the short one says that it still is. */
const BURN_RATES = [
  { severity: "critical", rate: 14.4, long: "1h", short: "5m" },
  { severity: "critical", rate: 6, long: "6h", short: "30m" },
  { severity: "warning", rate: 3, long: "1d", short: "2h" },
  { severity: "warning", rate: 1, long: "3d", short: "6h" },
] as const;
const WINDOWS = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"] as const;
type Window = (typeof WINDOWS)[number];

const missed = (name: string, window: Window): string => `unified_rbac:${name}_missed:increase${window}`;
const ratio = (name: string, window: Window): string => `unified_rbac:${name}_missed:ratio${window}`;

/** All replicas count their own; each reads the same overdue users. Prometheus 3 writes the bound of a bucket as 60.0. */
function recording({ name, histogram }: Objective, window: Window) {
  const overdue = `max(unified_rbac_users_overdue{objective="${name}"})`;
  const all = `sum(increase(${histogram}_count[${window}]))`;
  const inTime = `sum(increase(${histogram}_bucket{le=~"${OBJECTIVE_SECONDS}([.]0)?"}[${window}]))`;
  return [
    { record: missed(name, window), expr: `clamp_min(${all} - ${inTime}, 0) + ${overdue}` },
    { record: ratio(name, window), expr: `${missed(name, window)} / (${all} + ${overdue} > 0)` },
  ];
}

function burns({ name }: Objective, severity: "critical" | "warning"): string {
  return BURN_RATES.filter((each) => each.severity === severity)
    .map(({ rate, long, short }) => {
      const most = Number((rate * BUDGET).toFixed(4));
      const enough = severity === "critical" ? ` and ${missed(name, long)} >= ${WAKING_USERS}` : "";
      return `(${ratio(name, long)} > ${most} and ${ratio(name, short)} > ${most}${enough})`;
    })
    .join(" or ");
}

function alert(objective: Objective, severity: "critical" | "warning", runbookURL: (alert: string) => string) {
  return {
    alert: objective.alert,
    expr: burns(objective, severity),
    for: "2m",
    labels: { severity },
    annotations: {
      summary: objective.summary,
      description: objective.promise,
      runbook_url: runbookURL(objective.alert),
    },
  };
}

/** Two PrometheusRules: one that records, one that alerts. */
export function objectiveRules(runbookURL: (alert: string) => string): readonly object[] {
  const rules = (name: string, groups: readonly object[]) => ({
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name, namespace: "unified-rbac-system", labels: { "app.kubernetes.io/component": "metrics" } },
    spec: { groups },
  });
  return [
    rules("unified-rbac-objectives", [
      {
        name: "unified-rbac-objectives",
        rules: OBJECTIVES.flatMap((objective) => WINDOWS.flatMap((window) => recording(objective, window))),
      },
    ]),
    rules("unified-rbac-burn-rates", [
      {
        name: "unified-rbac-burn-rates",
        rules: OBJECTIVES.flatMap((objective) =>
          (["critical", "warning"] as const).map((severity) => alert(objective, severity, runbookURL)),
        ),
      },
    ]),
  ];
}
