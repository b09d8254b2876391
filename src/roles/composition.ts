import type { Bus } from "../bus/bus.ts";
import { makePublish } from "../bus/publish.ts";
import { makeHeartbeatConsumer } from "../triggers/consumer.ts";
import { watchObstacles } from "../triggers/obstacles.ts";
import { watchSecrets } from "../triggers/secrets.ts";
import { makeTicker } from "../triggers/ticker.ts";
import { makeUserWatch } from "../triggers/users.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { WatchDeps, Watches } from "../kube/watch.ts";
import { makeFailureCounts } from "../lib/backoff.ts";
import type { Clock, Random } from "../lib/clock.ts";
import type { ReconcilerConfig } from "../lib/config.ts";
import { makeJobs } from "../lib/jobs.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import type { Tracer } from "../lib/tracing.ts";
import { makeNotifier } from "../lib/notifier.ts";
import type { Metrics } from "../ops/metrics.ts";
import { recordStoreStats } from "../ops/storeStats.ts";
import type { TenantRegistry } from "../reconciler/access.ts";
import { makeClaimStore } from "../reconciler/claimStore.ts";
import { makeDrift } from "../reconciler/drift.ts";
import { makeEngine } from "../reconciler/engine.ts";
import { makeHealth } from "../reconciler/health.ts";
import { makeIntake } from "../reconciler/intake.ts";
import { makeMembership } from "../reconciler/membership.ts";
import { makeOutboxPump } from "../reconciler/outboxPump.ts";
import { queueOf, makePendingUsers } from "../reconciler/pending.ts";
import { makePinLookups } from "../reconciler/pinLookups.ts";
import { makePinQuestions } from "../reconciler/pinQuestions.ts";
import { makeStatsReader } from "../reconciler/storeStats.ts";
import { makeSweeper } from "../reconciler/sweeper.ts";
import type { ClientFactories } from "../reconciler/tenants/clients.ts";
import { makeTenantLoop } from "../reconciler/tenants/loop.ts";
import { makeTenantRegistry } from "../reconciler/tenants/registry.ts";
import { makeTenantRequests } from "../reconciler/tenants/requests.ts";
import { makeWakeups } from "../reconciler/wakeups.ts";
import { keycloakStep } from "../steps/keycloak.ts";
import { newapiStep } from "../steps/newapi.ts";
import { secretStep } from "../steps/secret.ts";
import { livingWorkers } from "../store/claims.ts";
import type { Pool } from "../store/pool.ts";
import { tenantStore } from "../store/tenants.ts";
import type { WorkerSession } from "../store/workerSession.ts";
import { measureMemory, watchedResource, workObserver } from "./measurements.ts";

/** Tenants whose Keycloak is asked at the same time on behalf of those who have no row yet. */
const LOOKUPS_AT_ONCE = 64;

