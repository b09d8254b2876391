import { makeRecord, RECORD_POOL } from "../admission/record.ts";
import { makeAdmissionServer } from "../admission/server.ts";
import { systemClock } from "../lib/clock.ts";
import type { WebhookConfig } from "../lib/config.ts";
import type { Lifecycle, Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { makeLiveness } from "../ops/liveness.ts";
import { makeMetrics } from "../ops/metrics.ts";
import { makeOpsServer } from "../ops/server.ts";
import { recordCandidates } from "../store/admissions.ts";
import { makePool, warm } from "../store/pool.ts";
import { makeTenantDirectory } from "../store/tenantDirectory.ts";
import { makeTLSFiles } from "../tls/files.ts";

/** Admission: no Kubernetes client, no token; Postgres and a mounted certificate are all it has. */
export function runWebhook(config: WebhookConfig, log: Log, lifecycle: Lifecycle): Promise<number> {
  const url = config.databaseURL.reveal();
  const pool = makePool({
    url,
    ...RECORD_POOL,
    onIdleError: (error) => log.debug("an idle connection to Postgres broke", { error }),
  });
  const metrics = makeMetrics("webhook");
  const tls = makeTLSFiles({ directory: config.tlsDir, log });
  tls.subscribe((material) => metrics.certificateExpires(material.notAfter / 1000));
  const tenants = makeTenantDirectory({ url, log, random: Math.random });
  const admission = makeAdmissionServer({
    listen: config.listen,
    tls,
    tenants,
    record: makeRecord({ write: (candidates) => recordCandidates(pool, candidates), clock: systemClock, log }),
    log,
    observe: (answer) => metrics.admission(answer),
  });
  const ops = makeOpsServer({
    address: config.ops,
    registry: metrics.registry,
    liveness: makeLiveness(systemClock),
    ready: [
      {
        name: "admission",
        problem: () => (admission.ready() ? undefined : "it does not listen yet, or the certificate has not arrived"),
      },
    ],
    log,
  });
  const postgres: Part = { name: "postgres", start: () => void warm(pool, 4), stop: () => pool.end() };
  return lifecycle.run([postgres, tenants, tls, admission, ops]);
}
