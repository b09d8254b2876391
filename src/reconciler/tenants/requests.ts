import type { Clock, Random } from "../../lib/clock.ts";
import { makeNotifier } from "../../lib/notifier.ts";
import { originAt, UPSTREAMS } from "../access.ts";
import { type KnownTenant, waitsForPeople } from "./known.ts";
import type { Registry } from "./registry.ts";

/** The pace at which the Tenants behind an upstream that is back are checked. */
const RECOVERY_PACE_MS = 20;
/** The most often that a tenant's users are counted because of what happens to them. */
const COUNT_EVERY_MS = 3_000;

/** What anybody may ask of the tenants' loop: noted at the Tenant, done in its turn. */
export interface TenantRequests {
  /** Ask this tenant's upstreams at once: a call of it was refused. */
  requestRecheck(tenantID: string): void;
  /** The API server refused us something in this namespace: its Tenant is checked at once, and our rights there with it. */
  invalidateAccessCheck(namespace: string): void;
  /** An upstream answers again: those behind it are asked about it, one after the other. */
  recheckBehind(origin: string): void;
  /** One of this tenant's people is gone for good: what waited for that is loaded again. */
  reloadAfterRelease(tenantID: string): void;
  /** People of this tenant came to another state: soon, and not more often than every few seconds, they are counted. */
  countSoon(tenantID: string): void;
}

/** The loop's side. */
export interface RequestQueue extends TenantRequests {
  /** All Tenants are to be read again. */
  reload(): void;
  /** Whether that was asked since this was called last. */
  takeReload(): boolean;
  count(each: KnownTenant): void;
  /** Something may be due earlier than thought. */
  notify(): void;
  wait(ms: number, restMs: number, signal: AbortSignal): Promise<unknown>;
}

export function makeTenantRequests(deps: {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly random: Random;
  /** Default 3 s. */
  readonly countMs?: number;
}): RequestQueue {
  const { registry, clock, random, countMs = COUNT_EVERY_MS } = deps;
  const notifier = makeNotifier();
  let isReloadWanted = false;

  function reload(): void {
    isReloadWanted = true;
    notifier.notify();
  }

  function requestRecheck(tenantID: string): void {
    const each = registry.knownByID(tenantID);
    if (each === undefined) return;
    each.isRecheckWanted = true;
    each.checkAt = 0;
    notifier.notify();
  }

  function count(each: KnownTenant): void {
    each.countAt ??= clock.now() + countMs;
  }

  return {
    reload,
    requestRecheck,
    count,
    invalidateAccessCheck(namespace) {
      const access = registry.byNamespace(namespace);
      if (registry.accessChecks.invalidate(namespace) && access !== undefined) requestRecheck(access.tenantID);
    },
    recheckBehind(origin) {
      const behind = [...registry.known.values()].filter(
        ({ candidate }) =>
          candidate !== undefined && UPSTREAMS.some((upstream) => originAt(candidate.spec, upstream) === origin),
      );
      const now = clock.now();
      for (const each of behind) {
        each.checkAt = Math.min(each.checkAt, now + random() * behind.length * RECOVERY_PACE_MS);
      }
      notifier.notify();
    },
    reloadAfterRelease(tenantID) {
      const each = registry.knownByID(tenantID);
      if (each === undefined || waitsForPeople(each)) reload();
    },
    countSoon(tenantID) {
      const each = registry.knownByID(tenantID);
      if (each !== undefined) count(each);
    },
    takeReload() {
      const was = isReloadWanted;
      isReloadWanted = false;
      return was;
    },
    notify: () => notifier.notify(),
    wait: (ms, restMs, signal) => notifier.wait(ms, signal, restMs),
  };
}
