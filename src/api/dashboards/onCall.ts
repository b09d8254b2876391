import { OBJECTIVES } from "../objectives.ts";
import { runbookURL } from "../runbookLink.ts";
import type { Dashboard, Panel, Unit } from "./panel.ts";

const AGE = (metric: string): string => `time() - min(${metric} > 0) or vector(0)`;

type Look = readonly [alert: string, about: string, expr: string, bad: number, unit?: Unit, legend?: string];

const stat = ([alert, about, expr, bad, unit = "short", legend = "now"]: Look): Panel => ({
  title: alert.replace("UnifiedRBAC", "").replaceAll(/(?<=[a-z])(?=[A-Z])/g, " "),
  about,
  kind: "stat",
  unit,
  bad,
  link: { title: `Runbook: ${alert}`, url: runbookURL(alert) },
  queries: [{ expr, legend }],
});

/** One number for each alert, in the order in which somebody looks; each leads to its section. */
export const ON_CALL: Dashboard = {
  uid: "unified-rbac-on-call",
  title: "unified-rbac / on call",
  about: "One number for each alert, with a link to its section of the runbook; red means that the alert is due.",
  rows: [
    {
      title: "Does it run?",
      panels: (
        [
          [
            "UnifiedRBACReconcilerAbsent",
            "Reconcilers that are missing: 1 when there is none.",
            'absent(unified_rbac_build_info{role="reconciler"}) or vector(0)',
            1,
          ],
          [
            "UnifiedRBACWebhookAbsent",
            "Webhooks that are missing: 1 when there is none.",
            'absent(unified_rbac_build_info{role="webhook"}) or vector(0)',
            1,
          ],
          [
            "UnifiedRBACStoreStatsStale",
            "Seconds since the state store was read: it grows while Postgres is down.",
            "time() - max(unified_rbac_store_stats_timestamp_seconds)",
            180,
            "s",
          ],
          [
            "UnifiedRBACWorkLate",
            "How long the oldest due saga has been due.",
            AGE("unified_rbac_oldest_due_saga_timestamp_seconds"),
            300,
            "s",
          ],
          [
            "UnifiedRBACAdmissionNotRecorded",
            "Admissions without a record, each second.",
            'sum(rate(unified_rbac_admission_requests_total{outcome="unrecorded"}[10m]))',
            0.000_001,
            "ops",
          ],
          [
            "UnifiedRBACAdmissionSlow",
            "Time that 99 of 100 admission requests stay below.",
            "max(histogram_quantile(0.99, sum by (le, webhook) (rate(unified_rbac_admission_request_duration_seconds_bucket[10m]))))",
            1,
            "s",
          ],
          [
            "UnifiedRBACCertificateExpires",
            "Seconds until the webhook's certificate expires.",
            "min(unified_rbac_certificate_expiry_timestamp_seconds) - time()",
            1e12,
            "s",
          ],
        ] as const satisfies readonly Look[]
      ).map(stat),
    },
    {
      title: "Who suffers?",
      panels: [
        ...OBJECTIVES.map(({ name, alert }) =>
          stat([
            alert,
            "The part of users who were not in time in the last hour; the budget is 1 %.",
            `unified_rbac:${name}_missed:ratio1h or vector(0)`,
            0.01,
            "percentunit",
          ]),
        ),
        ...(
          [
            [
              "UnifiedRBACUsersFailed",
              "Users whose steps failed five times.",
              'max(unified_rbac_users{state="failed"})',
              1,
            ],
            [
              "UnifiedRBACTenantNotReady",
              "Tenants that are not Ready.",
              'sum(max by (reason) (unified_rbac_tenants{ready="false", reason!~"Deleting|Progressing"}))',
              1,
            ],
            [
              "UnifiedRBACUsersOrphaned",
              "Users whose object disappeared.",
              'max(unified_rbac_users{state="orphaned"})',
              1,
            ],
            [
              "UnifiedRBACCleanupsPending",
              "Deleted users who still have accounts somewhere.",
              "max(unified_rbac_pending_cleanups)",
              1,
            ],
          ] as const satisfies readonly Look[]
        ).map(stat),
      ],
    },
    {
      title: "What is in the way?",
      panels: (
        [
          [
            "UnifiedRBACUpstreamUnavailable",
            "Keycloaks and gateways that do not answer.",
            'sum(max by (upstream) (unified_rbac_open_breakers{scope="origin"}))',
            1,
          ],
          [
            "UnifiedRBACTenantRefused",
            "Tenants whose credential is refused, or whose realm is silent.",
            'sum(max by (upstream, kind) (unified_rbac_open_breakers{scope="tenant"}))',
            1,
          ],
          [
            "UnifiedRBACDriftLate",
            "How late the oldest drift check is.",
            AGE("unified_rbac_oldest_due_drift_check_timestamp_seconds"),
            900,
            "s",
          ],
          [
            "UnifiedRBACEventsStuck",
            "How long the oldest event has waited for NATS.",
            AGE("unified_rbac_oldest_outbox_event_timestamp_seconds"),
            900,
            "s",
          ],
          ["UnifiedRBACEventsParked", "Events that NATS refuses.", "max(unified_rbac_parked_events)", 1],
          [
            "UnifiedRBACSkipped",
            "Items that were skipped in the last hour.",
            "sum(increase(unified_rbac_skipped_items_total[1h]))",
            0.000_001,
          ],
        ] as const satisfies readonly Look[]
      ).map(stat),
    },
    {
      title: "Why?",
      panels: [
        {
          title: "Errors of users by reason",
          about: "Failed and deleting users. Each reason has an entry in the runbook.",
          kind: "bars",
          bad: 1,
          queries: [{ expr: "topk(8, max by (reason) (unified_rbac_users_with_error))", legend: "{{reason}}" }],
        },
        {
          title: "Tenants that are not Ready, by reason",
          about: "kubectl get tenants shows which.",
          kind: "bars",
          bad: 1,
          queries: [{ expr: 'topk(8, max by (reason) (unified_rbac_tenants{ready="false"}))', legend: "{{reason}}" }],
        },
        {
          title: "Attempts of steps that failed",
          about: "By step and class of the error.",
          unit: "ops",
          queries: [
            {
              expr: 'sum by (step, outcome) (rate(unified_rbac_step_attempts_total{outcome=~"transient|terminal|conflict"}[$__rate_interval]))',
              legend: "{{step}}: {{outcome}}",
            },
          ],
        },
      ],
    },
  ],
};
