import type { Cluster, OpenWatch } from "../../kube/cluster.ts";
import { RETRIES } from "../../lib/backoff.ts";
import type { Clock, Random } from "../../lib/clock.ts";
import type { LoopPart } from "../../lib/lifecycle.ts";
import type { Log } from "../../lib/log.ts";
import type { Checks } from "../../saga/tenantReport.ts";
import type { TenantStore } from "../../store/tenants.ts";
import type { Breakers } from "../breakers.ts";
import { loopPart } from "../loops.ts";
import { makeTenantChecks } from "./checks.ts";
import type { ClientFactories } from "./clients.ts";
import { makeCredentials } from "./credentials.ts";
import { makeTenantLoad } from "./load.ts";
import { makeProgress } from "./progress.ts";
import { makeTenantRefresh } from "./refresh.ts";
import type { Registry } from "./registry.ts";
import type { RequestQueue } from "./requests.ts";
import { jittered, makeCheckSchedule } from "./schedule.ts";
import { makeTenantStatus, type StatusDeps, type TenantChange } from "./status.ts";
import { watchTenants } from "./watch.ts";

/** Events come in bunches: one load serves them all. */
const COALESCE_MS = 200;
/** The longest the loop sleeps: its turns prove that it lives. */
const IDLE_MS = 2_000;

export interface TenantLoopDeps {
  readonly cluster: StatusDeps["cluster"] &
    Pick<Cluster, "listTenants" | "getTenant" | "getSecret" | "namespaceActive" | "missingSecretRights">;
  readonly openWatch: OpenWatch;
  readonly store: TenantStore;
  readonly registry: Registry;
  readonly requests: RequestQueue;
  readonly factories: ClientFactories;
  readonly breakers: Pick<Breakers, "ask" | "success" | "failure">;
  readonly changed: (change: TenantChange) => void;
  readonly checked: (tenantID: string, results: Checks) => void;
  /** Where the credential Secrets are. */
  readonly operatorNamespace: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How often a Tenant is checked that is as it should be. */
  readonly recheckMs: number;
  /** How often one that is not. Default 5 s. */
  readonly retryMs?: number;
  /** How long a check keeps others from theirs. Default 3 s. */
  readonly patienceMs?: number;
}

/** Keeps the registry of tenants current and the status of Tenants true. Any number of replicas may run it at once. */
export function makeTenantLoop(deps: TenantLoopDeps): LoopPart {
  const { registry, requests, clock, random, recheckMs, retryMs = RETRIES.tenantCheck.firstMs } = deps;
  const running = new Set<Promise<void>>();
  const progress = makeProgress(clock);
  const credentials = makeCredentials({ cluster: deps.cluster, namespace: deps.operatorNamespace });
  const status = makeTenantStatus({ ...deps, progress });
  const load = makeTenantLoad({ ...deps, credentials, status, progress });
  const startRefreshes = makeTenantRefresh({ ...deps, status });
  const checks = makeTenantChecks({ ...deps, accessChecks: registry.accessChecks });
  const schedule = makeCheckSchedule({ ...deps, checks, status, retryMs });

  async function run(signal: AbortSignal): Promise<void> {
    const watches = watchTenants({ ...deps, credentials });
    let loadAt = 0;
    while (!signal.aborted) {
      progress.moved();
      if (requests.takeReload() || clock.now() >= loadAt) {
        const isComplete = await load(signal);
        loadAt = clock.now() + jittered(isComplete ? recheckMs : retryMs, random);
      }
      for (const work of [...schedule.startDue(signal), ...startRefreshes(signal)]) track(work);
      const counts = [...registry.known.values()].flatMap(({ countAt }) => countAt ?? []);
      const next = Math.min(loadAt, schedule.nextAt(), ...counts) - clock.now();
      await requests.wait(Math.min(Math.max(next, COALESCE_MS), IDLE_MS), COALESCE_MS, signal);
    }
    await Promise.allSettled([...watches.map((watch) => watch.stop()), ...running]);
  }

  function track(work: Promise<void>): void {
    running.add(work);
    void work.then(() => running.delete(work));
  }

  return loopPart({ name: "tenants", run, lastProgress: () => progress.lastProgress() });
}
