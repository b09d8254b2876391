import { makeRecord, RECORD_POOL } from "../admission/record.ts";
import { makeAdmissionServer } from "../admission/server.ts";
import { systemClock } from "../lib/clock.ts";
import { databaseSource, type WebhookConfig } from "../lib/config.ts";
import type { Lifecycle, Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { makeLiveness } from "../ops/liveness.ts";
import { makeMetrics } from "../ops/metrics.ts";
import { makeOpsServer } from "../ops/server.ts";
import { recordCandidates } from "../store/admissions.ts";
import { makePool, warm } from "../store/pool.ts";
import { makeTenantDirectory } from "../store/tenantDirectory.ts";
import { makeTLSFiles } from "../tls/files.ts";
import { measureBuild, measurePool } from "./processMetrics.ts";
import { openTracing } from "./tracing.ts";

/** Admission: no Kubernetes client, no token; Postgres and a certificate in files are all it has. */
export async function runWebhook(config: WebhookConfig, log: Log, lifecycle: Lifecycle): Promise<number> {
  const tracing = await openTracing(config.tracing, { role: config.role, log });
  const url = databaseSource(config);
  const pool = makePool({
    url,
    ...RECORD_POOL,
    onIdleError: (error) => log.debug("lost an idle connection to Postgres", { error }),
  });
  const metrics = makeMetrics("webhook");
  measureBuild(metrics);
  measurePool(metrics, pool, RECORD_POOL.max);
  const tls = makeTLSFiles({
    directories: config.tlsDirs,
    clientCAFile: config.clients?.caFile,
    clock: systemClock,
    log,
  });
  tls.subscribe(({ notAfter }) => metrics.set("unified_rbac_certificate_expiry_timestamp_seconds", notAfter / 1000));
  const tenants = makeTenantDirectory({ url, log, random: Math.random });
  const admission = makeAdmissionServer({
    listen: config.listen,
    tls,
    clients: config.clients,
    shutdownDelayMs: config.shutdownDelayMs,
    tenants,
    record: makeRecord({ write: (candidates) => recordCandidates(pool, candidates), clock: systemClock, log }),
    tracer: tracing.tracer,
    log,
    observe({ webhook, operation, dryRun, outcome, ms }) {
      const dry_run = dryRun ? "true" : "false";
      metrics.increment("unified_rbac_admission_requests_total", { webhook, operation, outcome, dry_run });
      metrics.observe("unified_rbac_admission_request_duration_seconds", ms / 1000, { webhook });
    },
  });
  const postgres: Part = {
    name: "postgres",
    start: () => void warm(pool, 4, lifecycle.signal),
    stop: () => pool.end(),
  };
  const parts = [...tracing.parts, postgres, tenants, tls, admission];
  const ops = makeOpsServer({
    address: config.ops,
    metrics,
    liveness: makeLiveness(systemClock, parts),
    ready: [
      {
        name: "admission",
        problem: () => (admission.ready() ? undefined : "it does not listen yet, or the certificate has not arrived"),
      },
    ],
    log,
  });
  return lifecycle.run([...parts, ops]);
}
