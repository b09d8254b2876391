/**
 * Every metric of the service, once: the registry, docs/metrics.md and the tests of alert rules follow from here. Names
 * follow the conventions of Prometheus and are API. Label values come from closed sets: never a user's, an object's or a
 * tenant's name.
 */
import { SAGA_STATES, STEP_NAMES } from "./tenantUser.ts";

export type MetricType = "counter" | "gauge" | "histogram";

export interface MetricEntry {
  readonly type: MetricType;
  readonly role: "webhook" | "reconciler";
  /** One sentence. */
  readonly help: string;
  /** What each label can be: the values themselves, or which closed set of words they are from. */
  readonly labels?: Readonly<Record<string, readonly string[] | string>>;
  /** Of a histogram. */
  readonly buckets?: readonly number[];
}

/** `unrecorded`: admitted, and Postgres did not answer. `error`: no admission request, or the webhook failed on it. */
export const ADMISSION_OUTCOMES = ["allowed", "warned", "unrecorded", "denied", "error"] as const;

const REASON_LABEL = "a reason of the API";

export const METRICS = {
  unified_rbac_admission_requests_total: {
    type: "counter",
    role: "webhook",
    help: "Admission requests by their outcome.",
    labels: {
      webhook: ["mutate", "validate"],
      outcome: ADMISSION_OUTCOMES,
    },
  },
  unified_rbac_admission_request_duration_seconds: {
    type: "histogram",
    role: "webhook",
    help: "Time to answer an admission request.",
    labels: { webhook: ["mutate", "validate"] },
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2],
  },
  unified_rbac_certificate_expiry_timestamp_seconds: {
    type: "gauge",
    role: "webhook",
    help: "When the webhook's certificate expires, in seconds since 1970.",
  },
  unified_rbac_step_attempts_total: {
    type: "counter",
    role: "reconciler",
    help: "Attempts of steps by their outcome.",
    labels: {
      step: STEP_NAMES,
      direction: ["up", "down"],
      outcome: "done, or the class of the error: transient, conflict, terminal or waiting",
    },
  },
  unified_rbac_step_duration_seconds: {
    type: "histogram",
    role: "reconciler",
    help: "Time of one attempt of a step.",
    labels: { step: STEP_NAMES, direction: ["up", "down"] },
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  unified_rbac_polls_total: {
    type: "counter",
    role: "reconciler",
    help: "Polls for due work, by what caused them.",
    labels: { source: ["heartbeat", "local", "timer", "watch"] },
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
    labels: { reason: REASON_LABEL },
  },
  unified_rbac_waiting_objects: {
    type: "gauge",
    role: "reconciler",
    help: "TenantUsers that wait for accounts, by the reason.",
    labels: { reason: REASON_LABEL },
  },
  unified_rbac_due_sagas: { type: "gauge", role: "reconciler", help: "Sagas that are due now." },
  unified_rbac_oldest_due_saga_age_seconds: {
    type: "gauge",
    role: "reconciler",
    help: "How long the oldest of the due sagas has been due.",
  },
  unified_rbac_pending_cleanups: {
    type: "gauge",
    role: "reconciler",
    help: "Users whose finalizer was released before all their accounts were removed.",
  },
  unified_rbac_outbox_events: { type: "gauge", role: "reconciler", help: "Events that NATS has not accepted yet." },
  unified_rbac_oldest_outbox_event_age_seconds: {
    type: "gauge",
    role: "reconciler",
    help: "Age of the oldest event that NATS has not accepted yet.",
  },
  unified_rbac_parked_events: {
    type: "gauge",
    role: "reconciler",
    help: "Events that NATS refuses, so that they are not sent again by themselves.",
  },
  unified_rbac_open_breakers: {
    type: "gauge",
    role: "reconciler",
    help: "Open circuit breakers: of upstreams that do not answer, or of tenants whose realm or credential fails.",
    labels: { scope: ["origin", "tenant"] },
  },
  unified_rbac_upstream_concurrency_limit_min: {
    type: "gauge",
    role: "reconciler",
    help: "The lowest current limit of concurrent steps at one upstream.",
  },
  unified_rbac_upstream_steps_in_flight: {
    type: "gauge",
    role: "reconciler",
    help: "Steps that call an upstream now.",
  },
  unified_rbac_upstream_steps_waiting: {
    type: "gauge",
    role: "reconciler",
    help: "Steps that wait because their upstream is at its concurrency limit.",
  },
  unified_rbac_skipped_items_total: {
    type: "counter",
    role: "reconciler",
    help: "Items left out so that the rest of their batch could be processed.",
    labels: { kind: ["observation", "audit", "object"] },
  },
  unified_rbac_gateway_password_resets_total: {
    type: "counter",
    role: "reconciler",
    help: "Passwords set again at a gateway: the master key is new, or the gateway refused the old password.",
    labels: { cause: ["master-key", "refused"] },
  },
} as const satisfies Readonly<Record<string, MetricEntry>>;
export type MetricName = keyof typeof METRICS;
