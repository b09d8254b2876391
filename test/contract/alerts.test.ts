/** Each alert fires where it should and stays silent where it should not, as promtool evaluates it; nothing names what is not exported. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { ALERTS, ruleFile, RULES } from "../support/alertRules.ts";
import { exportedOfRoles } from "../support/exportedOfRoles.ts";
import { prometheusPrograms } from "../support/prometheusPrograms.ts";
import { type Exported, unknownIn } from "../support/promql.ts";

/** `fires`: what is beside, or instead of, the series of a healthy service. `silent`: the same, where it must not fire. */
interface Case {
  readonly fires: Readonly<Record<string, string>>;
  readonly at: string;
  readonly silent?: Readonly<Record<string, string>>;
  /** How many series fire. */
  readonly count?: number;
}

/** Samples come each minute, from 0 on: `0+60x240` is the clock itself. */
const HEALTHY: Readonly<Record<string, string>> = {
  'unified_rbac_build_info{role="reconciler",instance="r1"}': "1x5000",
  'unified_rbac_build_info{role="webhook",instance="w1"}': "1x5000",
  'unified_rbac_store_stats_timestamp_seconds{role="reconciler",instance="r1"}': "0+60x5000",
  'unified_rbac_oldest_due_saga_timestamp_seconds{role="reconciler"}': "0x5000",
  'unified_rbac_oldest_due_drift_check_timestamp_seconds{role="reconciler"}': "0x5000",
  'unified_rbac_oldest_outbox_event_timestamp_seconds{role="reconciler"}': "0x5000",
  'unified_rbac_users{state="failed"}': "0x5000",
  'unified_rbac_users{state="orphaned"}': "0x5000",
  'unified_rbac_open_breakers{scope="origin",upstream="keycloak",kind="silent"}': "0x5000",
  'unified_rbac_open_breakers{scope="tenant",upstream="keycloak",kind="refuses"}': "0x5000",
  'unified_rbac_tenants{ready="true",reason="Ready"}': "3x5000",
  'unified_rbac_tenants{ready="false",reason="MissingGroup"}': "0x5000",
  'unified_rbac_tenants{ready="false",reason="Deleting"}': "1x5000",
  unified_rbac_pending_cleanups: "0x5000",
  unified_rbac_parked_events: "0x5000",
  'unified_rbac_skipped_items_total{kind="audit"}': "7x5000",
  'unified_rbac_admission_requests_total{webhook="validate",operation="create",outcome="unrecorded",dry_run="false"}':
    "4x5000",
  'unified_rbac_certificate_expiry_timestamp_seconds{role="webhook"}': `${90 * 86_400}x5000`,
  'unified_rbac_admission_request_duration_seconds_bucket{webhook="validate",le="1"}': "0+100x5000",
  'unified_rbac_admission_request_duration_seconds_bucket{webhook="validate",le="2"}': "0+100x5000",
  'unified_rbac_admission_request_duration_seconds_bucket{webhook="validate",le="+Inf"}': "0+100x5000",
  'unified_rbac_time_to_ready_seconds_bucket{le="60"}': "0+100x5000",
  unified_rbac_time_to_ready_seconds_count: "0+100x5000",
  'unified_rbac_time_to_removed_seconds_bucket{le="60.0"}': "0+100x5000",
  unified_rbac_time_to_removed_seconds_count: "0+100x5000",
  'unified_rbac_users_overdue{objective="ready"}': "0x5000",
  'unified_rbac_users_overdue{objective="removed"}': "0x5000",
};
const of = (metric: string): string => {
  const series = Object.keys(HEALTHY).find((name) => name.startsWith(metric));
  if (series === undefined) throw new Error(`nothing is healthy about ${metric}`);
  return series;
};
const NEVER = "_x5000";

