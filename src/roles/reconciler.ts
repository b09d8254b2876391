import { type BusOptions, makeBus } from "../bus/nats.ts";
import { STREAM_NAMES } from "../bus/streams.ts";
import { DIALECTS } from "../gateway/dialects/index.ts";
import { makeGateways } from "../gateway/gateways.ts";
import { makeRealm } from "../keycloak/client.ts";
import { makeAdminClients } from "../keycloak/adminClients.ts";
import { makeTrust } from "../keycloak/trust.ts";
import { fromKubeconfig, inCluster } from "../kube/access.ts";
import { makeCluster } from "../kube/client.ts";
import { makeApiClient } from "../kube/apiClient.ts";
import { makeOpenWatch } from "../kube/watch.ts";
import { makeWebhookConfig } from "../kube/webhookConfig.ts";
import { systemClock } from "../lib/clock.ts";
import { databaseSource, type ReconcilerConfig } from "../lib/config.ts";
import type { Lifecycle, Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { makeLiveness } from "../ops/liveness.ts";
import { makeMetrics } from "../ops/metrics.ts";
import { makeOperatorServer } from "../ops/operatorServer.ts";
import { makeOpsServer } from "../ops/server.ts";
import { makeOperator } from "../reconciler/operator.ts";
import { makeProbe } from "../reconciler/probe.ts";
import { makePool } from "../store/pool.ts";
import { openWorkerSession } from "../store/workerSession.ts";
import { type Interceptors, NO_INTERCEPTORS } from "./interceptors.ts";
import { composeRenewer } from "./certificates.ts";
import { composeReconciler } from "./composition.ts";
import { callObserver } from "./measurements.ts";
import { measureBuild, measurePool } from "./processMetrics.ts";
import { openTracing } from "./tracing.ts";

/** The sidecar: everything that acts. Starts with every dependency down. */
export async function runReconciler(
  config: ReconcilerConfig,
  log: Log,
  lifecycle: Lifecycle,
  interceptors: Interceptors = NO_INTERCEPTORS,
): Promise<number> {
  const clock = systemClock;
  const random = Math.random;
  const metrics = makeMetrics("reconciler");
  const tracing = await openTracing(config.tracing, { role: config.role, log });
  const { tracer } = tracing;
  const url = databaseSource(config);
  const most = config.workers + 6;
  const connections = makePool({
    url,
    max: most,
    applicationName: "unified-rbac reconciler",
    onIdleError: (error) => log.debug("lost an idle connection to Postgres", { error }),
  });
  measureBuild(metrics);
  measurePool(metrics, connections, most);
  const observe = callObserver(metrics, tracer);
  const pool = interceptors.pool(connections);
  const access =
    config.kubeconfig === undefined
      ? inCluster({ clock }, config.apiServer)
      : await fromKubeconfig({ clock }, config.kubeconfig);
  const connection = makeApiClient(access, { clock, observe });
  const cluster = interceptors.cluster(makeCluster(connection, { log, random, instance: config.identity }));
  const clusterID = once(() => cluster.clusterID(lifecycle.signal));
  const trust = makeTrust(clock);
  const { parts, registry, due, outbox } = composeReconciler(
    {
      pool,
      openSession: () => openWorkerSession(url, `unified-rbac worker ${config.identity}`),
      cluster,
      clusterID,
      makeWatches: (deps) => {
        const watches = makeOpenWatch(connection, { log, clock, random, ...deps });
        return { ...watches, open: interceptors.openWatch(watches.open) };
      },
      bus: interceptors.bus(makeBus({ log, clock, tracer }, busOptions(config))),
      makeFactories: ({ limitRaised }) => {
        const clients = makeAdminClients();
        return {
          makeRealm: (of) => makeRealm({ ...of, clock, clients, trust, observe }),
          makeGateway: makeGateways(DIALECTS, {
            clock,
            observe,
            masterKeys: config.masterKeys,
            limitRaised,
            passwordReset: (saga, why) => {
              metrics.increment("unified_rbac_gateway_password_resets_total", { cause: why });
              log.warn("set a user's password at the gateway again", { saga, step: "newapi", outcome: why });
            },
          }),
        };
      },
      probe: (tenants, origin) => makeProbe(tenants, trust)(origin, lifecycle.signal),
      metrics,
      tracer,
      clock,
      random,
      log,
    },
    config,
  );

  const all: Part[] = [
    ...tracing.parts,
    { name: "postgres", start: nothing, stop: () => pool.end() },
    { name: "kubernetes", start: nothing, stop: () => connection.close() },
    ...parts,
  ];
  if (config.operator !== undefined) {
    const notify = (): void => {
      due.notify();
      outbox.notify();
    };
    const operator = makeOperator({ pool, cluster, clusterID, tenants: registry, notify, clock, log });
    all.push(makeOperatorServer({ address: config.operator, operator, log }));
  }
  if (config.webhookTLS.managed) {
    const api = makeWebhookConfig(connection, config.operatorNamespace);
    all.push(composeRenewer({ api, config: config.webhookTLS, clock, log }));
  }
  const ops = makeOpsServer({
    address: config.ops,
    metrics,
    liveness: makeLiveness(clock, all),
    ready: [{ name: "tenants", problem: () => (registry.loaded() ? undefined : "the Tenants were not read yet") }],
    log,
  });
  return lifecycle.run([...all, ops]);
}

function busOptions({ nats, identity, heartbeatMs }: ReconcilerConfig): BusOptions {
  const { servers, credsFile, nkeyFile, login, token, tls } = nats;
  return {
    servers,
    credsFile,
    nkeyFile,
    login,
    token,
    tls,
    clientName: identity,
    periodMs: heartbeatMs,
    streams: {
      heartbeat: nats.heartbeatStream ?? STREAM_NAMES.heartbeat,
      events: nats.eventStream ?? STREAM_NAMES.events,
    },
  };
}

/** Asks until it was answered, then never again. */
function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let known: { readonly value: T } | undefined;
  return async () => (known ??= { value: await ask() }).value;
}

function nothing(): void {}
