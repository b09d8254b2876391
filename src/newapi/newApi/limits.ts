import type { Clock } from "../../lib/clock.ts";

/** What the gateway counts as critical: logins, revealing a key. As shipped: 20 in 20 minutes for all callers of one address. */
export const CRITICAL_WINDOW_MS = 20 * 60_000;
export const SHIPPED_CRITICAL_LIMIT = 20;
/** The gateway counts from when a call arrives, which is later than when it was made. */
const COUNTED_MS = CRITICAL_WINDOW_MS + 5_000;
/** While it is thought used up, one more is tried this often: somebody may have raised the limit. */
const TRY_AGAIN_MS = 5 * 60_000;
/** A place in the queue that nobody came for is given up. */
const PLACE_KEPT_MS = 2 * 60_000;
/** After a 429 to a call that is not critical: the limit for all calls, 360 in 180 s as shipped. */
const QUIET_MS = 30_000;

/** Leave to make some critical calls. Must be ended. */
export interface Permit {
  /** Before each call. */
  spend(): void;
  /** The call got through. */
  passed(): void;
  /** The call was answered 429, and so was not counted there. */
  refused(): void;
  end(): void;
}

export type Admission = { readonly permit: Permit } | { readonly until: number };

export interface Standing {
  /** `open`: more than the shipped limit got through. `limited`: a 429 was seen. */
  readonly kind: "unknown" | "open" | "limited";
  readonly limit: number;
}

/** How many critical calls one gateway lets through, as far as it is seen, shared by all tenants of this process. */
export interface Limits {
  /** A tenant that uses this gateway: as soon as there are two, none gets more than half. */
  join(tenantID: string): void;
  /** Room for `cost` calls now, or the time of a place in the queue, one for each `who`. */
  admit(tenantID: string, who: string, cost: number): Admission;
  standing(): Standing;
  /** Until when no call at all should be made; undefined: go on. */
  quietUntil(): number | undefined;
  /** A call that is not critical was answered 429. */
  hush(retryAfterMs: number | undefined): void;
}

interface Use {
  readonly at: number;
  readonly tenantID: string;
}

interface Place extends Use {
  readonly cost: number;
}

/**
 * Nothing is held back until a 429 is seen, but for the fair share of the other tenants: that the limit is on can be seen
 * in no other way, and a refused call costs nothing there. From then on the number that got through is the limit.
 */
export function makeLimits(clock: Clock): Limits {
  const tenants = new Set<string>();
  let uses: Use[] = [];
  const open = new Set<{ readonly tenantID: string; left: number }>();
  const queue = new Map<string, Place>();
  let limit: number | undefined;
  let beyond = false;
  let tryAt = 0;
  let quiet = 0;

  function tidy(now: number): void {
    uses = uses.filter(({ at }) => at > now - COUNTED_MS);
    for (const [who, place] of queue) if (place.at + PLACE_KEPT_MS < now) queue.delete(who);
  }

  /** When `cost` more calls fit, after all that were made, are allowed, or wait: for whom it is time, only after the former. */
  function fits(
    now: number,
    cost: number,
    most: number,
    counts: (tenantID: string) => boolean,
    isTime: boolean,
  ): number {
    const waiting = isTime ? [] : [...queue.values()];
    const times = [
      ...uses.filter(({ tenantID }) => counts(tenantID)).map(({ at }) => at),
      ...[...open].filter(({ tenantID }) => counts(tenantID)).flatMap(({ left }) => Array<number>(left).fill(now)),
      ...waiting
        .filter(({ tenantID }) => counts(tenantID))
        .flatMap((place) => Array<number>(place.cost).fill(place.at)),
    ].toSorted((a, b) => a - b);
    // A limit under one person's need would keep everybody out for ever: then it is tried all the same.
    const over = times.length + cost - Math.max(most, cost);
    const last = over > 0 ? times[over - 1] : undefined;
    return last === undefined ? now : Math.max(now, last + COUNTED_MS);
  }

  function permit(tenantID: string, cost: number): Permit {
    const held = { tenantID, left: cost };
    open.add(held);
    let spent: Use | undefined;
    return {
      spend() {
        held.left = Math.max(0, held.left - 1);
        spent = { at: clock.now(), tenantID };
        uses.push(spent);
      },
      passed() {
        const known = limit ?? SHIPPED_CRITICAL_LIMIT;
        tidy(clock.now());
        if (uses.length <= known) return;
        beyond = uses.length > SHIPPED_CRITICAL_LIMIT;
        limit = beyond ? undefined : uses.length;
        queue.clear();
      },
      refused() {
        uses = uses.filter((use) => use !== spent);
        const now = clock.now();
        tidy(now);
        limit = Math.max(1, uses.length === 0 ? SHIPPED_CRITICAL_LIMIT : uses.length);
        // Others behind the same address may have used it up, so that our own calls tell nothing of when it ends.
        if (uses.length === 0)
          uses = Array.from({ length: limit }, () => ({ at: now - COUNTED_MS + TRY_AGAIN_MS, tenantID: "" }));
        beyond = false;
        tryAt = now + TRY_AGAIN_MS;
      },
      end: () => void open.delete(held),
    };
  }

  return {
    join: (tenantID) => void tenants.add(tenantID),
    admit(tenantID, who, cost) {
      const now = clock.now();
      tidy(now);
      const place = queue.get(who);
      if (place !== undefined && place.at > now) return { until: place.at };
      const isTime = queue.delete(who);
      if (beyond) return { permit: permit(tenantID, cost) };
      const most = limit ?? SHIPPED_CRITICAL_LIMIT;
      const share = tenants.size > 1 ? Math.floor(most / 2) : most;
      const everybody = limit === undefined ? now : fits(now, cost, most, () => true, isTime);
      // Not known to be limited, and nobody else is kept out: more is tried.
      const free = limit === undefined && (tenants.size <= 1 || uses.length >= most);
      const own = free ? now : fits(now, cost, share, (other) => other === tenantID, isTime);
      const at = Math.max(everybody, own);
      if (at <= now) return { permit: permit(tenantID, cost) };
      if (limit !== undefined && everybody > now && tryAt <= now) {
        tryAt = now + TRY_AGAIN_MS;
        return { permit: permit(tenantID, cost) };
      }
      queue.set(who, { at, tenantID, cost });
      return { until: at };
    },
    standing: () => ({
      kind: beyond ? "open" : limit === undefined ? "unknown" : "limited",
      limit: limit ?? SHIPPED_CRITICAL_LIMIT,
    }),
    quietUntil: () => (quiet > clock.now() ? quiet : undefined),
    hush: (retryAfterMs) => {
      quiet = clock.now() + (retryAfterMs ?? QUIET_MS);
    },
  };
}

/** One for each gateway (scheme, host, port) of the process. */
export function makeLimitsByOrigin(clock: Clock): (url: string) => Limits {
  const byOrigin = new Map<string, Limits>();
  return (url) => {
    const origin = URL.canParse(url) ? new URL(url).origin : url;
    const known = byOrigin.get(origin) ?? makeLimits(clock);
    byOrigin.set(origin, known);
    return known;
  };
}
