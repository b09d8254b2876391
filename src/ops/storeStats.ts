import type { Clock } from "../lib/clock.ts";
import type { StoreStats } from "../store/stats.ts";
import type { Metrics } from "./metrics.ts";

/**
 * What the state store holds, read from it now and then; each call replaces all earlier values. While nothing can be read
 * they stay as they are, and the time of the last reading tells how old they are.
 */
export function recordStoreStats(metrics: Metrics, now: StoreStats, clock: Clock): void {
  metrics.setAll("unified_rbac_users", now.users);
  metrics.setAll("unified_rbac_users_with_error", now.errors);
  metrics.setAll("unified_rbac_users_overdue", now.overdue);
  metrics.setAll("unified_rbac_waiting_objects", now.waiting);
  metrics.set("unified_rbac_workqueue_depth", now.due);
  metrics.set("unified_rbac_oldest_due_saga_timestamp_seconds", now.oldestDueAt);
  metrics.set("unified_rbac_oldest_due_drift_check_timestamp_seconds", now.oldestDriftCheckAt);
  metrics.set("unified_rbac_pending_cleanups", now.cleanups);
  metrics.set("unified_rbac_outbox_events", now.outbox);
  metrics.set("unified_rbac_oldest_outbox_event_timestamp_seconds", now.oldestOutboxAt);
  metrics.set("unified_rbac_parked_events", now.parkedEvents);
  metrics.set("unified_rbac_store_stats_timestamp_seconds", clock.now() / 1000);
}
