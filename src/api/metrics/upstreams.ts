/** What the reconciler exports of the upstreams that it calls. */
import { UPSTREAM_CODES, UPSTREAM_OPERATIONS } from "../upstreamOperations.ts";
import type { MetricEntries } from "./entry.ts";

const OPERATIONS = Object.entries(UPSTREAM_OPERATIONS).flatMap(([upstream, operations]) =>
  operations.map((operation) => ({ upstream, operation })),
);
const OPERATION_LABELS = {
  upstream: ["keycloak", "newapi", "kubernetes"],
  operation: [...new Set(OPERATIONS.map(({ operation }) => operation))],
} as const;
const BEHIND_BREAKERS = ["keycloak", "newapi"] as const;

export const UPSTREAM_METRICS = {
  unified_rbac_upstream_requests_total: {
    type: "counter",
    role: "reconciler",
    help: "Requests to upstreams by operation and status: the code, or its class; `none`: no answer came.",
    labels: { ...OPERATION_LABELS, code: UPSTREAM_CODES },
    series: OPERATIONS.flatMap((each) => UPSTREAM_CODES.map((code) => ({ ...each, code }))),
  },
  unified_rbac_upstream_request_duration_seconds: {
    type: "histogram",
    role: "reconciler",
    help: "Time of one request to an upstream, answered or not.",
    labels: OPERATION_LABELS,
    series: OPERATIONS,
    buckets: [0.05, 0.25, 1, 5, 10],
  },
  unified_rbac_open_breakers: {
    type: "gauge",
    role: "reconciler",
    help: "Open circuit breakers: of whole upstreams (origin) or of one tenant there; they do not answer, or refuse the tenant.",
    labels: { scope: ["origin", "tenant"], upstream: BEHIND_BREAKERS, kind: ["silent", "refuses"] },
    series: BEHIND_BREAKERS.flatMap((upstream) => [
      { scope: "origin", upstream, kind: "silent" },
      { scope: "tenant", upstream, kind: "silent" },
      { scope: "tenant", upstream, kind: "refuses" },
    ]),
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
  unified_rbac_gateway_password_resets_total: {
    type: "counter",
    role: "reconciler",
    help: "Passwords set again at a gateway: the master key is new, or the gateway refused the old password.",
    labels: { cause: ["master-key", "refused"] },
  },
} as const satisfies MetricEntries;
