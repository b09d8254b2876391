/** A real Prometheus scrapes the product; each alert here is fired by its real fault, and ends with it. */
import { afterAll, afterEach, assert, beforeAll, describe, expect, it } from "vitest";
import { DASHBOARDS } from "../../src/api/dashboards/index.ts";
import { queriesOf } from "../../src/api/dashboards/panel.ts";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import { startPart, stopPart } from "../../stack/index.ts";
import type { Rule } from "../support/alertRules.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { type Prometheus, startPrometheus } from "../support/prometheus.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

/** The objective's minute, and some. */
const PATIENT = { timeout: 180_000, interval: 250 };

let platform: Platform;
let tenant: TestTenant;
let prometheus: Prometheus;

/** Minutes become seconds; what is asked stays as it is. */
function shortened(rule: Rule): Rule {
  if (rule.alert === undefined) return rule;
  const expr = rule.expr.replace(/(timestamp_seconds(?: > 0)?\)) > \d+/, "$1 > 8").replace("[10m]", "[30s]");
  return { ...rule, expr, for: "2s" };
}

beforeAll(async () => {
  platform = await openPlatform({ HEARTBEAT_SECONDS: "1", RECHECK_SECONDS: "10" });
  tenant = await platform.tenant("alerts");
  const targets = (["webhook", "reconciler"] as const).map(
    (role) => new URL(platform.product.process(role).opsURL).host,
  );
  prometheus = await startPrometheus(targets, shortened);
  await soon(async () => assert((await prometheus.query("unified_rbac_build_info")).length === 2));
}, 1_800_000);
afterAll(async () => {
  await prometheus?.close();
  await platform?.close();
});
// A test that failed half-way leaves nothing down.
afterEach(async () => {
  await startPart(platform.env.STACK_NAME, "postgres");
  await Promise.all([platform.product.start("webhook"), platform.product.start("reconciler"), platform.gateway.heal()]);
});

/** Which of these fire now. */
async function firing(...names: readonly string[]): Promise<readonly string[]> {
  const all = await prometheus.firing();
  return names.filter((name) => all.includes(name));
}

async function commit(...names: readonly string[]): Promise<void> {
  await tenant.commit(Object.fromEntries(names.map((name) => [`users/${name}.yaml`, tenant.manifest(name)])));
}

