/** Which metric each thing that happens is counted in, and what is read before each scrape. */
import type { Bus } from "../bus/bus.ts";
import { WATCHED } from "../api/metrics/work.ts";
import { CONDITION, REASON, REASONS } from "../api/reasons.ts";
import { codeOf, type ObserveCall } from "../api/upstreamOperations.ts";
import type { WatchTarget } from "../kube/cluster.ts";
import { NO_SPAN, type SpanAttributes, type Tracer } from "../lib/tracing.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { ClaimDeps } from "../reconciler/claim.ts";
import type { Engine, EngineDeps } from "../reconciler/engine.ts";
import type { Health, OpenBreaker } from "../reconciler/health.ts";
import type { KnownTenant } from "../reconciler/tenants/known.ts";

/** For the clients of all upstreams. */
export function callObserver(metrics: Metrics, tracer: Tracer): ObserveCall {
  return ({ upstream, operation, method, origin }) => {
    const began = performance.now();
    const span =
      tracer.traceparent() === undefined
        ? NO_SPAN
        : tracer.open(`${method} ${operation}`, { kind: "client", attributes: attributesOf(upstream, method, origin) });
    return {
      headers: span.traceparent === undefined ? {} : { traceparent: span.traceparent },
      over(status) {
        const seconds = (performance.now() - began) / 1000;
        metrics.increment("unified_rbac_upstream_requests_total", { upstream, operation, code: codeOf(status) });
        metrics.observe("unified_rbac_upstream_request_duration_seconds", seconds, { upstream, operation });
        span.set({ "http.response.status_code": status });
        if (status === undefined || status >= 400) span.fail(String(status ?? "no answer"));
        span.end();
      },
    };
  };
}

/** The address of the server alone: paths and queries name people. */
function attributesOf(upstream: string, method: string, origin: string): SpanAttributes {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  return {
    "unified_rbac.upstream": upstream,
    "http.request.method": method,
    "server.address": url?.hostname,
    "server.port": url === undefined ? undefined : Number(url.port) || (url.protocol === "https:" ? 443 : 80),
  };
}

/** What the engine and its claims tell. */
export function workObserver(
  metrics: Metrics,
): Pick<EngineDeps, "reconciled"> & Pick<ClaimDeps, "reached" | "observe"> {
  return {
    reconciled({ result, ms, queuedMs }) {
      metrics.increment("unified_rbac_reconcile_total", { result });
      if (result === "error") metrics.increment("unified_rbac_reconcile_errors_total");
      if (result === "lost") metrics.increment("unified_rbac_leases_lost_total");
      metrics.observe("unified_rbac_reconcile_duration_seconds", ms / 1000);
      metrics.observe("unified_rbac_workqueue_queue_duration_seconds", queuedMs / 1000);
    },
    reached({ kind, seconds }) {
      if (kind === "ready") metrics.observe("unified_rbac_time_to_ready_seconds", seconds);
      else metrics.observe("unified_rbac_time_to_removed_seconds", seconds);
    },
    observe({ step, outcome, ms, direction }) {
      metrics.increment("unified_rbac_step_attempts_total", { step, direction, outcome });
      metrics.observe("unified_rbac_step_duration_seconds", ms / 1000, { step, direction });
    },
  };
}

/** The collection that a watch is of, as a label. */
export function watchedResource({ path }: WatchTarget): (typeof WATCHED)[number] {
  const collection = path.split("/").at(-1);
  return WATCHED.find((name) => name === collection) ?? "other";
}

/** What stands in the reconciler's memory, as it is at the moment of the scrape. */
export function measureMemory(
  metrics: Metrics,
  of: {
    readonly engine: Pick<Engine, "activeWorkers">;
    readonly workers: number;
    readonly health: Pick<Health, "open" | "originLimits">;
    readonly tenants: ReadonlyMap<string, KnownTenant>;
    readonly bus: Pick<Bus, "connected">;
  },
): void {
  metrics.set("unified_rbac_max_concurrent_reconciles", of.workers);
  metrics.onScrape(() => {
    metrics.set("unified_rbac_active_workers", of.engine.activeWorkers());
    metrics.set("unified_rbac_nats_connected", of.bus.connected() ? 1 : 0);
    const { lowest, inFlight, waiting } = of.health.originLimits.totals();
    metrics.set("unified_rbac_upstream_concurrency_limit_min", lowest);
    metrics.set("unified_rbac_upstream_steps_in_flight", inFlight);
    metrics.set("unified_rbac_upstream_steps_waiting", waiting);
    recordBreakers(metrics, of.health.open());
    recordTenants(metrics, [...of.tenants.values()]);
  });
}

function recordBreakers(metrics: Metrics, open: readonly OpenBreaker[]): void {
  for (const upstream of ["keycloak", "newapi"] as const) {
    for (const [scope, kind] of [
      ["origin", "silent"],
      ["tenant", "silent"],
      ["tenant", "refuses"],
    ] as const) {
      const count = open.filter((each) => each.scope === scope && each.upstream === upstream && each.kind === kind);
      metrics.set("unified_rbac_open_breakers", count.length, { scope, upstream, kind });
    }
  }
}

/** By what their status shows; one without a status is being looked at. */
function recordTenants(metrics: Metrics, tenants: readonly KnownTenant[]): void {
  const counts = new Map<string, number>(Object.keys(REASONS).map((reason) => [reason, 0]));
  counts.set("other", 0);
  for (const { tenant } of tenants) {
    const ready = tenant.status?.conditions?.find(({ type }) => type === CONDITION.Ready);
    const reason = ready?.status === "True" ? REASON.Ready : (ready?.reason ?? REASON.Progressing);
    const counted = counts.has(reason) ? reason : "other";
    counts.set(counted, (counts.get(counted) ?? 0) + 1);
  }
  for (const [reason, count] of counts) {
    const ready = reason === "Ready" ? "true" : "false";
    metrics.set("unified_rbac_tenants", count, { ready, reason: reason as keyof typeof REASONS });
  }
}
