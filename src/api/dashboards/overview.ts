import type { Dashboard } from "./panel.ts";

const RATE = "$__rate_interval";
const quantile = (q: number, histogram: string, by = "le"): string =>
  `histogram_quantile(${q}, sum by (${by}) (rate(${histogram}_bucket[${RATE}])))`;

export const OVERVIEW: Dashboard = {
  uid: "unified-rbac-overview",
  title: "unified-rbac / overview",
  about: "Who waits, why and how long; what admission answers; how the steps go.",
  rows: [
    {
      title: "Now",
      panels: [
        {
          title: "Users done",
          about: "Users whose object matches its spec.",
          kind: "stat",
          queries: [{ expr: 'max(unified_rbac_users{state="done"})', legend: "done" }],
        },
        {
          title: "Waiting objects",
          about: "TenantUsers that wait for accounts.",
          kind: "stat",
          queries: [{ expr: "sum(max by (reason) (unified_rbac_waiting_objects))", legend: "waiting" }],
        },
        {
          title: "Failed users",
          about: "Steps failed five times; the service retries them with pauses.",
          kind: "stat",
          bad: 1,
          queries: [{ expr: 'max(unified_rbac_users{state="failed"})', legend: "failed" }],
        },
        {
          title: "Not Ready in time",
          about: "Users past the objective of 60 s. Without those whose tenant must act.",
          kind: "stat",
          bad: 1,
          queries: [{ expr: 'max(unified_rbac_users_overdue{objective="ready"})', legend: "overdue" }],
        },
        {
          title: "Not removed in time",
          about: "Deleted users who keep access for more than 60 s.",
          kind: "stat",
          bad: 1,
          queries: [{ expr: 'max(unified_rbac_users_overdue{objective="removed"})', legend: "overdue" }],
        },
        {
          title: "Age of these numbers",
          about: "Since the last reading of the state store; it grows while Postgres is down.",
          kind: "stat",
          unit: "s",
          bad: 180,
          queries: [{ expr: "time() - max(unified_rbac_store_stats_timestamp_seconds)", legend: "age" }],
        },
      ],
    },
    {
      title: "Who waits, and why",
      panels: [
        {
          title: "Users by state",
          about: "All users of the state store.",
          queries: [{ expr: "max by (state) (unified_rbac_users)", legend: "{{state}}" }],
        },
        {
          title: "Waiting objects by reason",
          about: "The reasons are those of the conditions; the runbook has an entry for each.",
          kind: "bars",
          queries: [{ expr: "topk(8, max by (reason) (unified_rbac_waiting_objects))", legend: "{{reason}}" }],
        },
        {
          title: "Failed and deleting users by reason",
          about: "The reason of the last error.",
          kind: "bars",
          bad: 1,
          queries: [{ expr: "topk(8, max by (reason) (unified_rbac_users_with_error))", legend: "{{reason}}" }],
        },
        {
          title: "Time to Ready",
          about: "From the creation of the object to its first Ready.",
          unit: "s",
          queries: [
            { expr: quantile(0.5, "unified_rbac_time_to_ready_seconds"), legend: "half" },
            { expr: quantile(0.99, "unified_rbac_time_to_ready_seconds"), legend: "99 %" },
          ],
        },
        {
          title: "Time to removed",
          about: "From the deletion of the object until its access is gone.",
          unit: "s",
          queries: [
            { expr: quantile(0.5, "unified_rbac_time_to_removed_seconds"), legend: "half" },
            { expr: quantile(0.99, "unified_rbac_time_to_removed_seconds"), legend: "99 %" },
          ],
        },
        {
          title: "Missed objectives, last three days",
          about: "The part of users who were not in time; the budget is 1 %.",
          unit: "percentunit",
          bad: 0.01,
          queries: [
            { expr: "unified_rbac:ready_missed:ratio3d", legend: "Ready" },
            { expr: "unified_rbac:removed_missed:ratio3d or vector(0)", legend: "removed" },
          ],
        },
      ],
    },
    {
      title: "Admission",
      panels: [
        {
          title: "Answers",
          about: "Requests of the API server by outcome; dry runs are Flux looking before it applies.",
          unit: "ops",
          queries: [
            {
              expr: `sum by (outcome, dry_run) (rate(unified_rbac_admission_requests_total{webhook="validate"}[${RATE}]))`,
              legend: "{{outcome}}, dry run: {{dry_run}}",
            },
          ],
        },
        {
          title: "Time to answer",
          about: "The API server waits two seconds.",
          unit: "s",
          bad: 1,
          queries: [
            {
              expr: quantile(0.99, "unified_rbac_admission_request_duration_seconds", "le, webhook"),
              legend: "{{webhook}}, 99 %",
            },
          ],
        },
        {
          title: "Not recorded",
          about: "Admitted while Postgres did not answer; the watch records the same objects later.",
          unit: "ops",
          queries: [
            {
              expr: `sum(rate(unified_rbac_admission_requests_total{outcome="unrecorded"}[${RATE}]))`,
              legend: "unrecorded",
            },
          ],
        },
      ],
    },
    {
      title: "Work",
      panels: [
        {
          title: "Claims by result",
          about: "requeue: it waits for something. lost: another worker has taken the saga over.",
          unit: "ops",
          queries: [{ expr: `sum by (result) (rate(unified_rbac_reconcile_total[${RATE}]))`, legend: "{{result}}" }],
        },
        {
          title: "Queue",
          about: "Sagas that are due, and how long each was due when a worker took it.",
          queries: [
            { expr: "max(unified_rbac_workqueue_depth)", legend: "due" },
            { expr: quantile(0.95, "unified_rbac_workqueue_queue_duration_seconds"), legend: "seconds due, 95 %" },
          ],
        },
        {
          title: "Workers",
          about: "Add replicas or WORKERS when all are active.",
          queries: [
            { expr: "sum(unified_rbac_active_workers)", legend: "active" },
            { expr: "sum(unified_rbac_max_concurrent_reconciles)", legend: "at most" },
          ],
        },
        {
          title: "Steps by outcome",
          about: "keycloak, newapi and secret; up makes, down removes.",
          unit: "ops",
          queries: [
            {
              expr: `sum by (step, direction, outcome) (rate(unified_rbac_step_attempts_total[${RATE}]))`,
              legend: "{{step}} {{direction}}: {{outcome}}",
            },
          ],
        },
        {
          title: "Time of a step",
          about: "One attempt, well or not.",
          unit: "s",
          queries: [
            {
              expr: quantile(0.95, "unified_rbac_step_duration_seconds", "le, step, direction"),
              legend: "{{step}} {{direction}}, 95 %",
            },
          ],
        },
        {
          title: "Events to send",
          about: "Events that NATS has not accepted, and those that it refuses.",
          queries: [
            { expr: "max(unified_rbac_outbox_events)", legend: "waiting" },
            { expr: "max(unified_rbac_parked_events)", legend: "parked" },
          ],
        },
      ],
    },
  ],
};
