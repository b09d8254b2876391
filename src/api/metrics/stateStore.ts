/** What the reconciler reads from the state store, every HEARTBEAT_SECONDS; all replicas read the same. */
import { REASON, type Reason } from "../reasons.ts";
import { SAGA_STATES } from "../tenantUser.ts";
import type { MetricEntries } from "./entry.ts";

const WORDS = Object.keys(REASON) as Reason[];
/** `other`: recorded by another version. */
const REASONS_AND_OTHERS = [...WORDS, "other"] as const;

export const STATE_STORE_METRICS = {
  unified_rbac_store_stats_timestamp_seconds: {
    type: "gauge",
    role: "reconciler",
    help: "When this process last read the gauges of the state store, in seconds since 1970; 0: never.",
  },
  unified_rbac_users: {
    type: "gauge",
    role: "reconciler",
    help: "Users by state.",
    labels: { state: SAGA_STATES },
  },
  unified_rbac_users_with_error: {
    type: "gauge",
    role: "reconciler",
    help: "Failed and deleting users, by the reason of their last error.",
    labels: { reason: REASONS_AND_OTHERS },
  },
  unified_rbac_users_overdue: {
    type: "gauge",
    role: "reconciler",
    help: "Users past the objective: not Ready 60 s after creation, or not removed 60 s after deletion. Without those whose tenant must act.",
    labels: { objective: ["ready", "removed"] },
  },
  unified_rbac_waiting_objects: {
    type: "gauge",
    role: "reconciler",
    help: "TenantUsers that wait for accounts, by the reason.",
    labels: { reason: REASONS_AND_OTHERS },
  },
  unified_rbac_pending_cleanups: {
    type: "gauge",
    role: "reconciler",
    help: "Users whose finalizer was released before all their accounts were removed.",
  },
  unified_rbac_tenants: {
    type: "gauge",
    role: "reconciler",
    help: "Tenants by their Ready condition and its reason.",
    labels: { ready: ["true", "false"], reason: REASONS_AND_OTHERS },
    series: [
      { ready: "true", reason: REASON.Ready },
      ...REASONS_AND_OTHERS.filter((reason) => reason !== "Ready").map((reason) => ({ ready: "false", reason })),
    ],
  },
  unified_rbac_oldest_due_drift_check_timestamp_seconds: {
    type: "gauge",
    role: "reconciler",
    help: "Since when the oldest of the due drift checks of ready Tenants has been due, in seconds since 1970; 0: none is due.",
  },
  unified_rbac_outbox_events: { type: "gauge", role: "reconciler", help: "Events that NATS has not accepted yet." },
  unified_rbac_oldest_outbox_event_timestamp_seconds: {
    type: "gauge",
    role: "reconciler",
    help: "When the oldest event that NATS has not accepted was recorded, in seconds since 1970; 0: there is none.",
  },
  unified_rbac_parked_events: {
    type: "gauge",
    role: "reconciler",
    help: "Events that NATS refuses, so that they are not sent again by themselves.",
  },
} as const satisfies MetricEntries;