const CASES: Readonly<Record<string, Case>> = {
  UnifiedRBACReconcilerAbsent: {
    // While a webhook lives, and for longer than a Prometheus takes a series for alive.
    fires: { 'unified_rbac_build_info{role="reconciler",instance="r1"}': "1x3 _x100" },
    at: "15m",
    silent: { 'unified_rbac_build_info{role="reconciler",instance="r1"}': "1x3 _x6 1x100" },
  },
  UnifiedRBACWebhookAbsent: { fires: { 'unified_rbac_build_info{role="webhook",instance="w1"}': NEVER }, at: "15m" },
  UnifiedRBACStoreStatsStale: {
    fires: { [of("unified_rbac_store_stats")]: "0+60x10 600x100" },
    at: "20m",
    // Another replica reads.
    silent: { 'unified_rbac_store_stats_timestamp_seconds{role="reconciler",instance="r2"}': "0x5000" },
  },
  UnifiedRBACWorkLate: {
    // The numbers stand still with Postgres, and the age grows all the same.
    fires: { [of("unified_rbac_oldest_due_saga")]: "60x100" },
    at: "15m",
    silent: { [of("unified_rbac_oldest_due_saga")]: "0+60x100" },
  },
  UnifiedRBACUsersFailed: { fires: { [of('unified_rbac_users{state="failed"}')]: "2x100" }, at: "20m" },
  UnifiedRBACUpstreamUnavailable: {
    fires: { 'unified_rbac_open_breakers{scope="origin",upstream="keycloak",kind="silent"}': "1x100" },
    at: "12m",
    silent: { 'unified_rbac_open_breakers{scope="tenant",upstream="keycloak",kind="silent"}': "1x100" },
  },
  UnifiedRBACTenantRefused: {
    fires: { 'unified_rbac_open_breakers{scope="tenant",upstream="keycloak",kind="refuses"}': "1x100" },
    at: "12m",
    silent: { 'unified_rbac_open_breakers{scope="origin",upstream="keycloak",kind="silent"}': "1x100" },
  },
  UnifiedRBACTenantNotReady: {
    fires: { 'unified_rbac_tenants{ready="false",reason="MissingGroup"}': "1x100" },
    at: "20m",
    silent: { 'unified_rbac_tenants{ready="false",reason="Progressing"}': "1x100" },
  },
  UnifiedRBACReadyBudgetBurn: {
    // Nobody gets there: the count stands still, and those who wait are more and more.
    fires: {
      [of("unified_rbac_time_to_ready_seconds_bucket")]: "0x5000",
      [of("unified_rbac_time_to_ready_seconds_count")]: "0x5000",
      [of('unified_rbac_users_overdue{objective="ready"}')]: "0+1x5000",
    },
    at: "30m",
    // Critical and warning.
    count: 2,
    silent: { [of('unified_rbac_users_overdue{objective="ready"}')]: "2x5000" },
  },
  UnifiedRBACRemovedBudgetBurn: {
    // Everybody is removed, one of five too late.
    fires: {
      [of("unified_rbac_time_to_removed_seconds_bucket")]: "0+80x5000",
      [of("unified_rbac_time_to_removed_seconds_count")]: "0+100x5000",
    },
    at: "30m",
    count: 2,
    // One of two hundred.
    silent: {
      [of("unified_rbac_time_to_removed_seconds_bucket")]: "0+199x5000",
      [of("unified_rbac_time_to_removed_seconds_count")]: "0+200x5000",
    },
  },
  UnifiedRBACCleanupsPending: { fires: { unified_rbac_pending_cleanups: "1x100" }, at: "70m" },
  UnifiedRBACUsersOrphaned: { fires: { [of('unified_rbac_users{state="orphaned"}')]: "1x100" }, at: "20m" },
  UnifiedRBACDriftLate: {
    fires: { [of("unified_rbac_oldest_due_drift_check")]: "60x100" },
    at: "25m",
    silent: { [of("unified_rbac_oldest_due_drift_check")]: "0+60x100" },
  },
  UnifiedRBACEventsStuck: { fires: { [of("unified_rbac_oldest_outbox_event")]: "60x100" }, at: "25m" },
  UnifiedRBACEventsParked: { fires: { unified_rbac_parked_events: "1x100" }, at: "10m" },
  UnifiedRBACSkipped: { fires: { [of("unified_rbac_skipped_items_total")]: "7x5 8x100" }, at: "10m" },
  UnifiedRBACAdmissionNotRecorded: { fires: { [of("unified_rbac_admission_requests_total")]: "4+1x100" }, at: "30m" },
  UnifiedRBACAdmissionSlow: {
    fires: { [of('unified_rbac_admission_request_duration_seconds_bucket{webhook="validate",le="1"}')]: "0+95x5000" },
    at: "25m",
    silent: {
      [of('unified_rbac_admission_request_duration_seconds_bucket{webhook="validate",le="1"}')]: "0+9999x5000",
    },
  },
  UnifiedRBACCertificateExpires: {
    fires: { [of("unified_rbac_certificate_expiry")]: `${13 * 86_400}x5000` },
    at: "70m",
    // No certificate yet.
    silent: { [of("unified_rbac_certificate_expiry")]: NEVER },
  },
};