/** Everything outside the process, and how it is reached. */
export interface Edges {
  readonly pool: Pool;
  readonly openSession: () => Promise<WorkerSession>;
  readonly cluster: Cluster;
  readonly clusterID: () => Promise<string>;
  readonly makeWatches: (deps: Pick<WatchDeps, "recovered" | "skipped" | "restarted">) => Watches;
  readonly bus: Bus;
  readonly makeFactories: (deps: { readonly limitRaised: (tenantIDs: readonly string[]) => void }) => ClientFactories;
  /** Whether anybody answers at an origin, with the trust of a tenant who is there. */
  readonly probe: (tenants: Pick<TenantRegistry, "all">, origin: string) => Promise<boolean>;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export type Settings = Pick<
  ReconcilerConfig,
  "workers" | "heartbeatMs" | "recheckMs" | "driftMs" | "retention" | "operatorNamespace"
>;

/** What acts, in the order in which it is started; each part is made after all that it uses. */
export function composeReconciler(edges: Edges, settings: Settings) {
  const { pool, cluster, clusterID, bus, metrics, tracer, clock, random, log } = edges;
  const base = { clock, random, log };

  // What others wait on and read: plain data.
  const due = makeNotifier();
  const dueBecause = (source: "heartbeat" | "local" | "timer" | "watch") => () => {
    metrics.increment("unified_rbac_polls_total", { source });
    due.notify();
  };
  const registry = makeTenantRegistry({ clock, random });
  const requests = makeTenantRequests({ registry, clock, random });
  const questions = makePinQuestions(clock);

  // Who has no row yet.
  const jobs = makeJobs({ concurrency: 8, ...base });
  // Each may take as long as an upstream is waited for, and each tenant has one at a time.
  const lookups = makeJobs({ concurrency: LOOKUPS_AT_ONCE, ...base });
  const notify = dueBecause("watch");
  const intake = makeIntake({ pool, cluster, clusterID, tenants: registry, pins: questions, notify, clock, log });
  const pending = makePendingUsers({ pool, intake, jobs, tenants: registry });
  const outbox = makeOutboxPump({ pool, publish: makePublish({ bus, tracer }), clock, log });

  // What happened, and who is told of it.
  const wakeups = makeWakeups({ pool, jobs, lookups, due, registry, requests, pending, bus, log });
  const health = makeHealth({
    probe: (origin) => edges.probe(registry, origin),
    registry,
    requests,
    wakeups,
    due,
    ...base,
  });
  const { breakers, tenantBreakers, originLimits } = health;

  // The watches.
  const skipped = (kind: "observation" | "audit" | "object") => () =>
    metrics.increment("unified_rbac_skipped_items_total", { kind });
  const watches = edges.makeWatches({
    recovered: () => jobs.hurry(),
    skipped: skipped("object"),
    restarted: (target) =>
      metrics.increment("unified_rbac_watch_restarts_total", { resource: watchedResource(target) }),
  });
  const openWatch = watches.open;
  const watching = { openWatch, pool, cluster, clusterID, jobs, tenants: registry, notify, clock, log };
  const queueOfSecrets = (namespace: string): string => `secrets/${queueOf(registry, namespace)}`;
  const secretWatches = watchSecrets({ ...watching, queueOf: queueOfSecrets });
  const obstacles = watchObstacles({ ...watching, queueOf: queueOfSecrets });
  const users = makeUserWatch({
    ...watching,
    intake,
    pending,
    skipped: skipped("observation"),
    tenantsLoaded: registry.firstLoaded,
  });

  // The loops.
  const tenants = makeTenantLoop({
    cluster,
    openWatch,
    store: tenantStore(pool),
    registry,
    requests,
    factories: edges.makeFactories({ limitRaised: (tenantIDs) => wakeups.gatewayLimitRaised(tenantIDs) }),
    breakers,
    changed: (change) => {
      secretWatches.follow(registry.namespaces().map((namespace) => ({ namespace })));
      wakeups.tenantChanged(change);
    },
    checked: (tenantID, results) => health.checked(tenantID, results),
    operatorNamespace: settings.operatorNamespace,
    ...base,
    recheckMs: settings.recheckMs,
  });
  const pinLookups = makePinLookups({
    questions,
    tenants: registry,
    jobs: lookups,
    breakers,
    tenantBreakers,
    originLimits,
    pending,
    clock,
  });
  const engine = makeEngine({
    ...makeClaimStore({ pool, outbox, jobs, skipped: skipped("audit"), log }),
    pool,
    due,
    cluster,
    clusterID,
    tenants: registry,
    steps: [keycloakStep, newapiStep, secretStep],
    breakers,
    tenantBreakers,
    originLimits,
    held: () => health.held(),
    workers: settings.workers,
    ready: () => registry.loaded(),
    recovered: () => wakeups.storeRecovered(),
    openSession: edges.openSession,
    tracer,
    invalidateAccessCheck: (namespace) => requests.invalidateAccessCheck(namespace),
    released: (held) => wakeups.released(held),
    counted: (tenantID) => requests.countSoon(tenantID),
    pauses: makeFailureCounts(random),
    ...workObserver(metrics),
    ...base,
  });
  const membership = makeMembership({
    living: () => livingWorkers(pool),
    own: () => engine.owner(),
    changed: (living, own) => {
      secretWatches.shareWith(living, own);
      obstacles.shareWith(living, own);
      // Whoever went may have left work behind.
      due.notify();
    },
    lost: (own) => engine.disown(own),
    ...base,
  });
  const sweeper = makeSweeper({
    pool,
    everyMs: settings.heartbeatMs,
    retention: settings.retention,
    sweepPending: () => pending.sweep(),
    ...base,
  });
  const stats = makeStatsReader({
    pool,
    everyMs: settings.heartbeatMs,
    read: (now) => recordStoreStats(metrics, now, clock),
    ...base,
  });
  measureMemory(metrics, { engine, workers: settings.workers, health, tenants: registry.known, bus });
  const drift = makeDrift({
    pool,
    cluster,
    tenants: registry,
    breakers,
    tenantBreakers,
    everyMs: settings.driftMs,
    wake: dueBecause("timer"),
    corrected: (step, count) => metrics.add("unified_rbac_drift_corrections_total", count, { step }),
    ...base,
  });
  const ticker = makeTicker({ bus, notify: dueBecause("local"), clock, log, periodMs: settings.heartbeatMs });

  const parts: Part[] = [
    makeHeartbeatConsumer({ bus, notify: dueBecause("heartbeat") }),
    outbox,
    {
      name: "jobs",
      start: nothing,
      stop: () => jobs.stop(),
      lastProgress: () => jobs.lastProgress(),
      allowedMs: 3 * 60_000,
    },
    { name: "lookups", start: nothing, stop: () => lookups.stop() },
    pinLookups,
    health,
    engine,
    tenants,
    {
      name: "watches",
      start: nothing,
      stop: () => watches.close(),
      lastProgress: () => watches.lastProgress(),
      // A stream is given up when it was silent for two and a half minutes.
      allowedMs: 5 * 60_000,
    },
    users,
    membership,
    obstacles,
    sweeper,
    stats,
    drift,
    ticker,
  ];
  return { parts, registry, due, outbox };
}

function nothing(): void {}
