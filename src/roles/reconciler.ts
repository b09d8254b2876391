import { REASON } from "../api/reasons.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { makeBus } from "../bus/nats.ts";
import { makeHeartbeatConsumer } from "../heartbeat/consumer.ts";
import { makeRetries } from "../heartbeat/retries.ts";
import { watchSecrets } from "../heartbeat/secrets.ts";
import { makeTicker } from "../heartbeat/ticker.ts";
import { watchUsers } from "../heartbeat/users.ts";
import { makeRealm } from "../keycloak/client.ts";
import { makeAdminClients } from "../keycloak/connection.ts";
import { fromKubeconfig, inCluster } from "../kube/access.ts";
import { makeCluster } from "../kube/client.ts";
import { makeConnection } from "../kube/connection.ts";
import type { Watch } from "../kube/cluster.ts";
import { makeOpenWatch } from "../kube/watch.ts";
import { makeWebhookConfig } from "../kube/webhookConfig.ts";
import { systemClock } from "../lib/clock.ts";
import type { ReconcilerConfig } from "../lib/config.ts";
import { TerminalError } from "../lib/errors.ts";
import type { Lifecycle, Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { makeAdminV1Gateway } from "../newapi/adminV1.ts";
import { makeNewApiGateway } from "../newapi/newApi/gateway.ts";
import { makeLimitsByOrigin } from "../newapi/newApi/limits.ts";
import { makeLiveness } from "../ops/liveness.ts";
import { makeMetrics } from "../ops/metrics.ts";
import { makeOperatorServer } from "../ops/operatorServer.ts";
import { makeOpsServer } from "../ops/server.ts";
import { originAt } from "../reconciler/access.ts";
import { makeBreakers } from "../reconciler/breakers.ts";
import { makeCrowd } from "../reconciler/crowd.ts";
import { makeDrift } from "../reconciler/drift.ts";
import { makeEngine } from "../reconciler/engine.ts";
import { makeIntake } from "../reconciler/intake.ts";
import { makeMembership } from "../reconciler/membership.ts";
import { makeOperator } from "../reconciler/operator.ts";
import { makeOutboxPump } from "../reconciler/outboxPump.ts";
import { makeProbe } from "../reconciler/probe.ts";
import { makeSweeper } from "../reconciler/sweeper.ts";
import { makeTenantBreakers } from "../reconciler/tenantBreakers.ts";
import { makeTenants } from "../reconciler/tenants.ts";
import { TENANT_FAULTS } from "../saga/tenantFaults.ts";
import { wellness } from "../saga/tenantReport.ts";
import { keycloakStep } from "../steps/keycloak.ts";
import { newapiStep } from "../steps/newapi.ts";
import { secretStep } from "../steps/secret.ts";
import { appendAudit } from "../store/audit.ts";
import { handOver, moveEmail, takeOver } from "../store/moves.ts";
import { firstWaiter, forgetApplicant } from "../store/waiting.ts";
import { livingWorkers, record } from "../store/claims.ts";
import { makePool } from "../store/pool.ts";
import { touchUnsettled } from "../store/sightings.ts";
import { tenantStore } from "../store/tenants.ts";
import { openWorkerSession } from "../store/workerSession.ts";
import { makeRenewer } from "../tls/renewer.ts";
import { type Between, NOTHING_BETWEEN } from "./between.ts";
import { certificatePort } from "./certificates.ts";

const MINUTE_MS = 60_000;
/** Those who wait go on over this long when their neighbour is back, so that it is not flattened. */
const RECOVERY_SPREAD_MS = 1_000;

/** The sidecar: everything that acts. Starts with every neighbour down. */
export async function runReconciler(
  config: ReconcilerConfig,
  log: Log,
  lifecycle: Lifecycle,
  between: Between = NOTHING_BETWEEN,
): Promise<number> {
  const clock = systemClock;
  const random = Math.random;
  const url = config.databaseURL.reveal();
  const pool = between.pool(
    makePool({
      url,
      max: config.workers + 6,
      applicationName: "unified-rbac reconciler",
      onIdleError: (error) => log.debug("an idle connection to Postgres broke", { error }),
    }),
  );
  const access =
    config.kubeconfig === undefined ? inCluster({ clock }) : await fromKubeconfig({ clock }, config.kubeconfig);
  const connection = makeConnection(access, { clock });
  const cluster = between.cluster(makeCluster(connection, { log, random, instance: config.identity }));
  const watches = makeOpenWatch(connection, { log, clock, random, recovered: () => retries.hurry() });
  const openWatch = between.openWatch(watches.open);
  const metrics = makeMetrics("reconciler");
  const bus = between.bus(
    makeBus(
      { log, clock },
      {
        servers: config.nats.servers,
        credsFile: config.nats.credsFile,
        clientName: config.identity,
        periodMs: config.heartbeatMs,
      },
    ),
  );

  let knownClusterID: string | undefined;
  const clusterID = async (): Promise<string> => {
    knownClusterID ??= await cluster.clusterID(lifecycle.signal);
    return knownClusterID;
  };

  const breakers = makeBreakers({
    clock,
    random,
    probe: (origin) => probe(origin, lifecycle.signal),
    recovered: (origin) => {
      log.info("a neighbour answers again", { origin, outcome: "recovered" });
      tenants.recovered(origin);
      for (const { tenantID, spec } of tenants.all()) {
        if (originAt(spec, "keycloak") !== origin && originAt(spec, "newapi") !== origin) continue;
        retries.run(`recovered/${tenantID}`, async () => {
          await touchUnsettled(pool, tenantID, RECOVERY_SPREAD_MS);
          engine.look();
        });
      }
    },
  });
  const limitsOf = makeLimitsByOrigin(clock);
  const clients = makeAdminClients();
  const tenants = makeTenants({
    cluster,
    openWatch,
    breakers,
    store: tenantStore(pool),
    operatorNamespace: config.operatorNamespace,
    makeRealm: (settings) => makeRealm({ ...settings, clock, clients }),
    makeGateway: (settings) => {
      if (settings.dialect === "admin-v1") return makeAdminV1Gateway({ ...settings, clock });
      if (config.masterKeys === undefined) {
        throw new TerminalError({
          code: REASON.NewAPICredentialsMissing,
          message: "Dialect new-api needs master keys: give the reconciler MASTER_KEYS_FILE, as docs/newapi.md says.",
        });
      }
      return makeNewApiGateway({
        ...settings,
        userID: settings.userID ?? "",
        masterKeys: config.masterKeys,
        limits: limitsOf(settings.url),
        clock,
        passwordReset: (saga, why) => {
          metrics.passwordReset(why);
          log.warn("A person's password at the gateway was set anew.", { saga, step: "newapi", outcome: why });
        },
      });
    },
    clock,
    random,
    log,
    recheckMs: config.recheckMs,
  });

  const retries = makeRetries({ concurrency: 8, random, log });
  const outbox = makeOutboxPump({ pool, publish: (event, signal) => bus.publishEvent(event, signal), clock, log });
  // Waits for what became free, once a tenant at a time, whoever asks how often.
  const reconsider = (tenantID: string | undefined): void =>
    retries.run(`waiting/${tenantID ?? ""}`, (signal) => intake.reconsider(tenantID, signal));

  const probe = makeProbe(tenants);
  const tenantBreakers = makeTenantBreakers({
    clock,
    suspect: (tenantID) => tenants.suspect(tenantID),
    recovered: (tenantID, resume) => {
      log.info("a tenant's credential is let in again", { tenant: tenantID, outcome: "recovered" });
      retries.run(`let-in/${tenantID}`, async () => {
        await touchUnsettled(pool, tenantID, RECOVERY_SPREAD_MS, resume ? TENANT_FAULTS : []);
        engine.look();
      });
    },
  });
  tenants.onChecked((tenantID, results) => {
    for (const neighbour of ["keycloak", "newapi"] as const) {
      const isWell = wellness(results[neighbour]);
      if (isWell !== undefined) tenantBreakers.checked(tenantID, neighbour, isWell);
    }
  });
  const stopBreakers = (): void => {
    breakers.stop();
    tenantBreakers.stop();
  };
  const engine = makeEngine({
    pool,
    cluster,
    clusterID,
    tenants,
    steps: [keycloakStep, newapiStep, secretStep],
    breakers,
    tenantBreakers,
    workers: config.workers,
    ready: () => tenants.loaded(),
    recovered: () => retries.hurry(),
    held: () => {
      const open = new Set(breakers.open());
      if (open.size === 0) return [];
      return tenants
        .all()
        .filter(({ spec }) => [spec.keycloak.url, spec.newapi.url].some((address) => open.has(new URL(address).origin)))
        .map(({ tenantID }) => tenantID);
    },
    openSession: () => openWorkerSession(url, `unified-rbac worker ${config.identity}`),
    record: async (claim, recording) => {
      const next = await record(pool, claim, recording);
      if (recording.events.length > 0) outbox.look();
      return next;
    },
    keepAudit: (entries) => retries.run(`audit/${entries[0]?.id ?? ""}`, () => appendAudit(pool, entries)),
    moveEmail: (row, email) => moveEmail(pool, row, email),
    firstWaiter: (tenantID, email) => firstWaiter(pool, tenantID, email),
    forgetWaiter: (uid) => forgetApplicant(pool, uid),
    handOver: (claim, to) => handOver(pool, claim, to),
    takeOver: (claim, uuid) => takeOver(pool, claim, uuid),
    doubt: (namespace) => tenants.doubt(namespace),
    released: (tenantID) => {
      reconsider(tenantID);
      tenants.released(tenantID);
    },
    counted: (tenantID) => tenants.counted(tenantID),
    crowd: makeCrowd(),
    observe: ({ step, outcome, ms, direction }) => metrics.step({ step, direction, outcome, seconds: ms / 1000 }),
    clock,
    random,
    log,
  });
  const look = (source: Parameters<typeof metrics.look>[0]) => () => {
    metrics.look(source);
    engine.look();
  };
  const intake = makeIntake({ pool, cluster, clusterID, tenants, look: look("watch"), clock, log });
  const secretWatches = watchSecrets({ openWatch, pool, retries, look: look("watch") });
  const followed = new Map<string, readonly string[]>();
  tenants.onChange(({ tenantID, namespaces }) => {
    followed.set(
      tenantID,
      namespaces.filter((namespace) => tenants.byNamespace(namespace)?.tenantID === tenantID),
    );
    secretWatches.follow([...followed.values()].flat());
    retries.run(`tenant/${tenantID}`, async () => {
      // Who was stopped because we had no rights in the namespace: the check asks for them, and is green again.
      const resumed = tenants.get(tenantID)?.ready === true ? [REASON.MissingPermission] : [];
      await touchUnsettled(pool, tenantID, RECOVERY_SPREAD_MS, resumed);
      engine.look();
      bus.kick();
    });
    reconsider(undefined);
  });

  const ticker = makeTicker({ bus, look: look("local"), clock, log, periodMs: config.heartbeatMs });
  const membership = makeMembership({
    living: () => livingWorkers(pool),
    own: () => engine.owner(),
    changed: (living, own) => {
      secretWatches.shareWith(living, own);
      // Whoever went may have left work behind.
      engine.look();
    },
    log,
  });
  const sweeper = makeSweeper({
    pool,
    everyMs: config.heartbeatMs,
    reconsider: (signal) => intake.reconsider(undefined, signal),
    standing: (standing) => {
      metrics.standing(standing);
      metrics.breakers({ origin: breakers.open().length, tenant: tenantBreakers.open() });
    },
    clock,
    log,
  });

  const drift = makeDrift({
    pool,
    cluster,
    tenants,
    breakers,
    tenantBreakers,
    everyMs: config.driftMs,
    look: look("timer"),
    clock,
    log,
  });

  let userWatch: Watch | undefined;
  let tenantLoop: Promise<void> = Promise.resolve();
  const liveness = makeLiveness(clock);
  liveness.register({ name: "tenants", lastProgress: () => tenants.lastProgress(), allowedMs: 2 * MINUTE_MS });
  liveness.register({ name: "engine", lastProgress: () => engine.lastProgress(), allowedMs: 2 * MINUTE_MS });
  liveness.register({ name: "outbox", lastProgress: () => outbox.lastProgress(), allowedMs: 2 * MINUTE_MS });
  liveness.register({ name: "drift", lastProgress: () => drift.lastProgress(), allowedMs: 3 * MINUTE_MS });
  liveness.register({
    name: "ticker",
    lastProgress: () => ticker.lastProgress(),
    allowedMs: 2 * config.heartbeatMs + MINUTE_MS,
  });
  liveness.register({
    name: "sweeper",
    lastProgress: () => sweeper.lastProgress(),
    allowedMs: 2 * config.heartbeatMs + 2 * MINUTE_MS,
  });

  const parts: Part[] = [
    { name: "postgres", start: () => undefined, stop: () => pool.end() },
    { name: "kubernetes", start: () => undefined, stop: () => connection.close() },
    makeHeartbeatConsumer({ bus, look: look("heartbeat") }),
    outbox,
    { name: "sights", start: () => undefined, stop: () => retries.stop() },
    { name: "engine", start: () => engine.start(), stop: () => engine.stop().finally(stopBreakers) },
    {
      name: "tenants",
      start: () => {
        tenantLoop = tenants.run(lifecycle.signal);
      },
      stop: () => tenantLoop,
    },
    {
      name: "users",
      start: () => {
        // Only once the Tenants are known does "no Tenant claims this namespace" mean anything.
        void until(() => tenants.loaded(), lifecycle.signal).then(() => {
          if (lifecycle.signal.aborted) return;
          userWatch = watchUsers({
            openWatch,
            pool,
            cluster,
            clusterID,
            tenants,
            intake,
            retries,
            look: look("watch"),
            log,
          });
        });
      },
      stop: async () => {
        await userWatch?.stop();
        await watches.close();
      },
    },
    membership,
    sweeper,
    drift,
    ticker,
    makeOpsServer({
      address: config.ops,
      registry: metrics.registry,
      liveness,
      ready: [{ name: "tenants", problem: () => (tenants.loaded() ? undefined : "the Tenants were not read yet") }],
      log,
    }),
  ];
  if (config.operator !== undefined) {
    const lookNow = (): void => {
      engine.look();
      outbox.look();
    };
    const operator = makeOperator({ pool, cluster, clusterID, tenants, look: lookNow, clock, log });
    parts.push(makeOperatorServer({ address: config.operator, operator, log }));
  }
  if (config.webhookTLS.managed) {
    parts.push(
      makeRenewer({
        port: certificatePort(makeWebhookConfig(connection, config.operatorNamespace), config.webhookTLS),
        subject: { dnsNames: config.webhookTLS.dnsNames, ips: config.webhookTLS.ips },
        clock,
        log,
      }),
    );
  }
  return lifecycle.run(parts);
}

async function until(holds: () => boolean, signal: AbortSignal): Promise<void> {
  while (!holds() && !signal.aborted) await sleep(50, undefined, { signal }).catch(() => undefined);
}