const folder = mkdtempSync(join(tmpdir(), "unified-rbac-alerts-"));
let promtool: string;
let exported: Exported;
beforeAll(async () => {
  ({ promtool } = await prometheusPrograms());
  exported = await exportedOfRoles();
  writeFileSync(join(folder, "rules.yaml"), ruleFile());
}, 1_800_000);
afterAll(() => rmSync(folder, { recursive: true }));

function scenario(alert: string, series: Readonly<Record<string, string>>, at: string, firing: number) {
  const input = Object.entries({ ...HEALTHY, ...series }).map(([name, values]) => ({ series: name, values }));
  const query = `count(ALERTS{alertname="${alert}",alertstate="firing"}) or vector(0)`;
  return {
    name: `${alert}: ${firing} at ${at}`,
    interval: "1m",
    input_series: input,
    promql_expr_test: [{ expr: query, eval_time: at, exp_samples: [{ labels: "{}", value: firing }] }],
  };
}

async function evaluate(name: string, tests: readonly object[]): Promise<string> {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, stringify({ rule_files: ["rules.yaml"], evaluation_interval: "1m", tests }));
  return promisify(execFile)(promtool, ["test", "rules", file]).then(
    () => "",
    (error: unknown) => {
      const { stdout, stderr } = error as { readonly stdout: string; readonly stderr: string };
      return `promtool refuses: ${stdout}${stderr}`;
    },
  );
}

it("the rules are well formed", async () => {
  const { stdout } = await promisify(execFile)(promtool, ["check", "rules", "--lint=all", join(folder, "rules.yaml")]);
  expect(stdout).toContain(`SUCCESS: ${RULES.length} rules found`);
});

describe("the alert", () => {
  it.each(Object.entries(CASES))("%s fires, and stays silent", async (alert, { fires, at, silent, count = 1 }) => {
    const tests = [
      scenario(alert, fires, at, count),
      // Before its time, and of a healthy service.
      scenario(alert, fires, "0m", 0),
      scenario(alert, {}, at, 0),
      ...(silent === undefined ? [] : [scenario(alert, silent, at, 0)]),
    ];
    expect(await evaluate(alert, tests)).toBe("");
  });

  it("is in the table above, whichever it is", () => {
    expect(Object.keys(CASES).toSorted()).toEqual([...new Set(ALERTS.map(({ alert }) => alert))].toSorted());
  });

  it.each(ALERTS.map((each) => [each.alert, each] as const))(
    "%s says what to read and how bad it is",
    (alert, rule) => {
      const { annotations = {}, labels = {} } = rule;
      expect(Object.keys(annotations).toSorted()).toEqual(["description", "runbook_url", "summary"]);
      expect(["critical", "warning"]).toContain(labels["severity"]);
      expect(annotations["runbook_url"]?.endsWith(`docs/runbook.md#${alert.toLowerCase()}`)).toBe(true);
      const runbook = readFileSync(join(import.meta.dirname, "../../docs/runbook.md"), "utf8");
      expect(runbook).toContain(`\n### ${alert}\n`);
    },
  );
});

it.each(RULES.map((each) => [each.alert ?? each.record, each.expr]))("%s names what is exported", (_name, expr) => {
  expect(unknownIn(expr, exported)).toEqual([]);
});

it.each([
  ["unified_rbac_due_sagas > 0", "there is no metric unified_rbac_due_sagas"],
  ['unified_rbac_users{phase="done"}', "unified_rbac_users has no label phase"],
  ['unified_rbac_users{state=~"done|gone"}', "unified_rbac_users has no state gone"],
  ["sum by (tenant) (unified_rbac_users)", "nothing of it has the label tenant"],
])("%s would be found", (expression, sentence) => {
  expect(unknownIn(expression, exported)).toEqual([sentence]);
});
