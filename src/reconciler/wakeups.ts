import type { Pool } from "pg";
import { REASON } from "../api/reasons.ts";
import type { Bus } from "../bus/bus.ts";
import type { Jobs } from "../lib/jobs.ts";
import type { Log } from "../lib/log.ts";
import type { Notifier } from "../lib/notifier.ts";
import type { TenantUpstream } from "../saga/decide.ts";
import type { StepName } from "../saga/row.ts";
import { TENANT_FAULTS } from "../saga/tenantFaults.ts";
import { resumeHeld, touchUnsettled, touchWaiting } from "../store/resumptions.ts";
import { originAt, type TenantRegistry, UPSTREAMS } from "./access.ts";
import type { Held, PendingUsers } from "./pending.ts";
import type { TenantRequests } from "./tenants/requests.ts";
import type { TenantChange } from "./tenants/status.ts";

/** Those who wait resume over this long when their upstream is back, so that it is not flattened. */
const SPREAD_MS = 1_000;

/** The steps that call it. */
const STEPS_AT: Readonly<Record<TenantUpstream, readonly StepName[]>> = {
  keycloak: ["keycloak"],
  newapi: ["newapi", "secret"],
};

/** What happened, which rows become due because of it, and what else. None of these waits or throws. */
export interface Wakeups {
  /** An upstream answers again. Due: whom its silence held. Also: pins it is asked about, and checks of the Tenants behind it. */
  originRecovered(origin: string): void;
  /** A gateway lets more logins through than was thought. Due: who waits for its limit. */
  gatewayLimitRaised(tenantIDs: readonly string[]): void;
  /**
   * A tenant's calls are let in again. Due: whom the closed breaker held; `isLifted`: also those whom the refusal itself had
   * stopped.
   */
  credentialAccepted(tenantID: string, upstream: TenantUpstream, isLifted: boolean): void;
  /**
   * A Tenant came, went, or is worked with differently. Due: all of its people who are not settled, and while it is ready
   * those who were stopped for lack of our rights. Also: those who wait for a row in its namespaces, and other replicas.
   */
  tenantChanged(change: TenantChange): void;
  /** A row gave up its email, its uuid or its place. Due: the first who waits for it. Also: a Tenant that waits for people to go. */
  released(held: Held): void;
  /** Postgres answers again. Due: nothing new; what failed because of that is tried at once. */
  storeRecovered(): void;
}

export interface WakeupDeps {
  readonly pool: Pool;
  readonly jobs: Pick<Jobs, "run" | "hurry">;
  readonly lookups: Pick<Jobs, "hurry">;
  readonly due: Pick<Notifier, "notify">;
  readonly registry: Pick<TenantRegistry, "get" | "all">;
  readonly requests: Pick<TenantRequests, "recheckBehind" | "reloadAfterRelease">;
  readonly pending: Pick<PendingUsers, "released" | "tenantChanged">;
  readonly bus: Pick<Bus, "kick">;
  readonly log: Log;
}

export function makeWakeups(deps: WakeupDeps): Wakeups {
  const { pool, jobs, due, registry, requests, pending, log } = deps;

  /** Beside its people's queue: what a tenant's change brings does not wait until they have all been considered. */
  function makeDue(tenantID: string, key: string, touch: () => Promise<unknown>): void {
    jobs.run({ queue: `tenant/${tenantID}`, key }, async () => {
      await touch();
      due.notify();
    });
  }

  function resume(tenantID: string, upstreams: readonly TenantUpstream[], resumed: readonly string[]): void {
    const steps = upstreams.flatMap((upstream) => STEPS_AT[upstream]);
    makeDue(tenantID, `resume/${upstreams.join()}`, () =>
      resumeHeld(pool, tenantID, { steps, spreadMs: SPREAD_MS, resumed }),
    );
  }

  return {
    originRecovered(origin) {
      log.info("reached an upstream again; resuming its tenants", { origin, outcome: "recovered" });
      deps.lookups.hurry();
      requests.recheckBehind(origin);
      for (const { tenantID, spec } of registry.all()) {
        const recovered = UPSTREAMS.filter((upstream) => originAt(spec, upstream) === origin);
        if (recovered.length > 0) resume(tenantID, recovered, []);
      }
    },
    gatewayLimitRaised(tenantIDs) {
      log.info("raised the limit of a gateway that lets more logins through", { outcome: "recovered" });
      for (const tenantID of tenantIDs) {
        makeDue(tenantID, "limit-raised", () => touchWaiting(pool, [tenantID], REASON.GatewayLimited, SPREAD_MS));
      }
    },
    credentialAccepted(tenantID, upstream, isLifted) {
      log.info("resumed a tenant that an upstream accepts again", { tenant: tenantID, upstream, outcome: "recovered" });
      resume(tenantID, [upstream], isLifted ? TENANT_FAULTS : []);
    },
    tenantChanged({ tenantID, namespaces }) {
      makeDue(tenantID, "changed", async () => {
        // The check asks for our rights in the namespace too, and is green again.
        const resumed = registry.get(tenantID)?.ready === true ? [REASON.MissingPermission] : [];
        await touchUnsettled(pool, tenantID, SPREAD_MS, resumed);
        deps.bus.kick();
      });
      pending.tenantChanged(tenantID, namespaces);
    },
    released(held) {
      pending.released(held);
      requests.reloadAfterRelease(held.tenantID);
    },
    storeRecovered: () => jobs.hurry(),
  };
}
