/** What the webhook exports. */
import type { MetricEntries } from "./entry.ts";

/** `unrecorded`: admitted, and Postgres did not answer. `error`: no admission request, or the webhook failed on it. */
export const ADMISSION_OUTCOMES = ["allowed", "warned", "unrecorded", "denied", "error"] as const;

/** `other`: nothing that we are registered for, or no admission request at all. */
export const ADMISSION_OPERATIONS = ["create", "update", "other"] as const;

export const ADMISSION_METRICS = {
  unified_rbac_admission_requests_total: {
    type: "counter",
    role: "webhook",
    help: "Admission requests by their outcome.",
    labels: {
      webhook: ["mutate", "validate"],
      operation: ADMISSION_OPERATIONS,
      outcome: ADMISSION_OUTCOMES,
      dry_run: ["true", "false"],
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
    help: "When the webhook's certificate expires, in seconds since 1970. Absent before the first certificate.",
    isUnknownAtFirst: true,
  },
} as const satisfies MetricEntries;