describe("an alert", () => {
  it("is none while everything runs, and what was done is in the numbers", async () => {
    await commit("well");
    await tenant.ready("well");
    await soon(async () => {
      const [ready] = await prometheus.query("sum(unified_rbac_time_to_ready_seconds_count)");
      expect(ready?.value).toBeGreaterThan(0);
      const [created] = await prometheus.query(
        'sum(unified_rbac_upstream_requests_total{upstream="keycloak",operation="create_user",code="2xx"})',
      );
      expect(created?.value).toBeGreaterThan(0);
      const [asked] = await prometheus.query(
        'sum(unified_rbac_admission_requests_total{operation="create",outcome="allowed",dry_run="true"})',
      );
      expect(asked?.value).toBeGreaterThan(0);
    });
    expect(await prometheus.firing()).toEqual([]);
  });

  it("tells that all reconcilers are dead while the webhook lives, and ends", async () => {
    await platform.product.kill("reconciler");
    await expect.poll(() => firing("UnifiedRBACReconcilerAbsent"), PATIENT).toEqual(["UnifiedRBACReconcilerAbsent"]);
    expect(await prometheus.firing()).not.toContain("UnifiedRBACWebhookAbsent");
    await platform.product.start("reconciler");
    await expect.poll(() => firing("UnifiedRBACReconcilerAbsent"), PATIENT).toEqual([]);
  });

  it("tells that the webhook is dead, and ends", async () => {
    await platform.product.kill("webhook");
    await expect.poll(() => firing("UnifiedRBACWebhookAbsent"), PATIENT).toEqual(["UnifiedRBACWebhookAbsent"]);
    await platform.product.start("webhook");
    await expect.poll(() => firing("UnifiedRBACWebhookAbsent"), PATIENT).toEqual([]);
  });

  it("tells that Postgres is away, though every gauge stands still, and that admission records nothing", async () => {
    await stopPart(platform.env.STACK_NAME, "postgres");
    await commit("unrecorded-1");
    await expect
      .poll(() => firing("UnifiedRBACStoreStatsStale", "UnifiedRBACAdmissionNotRecorded"), PATIENT)
      .toEqual(["UnifiedRBACStoreStatsStale", "UnifiedRBACAdmissionNotRecorded"]);
    await startPart(platform.env.STACK_NAME, "postgres");
    await tenant.ready("unrecorded-1");
    await expect
      .poll(() => firing("UnifiedRBACStoreStatsStale", "UnifiedRBACAdmissionNotRecorded"), PATIENT)
      .toEqual([]);
  });

  it("tells that a gateway is down, and that users are not Ready in time, and ends", async () => {
    const held = await platform.gateway.fault({ match: {}, action: { status: 503 } });
    const names = Array.from({ length: 6 }, (_, n) => `held-${n}`);
    await commit(...names);
    await expect
      .poll(
        () => firing("UnifiedRBACUpstreamUnavailable", "UnifiedRBACTenantNotReady", "UnifiedRBACReadyBudgetBurn"),
        PATIENT,
      )
      .toEqual(["UnifiedRBACUpstreamUnavailable", "UnifiedRBACTenantNotReady", "UnifiedRBACReadyBudgetBurn"]);
    const [late] = await prometheus.query('max(unified_rbac_users_overdue{objective="ready"})');
    expect(late?.value).toBe(names.length);
    await platform.gateway.heal(held);
    await Promise.all(names.map((name) => tenant.ready(name)));
    await expect.poll(() => firing("UnifiedRBACUpstreamUnavailable", "UnifiedRBACTenantNotReady"), PATIENT).toEqual([]);
  }, 400_000);

  it("tells that somebody's object disappeared and nobody saw a deletion", async () => {
    await commit("lost");
    await tenant.ready("lost");
    await platform.product.kill("reconciler");
    const path = objectPath("TenantUser", { namespace: tenant.namespace, name: "lost" });
    await platform.kube.patch(path, { metadata: { finalizers: null } }, "impatient");
    await tenant.commit({ "users/lost.yaml": undefined });
    await soon(async () => {
      const { body } = await platform.api.send("GET", collectionPath("TenantUser", tenant.namespace));
      expect(JSON.stringify(body)).not.toContain('"name":"lost"');
    });
    await platform.product.start("reconciler");
    await expect.poll(() => firing("UnifiedRBACUsersOrphaned"), PATIENT).toEqual(["UnifiedRBACUsersOrphaned"]);
    await tenant.commit({ "users/lost.yaml": tenant.manifest("lost") });
    await tenant.ready("lost");
    await expect.poll(() => firing("UnifiedRBACUsersOrphaned"), PATIENT).toEqual([]);
  });
});

describe("after all that", () => {
  it.each(Object.entries(DASHBOARDS))("every query of the dashboard %s finds series", async (_name, dashboard) => {
    const empty: string[] = [];
    for (const expression of queriesOf(dashboard)) {
      const found = await prometheus.query(expression.replaceAll("$__rate_interval", "10m"));
      if (found.length === 0) empty.push(expression);
    }
    expect(empty).toEqual([]);
  });

  it("every request to an upstream was one that has a name", async () => {
    const others = await prometheus.query(
      'sum by (upstream) (max_over_time(unified_rbac_upstream_requests_total{operation="other"}[1h]))',
    );
    const counts = Object.fromEntries(others.map(({ labels, value }) => [labels["upstream"], value]));
    expect(counts).toEqual({ keycloak: 0, kubernetes: 0, newapi: 0 });
  });
});
