import type { Clock } from "../../../lib/clock.ts";

/** As shipped: 360 calls (180 before June 2026) in this time, for all callers of one address. */
const WINDOW_MS = 180_000;
const PAUSE_MS = 30_000;
/** For a tenant that has not used its share: what the others used up may be free soon. */
const SHORT_PAUSE_MS = 5_000;
/** Whoever raised the limit shall not wait for a restart. */
const BELIEVED_MS = 15 * 60_000;

/** The gateway's limit for all calls. Once it is seen, no tenant takes more than half of what it lets through. */
export interface GlobalLimit {
  /** Counts one call of this tenant, or says until when it should make none. */
  take(tenantID: string): number | undefined;
  /** The call of this tenant was answered 429. Returns until when it should make none. */
  refused(tenantID: string, retryAfterMs: number | undefined): number;
}

export function makeGlobalLimit(clock: Clock, tenants: () => number): GlobalLimit {
  /** Calls that were made, by the second and the tenant. */
  const seconds = new Map<number, Map<string, number>>();
  const pausedUntil = new Map<string, number>();
  let limit: number | undefined;
  let seenAt = 0;

  function tidy(now: number): void {
    for (const second of seconds.keys()) {
      if (second * 1000 + WINDOW_MS >= now) break;
      seconds.delete(second);
    }
    for (const [tenantID, until] of pausedUntil) if (until <= now) pausedUntil.delete(tenantID);
    if (limit !== undefined && seenAt + BELIEVED_MS < now) limit = undefined;
  }

  const made = (tenantID?: string): number =>
    [...seconds.values()].reduce(
      (sum, byTenant) =>
        sum +
        (tenantID === undefined ? [...byTenant.values()].reduce((a, b) => a + b, 0) : (byTenant.get(tenantID) ?? 0)),
      0,
    );

  /** Until when a tenant with more than its share waits for its own calls to be forgotten. */
  function shareUntil(tenantID: string): number | undefined {
    if (limit === undefined || tenants() <= 1) return undefined;
    let over = made(tenantID) + 1 - Math.max(1, Math.floor(limit / 2));
    if (over <= 0) return undefined;
    for (const [second, byTenant] of seconds) {
      over -= byTenant.get(tenantID) ?? 0;
      if (over <= 0) return (second + 1) * 1000 + WINDOW_MS;
    }
    return undefined;
  }

  return {
    take(tenantID) {
      const now = clock.now();
      tidy(now);
      const until = Math.max(pausedUntil.get(tenantID) ?? 0, shareUntil(tenantID) ?? 0);
      if (until > now) return until;
      const second = Math.floor(now / 1000);
      const byTenant = seconds.get(second) ?? new Map<string, number>();
      byTenant.set(tenantID, (byTenant.get(tenantID) ?? 0) + 1);
      seconds.set(second, byTenant);
      return undefined;
    },
    refused(tenantID, retryAfterMs) {
      const now = clock.now();
      // The one that was refused is not counted there.
      limit = Math.max(1, made() - 1);
      seenAt = now;
      const share = shareUntil(tenantID);
      const pause = tenants() > 1 && share === undefined ? SHORT_PAUSE_MS : PAUSE_MS;
      const until = Math.max(now + Math.min(retryAfterMs ?? pause, pause), share ?? 0);
      pausedUntil.set(tenantID, until);
      return until;
    },
  };
}
