import type { Dashboard } from "./panel.ts";

const RATE = "$__rate_interval";

export const UPSTREAMS_AND_TENANTS: Dashboard = {
  uid: "unified-rbac-upstreams",
  title: "unified-rbac / upstreams and tenants",
  about: "What the service asks of Keycloak, gateways and the API server, and how its dependencies and Tenants are.",
  rows: [
    {
      title: "Upstreams",
      panels: [
        {
          title: "Requests",
          about: "All requests, by upstream.",
          unit: "ops",
          queries: [
            { expr: `sum by (upstream) (rate(unified_rbac_upstream_requests_total[${RATE}]))`, legend: "{{upstream}}" },
          ],
        },
        {
          title: "Answers that are none, or errors",
          about: "none: no answer came. A 404 may be the answer that was asked for.",
          unit: "ops",
          queries: [
            {
              expr: `sum by (upstream, code) (rate(unified_rbac_upstream_requests_total{code=~"401|403|429|5xx|none"}[${RATE}]))`,
              legend: "{{upstream}} {{code}}",
            },
          ],
        },
        {
          title: "Time of a request",
          about: "Answered or not; the deadline is ten seconds.",
          unit: "s",
          queries: [
            {
              expr: `histogram_quantile(0.95, sum by (le, upstream) (rate(unified_rbac_upstream_request_duration_seconds_bucket[${RATE}])))`,
              legend: "{{upstream}}, 95 %",
            },
          ],
        },
        {
          title: "Slowest operations",
          about: "Mean time of a request, the slowest ten.",
          kind: "bars",
          unit: "s",
          queries: [
            {
              expr: `topk(10, sum by (upstream, operation) (rate(unified_rbac_upstream_request_duration_seconds_sum[${RATE}])) / sum by (upstream, operation) (rate(unified_rbac_upstream_request_duration_seconds_count[${RATE}]) > 0))`,
              legend: "{{upstream}} {{operation}}",
            },
          ],
        },
        {
          title: "Open circuit breakers",
          about: "origin: a whole upstream. tenant: one tenant's realm or credential.",
          bad: 1,
          queries: [
            {
              expr: "max by (scope, upstream, kind) (unified_rbac_open_breakers)",
              legend: "{{upstream}}, {{scope}} {{kind}}",
            },
          ],
        },
        {
          title: "Concurrency",
          about: "Steps at upstreams: in flight, waiting for room, and the lowest limit of one upstream.",
          queries: [
            { expr: "sum(unified_rbac_upstream_steps_in_flight)", legend: "in flight" },
            { expr: "sum(unified_rbac_upstream_steps_waiting)", legend: "waiting" },
            { expr: "min(unified_rbac_upstream_concurrency_limit_min)", legend: "lowest limit" },
          ],
        },
      ],
    },
    {
      title: "Tenants",
      panels: [
        {
          title: "Tenants",
          about: "By their Ready condition.",
          queries: [
            { expr: 'sum(max by (reason) (unified_rbac_tenants{ready="true"}))', legend: "Ready" },
            { expr: 'sum(max by (reason) (unified_rbac_tenants{ready="false"}))', legend: "not Ready" },
          ],
        },
        {
          title: "Tenants that are not Ready, by reason",
          about: "The runbook has an entry for each reason.",
          kind: "bars",
          bad: 1,
          queries: [{ expr: 'topk(8, max by (reason) (unified_rbac_tenants{ready="false"}))', legend: "{{reason}}" }],
        },
        {
          title: "Corrected drift",
          about: "Users that differed from Git, by the step that corrects them.",
          unit: "ops",
          queries: [
            { expr: `sum by (step) (rate(unified_rbac_drift_corrections_total[${RATE}]))`, legend: "{{step}}" },
          ],
        },
      ],
    },
    {
      title: "Dependencies",
      panels: [
        {
          title: "Connections to Postgres",
          about: "Of each process; statements wait when all are active.",
          queries: [
            { expr: "sum by (role, state) (unified_rbac_postgres_pool_connections)", legend: "{{role}} {{state}}" },
            {
              expr: "sum by (role) (unified_rbac_postgres_pool_waiting_requests)",
              legend: "{{role}} waiting statements",
            },
          ],
        },
        {
          title: "NATS",
          about: "Replicas that are connected.",
          queries: [{ expr: "sum(unified_rbac_nats_connected)", legend: "connected" }],
        },
        {
          title: "Restarted watches, lost leases",
          about: "Connections to the API server that broke; sagas that another worker took over.",
          unit: "ops",
          queries: [
            {
              expr: `sum by (resource) (rate(unified_rbac_watch_restarts_total[${RATE}]))`,
              legend: "watch of {{resource}}",
            },
            { expr: `sum(rate(unified_rbac_leases_lost_total[${RATE}]))`, legend: "lost leases" },
          ],
        },
        {
          title: "Memory",
          about: "Resident memory of each process.",
          unit: "bytes",
          queries: [
            { expr: 'process_resident_memory_bytes{role=~"webhook|reconciler"}', legend: "{{role}} {{instance}}" },
          ],
        },
        {
          title: "Skipped items, password resets",
          about: "What was left out of a batch, and passwords that were set again at a gateway.",
          queries: [
            { expr: "sum by (kind) (unified_rbac_skipped_items_total)", legend: "skipped {{kind}}" },
            { expr: "sum by (cause) (unified_rbac_gateway_password_resets_total)", legend: "reset: {{cause}}" },
          ],
        },
        {
          title: "Versions",
          about: "What runs.",
          queries: [{ expr: "count by (role, version) (unified_rbac_build_info)", legend: "{{role}} {{version}}" }],
        },
      ],
    },
  ],
};
