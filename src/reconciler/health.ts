import type { Clock, Random } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import type { Notifier } from "../lib/notifier.ts";
import type { Closed, TenantUpstream } from "../saga/decide.ts";
import { type Checks, wellness } from "../saga/tenantReport.ts";
import { originAt, type TenantAccess, type TenantRegistry, tenantsBehind, UPSTREAMS } from "./access.ts";
import { type Breakers, makeBreakers } from "./breakers.ts";
import { makeOriginLimits, type OriginLimits } from "./originLimits.ts";
import { makeTenantBreakers, type TenantBreakers } from "./tenantBreakers.ts";
import type { TenantRequests } from "./tenants/requests.ts";
import type { Wakeups } from "./wakeups.ts";

/** What is known of the upstreams: who does not answer, who refuses a tenant, who is slow. As a part it only stops. */
export interface Health extends Part {
  readonly breakers: Breakers;
  readonly tenantBreakers: TenantBreakers;
  readonly originLimits: OriginLimits;
  /** The most claims at once of tenants that have to wait for an upstream anyway: 1, or 0 for no more now. */
  held(): ReadonlyMap<string, 0 | 1>;
  /** What a Tenant's check found. */
  checked(tenantID: string, results: Checks): void;
  /** The breakers that are open, of whole origins and of tenants there. */
  open(): readonly OpenBreaker[];
}

export interface OpenBreaker {
  readonly scope: "origin" | "tenant";
  readonly upstream: TenantUpstream;
  readonly kind: Closed["why"];
}

export interface HealthDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly probe: (origin: string) => Promise<boolean>;
  readonly registry: Pick<TenantRegistry, "all">;
  readonly requests: Pick<TenantRequests, "requestRecheck">;
  readonly wakeups: Pick<Wakeups, "originRecovered" | "credentialAccepted">;
  /** Who begins to wait for room at a slow upstream leaves a worker free. */
  readonly due: Pick<Notifier, "notify">;
}

export function makeHealth(deps: HealthDeps): Health {
  const { clock, random, log, probe, registry, requests, wakeups, due } = deps;
  const breakers = makeBreakers({ clock, random, probe, recovered: (origin) => wakeups.originRecovered(origin) });
  const tenantBreakers = makeTenantBreakers({
    clock,
    requestRecheck: (tenantID) => requests.requestRecheck(tenantID),
    recovered: (tenantID, upstream, isLifted) => wakeups.credentialAccepted(tenantID, upstream, isLifted),
  });
  const originLimits = makeOriginLimits({
    clock,
    waits: () => due.notify(),
    shrunk: (standing) => log.info("lowered the concurrency limit of a slow upstream", { ...standing }),
  });

  return {
    breakers,
    tenantBreakers,
    originLimits,
    held() {
      const known = registry.all();
      const down = tenantsBehind(known, new Set(breakers.open()));
      const full = tenantsBehind(known, originLimits.full());
      return new Map([...down.map((id) => [id, 1] as const), ...full.map((id) => [id, 0] as const)]);
    },
    checked(tenantID, results) {
      for (const upstream of UPSTREAMS) {
        const isWell = wellness(results[upstream]);
        if (isWell !== undefined) tenantBreakers.recordCheck(tenantID, upstream, isWell);
      }
    },
    open() {
      const origins = breakers.open();
      const known = origins.length === 0 ? [] : registry.all();
      return [
        ...origins.map((origin) => ({ scope: "origin", upstream: kindOf(known, origin), kind: "silent" }) as const),
        ...tenantBreakers.open().map(({ upstream, why: kind }) => ({ scope: "tenant", upstream, kind }) as const),
      ];
    },
    name: "health",
    start: () => undefined,
    stop() {
      breakers.stop();
      tenantBreakers.stop();
    },
  };
}

/** What stands at an origin: a gateway, where no tenant's Keycloak does. */
function kindOf(tenants: readonly TenantAccess[], origin: string): TenantUpstream {
  return tenants.some(({ spec }) => originAt(spec, "keycloak") === origin) ? "keycloak" : "newapi";
}
