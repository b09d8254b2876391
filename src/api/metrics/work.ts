/** What the reconciler exports of its own work, in the terms of controllers. */
import { STEP_NAMES } from "../tenantUser.ts";
import type { MetricEntries } from "./entry.ts";

/** Both service level objectives: Ready so soon after the creation, removed so soon after the deletion. */
export const OBJECTIVE_SECONDS = 60;

const UNTIL_THEN = [0.5, 1, 2, 5, 10, 30, OBJECTIVE_SECONDS, 120, 300, 600, 1800, 3600];

/** `requeue`: it waits for something and is due again. `lost`: another worker has taken the saga over. */
export const RECONCILE_RESULTS = ["success", "requeue", "error", "lost"] as const;
/** How an attempt of a step ends: well, or with the class of its error. */
export const STEP_OUTCOMES = ["done", "transient", "conflict", "terminal", "waiting"] as const;
export const DRIFT_STEPS = [...STEP_NAMES, "status"] as const;
export const WATCHED = ["tenantusers", "tenants", "secrets", "other"] as const;

const STEP_LABELS = { step: STEP_NAMES, direction: ["up", "down"] } as const;

export const WORK_METRICS = {
  unified_rbac_reconcile_total: {
    type: "counter",
    role: "reconciler",
    help: "Claims of sagas that ended, by their result.",
    labels: { result: RECONCILE_RESULTS },
  },
  unified_rbac_reconcile_errors_total: {
    type: "counter",
    role: "reconciler",
    help: "Claims of sagas that ended with an error.",
  },
  unified_rbac_reconcile_duration_seconds: {
    type: "histogram",
    role: "reconciler",
    help: "Time from the claim of a saga to its end.",
    buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  },
  unified_rbac_workqueue_depth: { type: "gauge", role: "reconciler", help: "Sagas that are due now." },
  unified_rbac_workqueue_queue_duration_seconds: {
    type: "histogram",
    role: "reconciler",
    help: "How long a saga was due when it was claimed.",
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300],
  },
  unified_rbac_oldest_due_saga_timestamp_seconds: {
    type: "gauge",
    role: "reconciler",
    help: "Since when the oldest of the due sagas has been due, in seconds since 1970; 0: none is due.",
  },
  unified_rbac_active_workers: { type: "gauge", role: "reconciler", help: "Claims that are worked on now." },
  unified_rbac_max_concurrent_reconciles: {
    type: "gauge",
    role: "reconciler",
    help: "The most claims that this process works on at once (WORKERS).",
  },
  unified_rbac_leases_lost_total: {
    type: "counter",
    role: "reconciler",
    help: "Leases that another worker took over while this one still worked on the saga.",
  },
  unified_rbac_polls_total: {
    type: "counter",
    role: "reconciler",
    help: "Polls for due work, by what caused them.",
    labels: { source: ["heartbeat", "local", "timer", "watch"] },
  },
  unified_rbac_step_attempts_total: {
    type: "counter",
    role: "reconciler",
    help: "Attempts of steps by their outcome: done, or the class of the error.",
    labels: { ...STEP_LABELS, outcome: STEP_OUTCOMES },
  },
  unified_rbac_step_duration_seconds: {
    type: "histogram",
    role: "reconciler",
    help: "Time of one attempt of a step.",
    labels: STEP_LABELS,
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  unified_rbac_time_to_ready_seconds: {
    type: "histogram",
    role: "reconciler",
    help: "Time from the creation of a TenantUser until it is Ready for the first time. Without those whose tenant had to act.",
    buckets: UNTIL_THEN,
  },
  unified_rbac_time_to_removed_seconds: {
    type: "histogram",
    role: "reconciler",
    help: "Time from the deletion of a TenantUser until its access is gone and the object is released.",
    buckets: UNTIL_THEN,
  },
  unified_rbac_drift_corrections_total: {
    type: "counter",
    role: "reconciler",
    help: "Users that a drift check found to differ from Git, by the step that corrects it; `status`: the status alone.",
    labels: { step: DRIFT_STEPS },
  },
  unified_rbac_watch_restarts_total: {
    type: "counter",
    role: "reconciler",
    help: "Watches that broke and began again, by what they watch.",
    labels: { resource: WATCHED },
  },
  unified_rbac_nats_connected: { type: "gauge", role: "reconciler", help: "Whether NATS is connected: 1 or 0." },
  unified_rbac_skipped_items_total: {
    type: "counter",
    role: "reconciler",
    help: "Items left out so that the rest of their batch could be processed.",
    labels: { kind: ["observation", "audit", "object"] },
  },
} as const satisfies MetricEntries;
