import type { Clock } from "../../../lib/clock.ts";
import { originOf } from "../../../lib/http.ts";
import { type GlobalLimit, makeGlobalLimit } from "./globalLimit.ts";

/** What the gateway counts as critical: logins, revealing a key. As shipped: 20 for all callers of one address. */
export const SHIPPED_CRITICAL_LIMIT = 20;
/** As shipped, and the longest that any release keeps its counts. What is seen makes it shorter. */
export const LONGEST_WINDOW_MS = 20 * 60_000;
const SHORTEST_WINDOW_MS = 5_000;
/** The gateway counts from when a call arrives, which is later than when it was made. */
const LAG_MS = 5_000;
/** While it is thought used up, one more is tried this often, whoever waits: somebody may have raised the limit. */
export const PROBE_EVERY_MS = 5 * 60_000;
const PROBE_AT_MOST_EVERY_MS = 15_000;
/** A place in the queue that nobody came for is given up. */
const PLACE_KEPT_MS = 2 * 60_000;

/** Leave to make some critical calls. Must be ended. */
export interface Permit {
  /** Before each call. */
  spend(): void;
  /** The call got through. */
  passed(): void;
  /** The call was answered 429, and so was not counted there. Returns when to come again. */
  refused(retryAfterMs?: number): number;
  end(): void;
}

/** `turn`: it is not known yet what the gateway lets through, and somebody is finding out; ask again after it. */
export type Admission = { readonly permit: Permit } | { readonly until: number } | { readonly turn: Promise<void> };

export interface LimitState {
  /** `open`: more than the shipped limit got through. `limited`: a 429 was seen. */
  readonly kind: "unknown" | "open" | "limited";
  readonly limit: number;
  readonly windowMs: number;
}

/** How many critical calls one gateway lets through, as far as it is seen, shared by all tenants of this process. */
export interface Limits {
  /** A tenant that uses this gateway: as soon as there are two, none gets more than half. */
  join(tenantID: string): void;
  /** Room for `cost` calls now, or the time of a place in the queue, one for each `who`. */
  admit(tenantID: string, who: string, cost: number): Admission;
  state(): LimitState;
  /** The limit for all calls. */
  readonly all: GlobalLimit;
}

interface Use {
  readonly at: number;
  readonly tenantID: string;
  /** What the gateway said of when it forgets it; never later than the window says. */
  latest: number;
}

interface Place {
  readonly tenantID: string;
  readonly cost: number;
  /** When there is room. */
  at: number;
  /** When to come: then, or earlier to try. */
  comes: number;
}

/**
 * Until a 429 or more than the shipped limit is seen, one person after the other, each with room for all of their calls:
 * that the limit is on can be seen in no other way. From a 429 on the number that got through is the limit. A call that
 * gets through beyond it shows that the limit or the window is another than thought: then whoever waits is called
 * (`opened`), and it is found out again.
 */
export function makeLimits(clock: Clock, opened: (tenantIDs: readonly string[]) => void = () => undefined): Limits {
  const tenants = new Set<string>();
  let uses: Use[] = [];
  const held = new Set<{ readonly tenantID: string; left: number }>();
  const queue = new Map<string, Place>();
  let turns: (() => void)[] = [];
  let limit: number | undefined;
  /** As it was seen before, however long ago. */
  let lastLimit: number | undefined;
  let windowMs = LONGEST_WINDOW_MS;
  let beyond = false;
  let tryAt = 0;

  const goneAt = ({ at, latest }: Use): number => Math.min(at + windowMs + LAG_MS, latest);
  const counted = (now: number): Use[] => uses.filter((use) => goneAt(use) > now);
  const probeEveryMs = (): number => Math.max(PROBE_AT_MOST_EVERY_MS, Math.min(PROBE_EVERY_MS, windowMs / 4));

  function tidy(now: number): void {
    // Longer than the window is thought to be: it may turn out to be longer after all.
    uses = uses.filter(({ at, latest }) => Math.min(at + LONGEST_WINDOW_MS + LAG_MS, latest) > now);
    for (const [who, place] of queue) if (place.comes + PLACE_KEPT_MS < now) queue.delete(who);
  }

  /** When `cost` more calls fit, after all that were made, are allowed, or wait: for whom it is time, only after the former. */
  function fits(
    now: number,
    cost: number,
    most: number,
    counts: (tenantID: string) => boolean,
    first: boolean,
  ): number {
    const waiting = first ? [] : [...queue.values()];
    const ends = [
      ...counted(now)
        .filter(({ tenantID }) => counts(tenantID))
        .map(goneAt),
      ...[...held]
        .filter(({ tenantID }) => counts(tenantID))
        .flatMap(({ left }) => Array<number>(left).fill(now + windowMs + LAG_MS)),
      ...waiting
        .filter(({ tenantID }) => counts(tenantID))
        .flatMap((place) => Array<number>(place.cost).fill(place.at + windowMs + LAG_MS)),
    ].toSorted((a, b) => a - b);
    // A limit under one person's need would keep everybody out for ever: then it is tried all the same.
    const over = ends.length + cost - Math.max(most, cost);
    const last = over > 0 ? ends[over - 1] : undefined;
    return last === undefined ? now : Math.max(now, last);
  }

  function roomAt(now: number, tenantID: string, cost: number, first: boolean): { everybody: number; at: number } {
    const most = limit ?? SHIPPED_CRITICAL_LIMIT;
    const share = tenants.size > 1 ? Math.floor(most / 2) : most;
    const everybody = limit === undefined ? now : fits(now, cost, most, () => true, first);
    // Not known to be limited: more is tried, or at a gateway without limits a tenant beside others would wait for nothing.
    const own = limit === undefined ? now : fits(now, cost, share, (other) => other === tenantID, first);
    return { everybody, at: Math.max(everybody, own) };
  }

  /** Of those who wait, one comes for each try; the others when there is room. */
  function settle(who: string, place: Place, now: number): number {
    const taken = new Set([...queue].flatMap(([other, { comes }]) => (other === who ? [] : [comes])));
    const every = probeEveryMs();
    let slot = Math.max(tryAt, now + 1_000);
    while (slot < place.at && taken.has(slot)) slot += every;
    place.comes = limit === undefined ? place.at : Math.min(place.at, slot);
    queue.set(who, place);
    return place.comes;
  }

  function permit(tenantID: string, who: string, cost: number, place: Place | undefined): Permit {
    const mine = { tenantID, left: cost };
    held.add(mine);
    let spent: Use | undefined;
    return {
      spend() {
        mine.left = Math.max(0, mine.left - 1);
        spent = { at: clock.now(), tenantID, latest: Number.POSITIVE_INFINITY };
        uses.push(spent);
      },
      passed() {
        const now = clock.now();
        tidy(now);
        const before = counted(now);
        if (limit !== undefined && before.length > limit) {
          const oldest = before[0]?.at ?? now;
          windowMs = Math.max(SHORTEST_WINDOW_MS, Math.min(windowMs, now - oldest));
          lastLimit = limit;
          limit = undefined;
          queue.clear();
          opened([...tenants]);
        }
        if (!beyond && counted(now).length > SHIPPED_CRITICAL_LIMIT) beyond = true;
      },
      refused(retryAfterMs) {
        const now = clock.now();
        uses = uses.filter((use) => use !== spent);
        tidy(now);
        const fewer = counted(now).length < (limit ?? lastLimit ?? 0);
        if (retryAfterMs !== undefined) {
          const said = fewer ? Math.max(windowMs, retryAfterMs) : Math.min(windowMs, retryAfterMs);
          windowMs = Math.min(LONGEST_WINDOW_MS, Math.max(SHORTEST_WINDOW_MS, said));
        } else if (fewer) {
          // It was taken for too short, or others behind the same address have their part.
          windowMs = Math.min(LONGEST_WINDOW_MS, windowMs * 2);
        }
        // What it says is at most what is left: by then all of these are forgotten.
        const latest = now + (retryAfterMs ?? Number.POSITIVE_INFINITY);
        for (const use of uses) use.latest = Math.min(use.latest, latest);
        const seen = counted(now).length;
        limit = Math.max(1, seen === 0 ? SHIPPED_CRITICAL_LIMIT : seen);
        if (seen > 0) lastLimit = limit;
        // Others behind the same address may have used it up, so that our own calls tell nothing of when it ends.
        if (seen === 0) {
          const ends = Math.min(latest, now + PROBE_EVERY_MS);
          for (let n = 0; n < limit; n += 1) uses.push({ at: now, tenantID: "", latest: ends });
        }
        beyond = false;
        tryAt = now + probeEveryMs();
        mine.left = 0;
        const at = place?.at ?? roomAt(now, tenantID, cost, false).at;
        return settle(who, { tenantID, cost, at: Math.max(at, now + 1_000), comes: 0 }, now);
      },
      end() {
        held.delete(mine);
        const waiting = turns;
        turns = [];
        for (const go of waiting) go();
      },
    };
  }

  return {
    join: (tenantID) => void tenants.add(tenantID),
    admit(tenantID, who, cost) {
      const now = clock.now();
      tidy(now);
      const place = queue.get(who);
      if (place !== undefined && place.comes > now) return { until: place.comes };
      if (beyond) return { permit: permit(tenantID, who, cost, undefined) };
      if (limit === undefined && held.size > 0) {
        return { turn: new Promise<void>((resolve) => turns.push(resolve)) };
      }
      queue.delete(who);
      const isTime = place !== undefined && place.at <= now;
      const { everybody, at } = roomAt(now, tenantID, cost, isTime);
      if (at <= now) return { permit: permit(tenantID, who, cost, undefined) };
      const kept = place !== undefined && !isTime ? Math.min(place.at, at) : at;
      const mine = { tenantID, cost, at: kept, comes: kept };
      if (limit !== undefined && everybody > now && tryAt <= now) {
        tryAt = now + probeEveryMs();
        return { permit: permit(tenantID, who, cost, mine) };
      }
      return { until: settle(who, mine, now) };
    },
    state: () => ({
      kind: beyond ? "open" : limit === undefined ? "unknown" : "limited",
      limit: limit ?? SHIPPED_CRITICAL_LIMIT,
      windowMs,
    }),
    all: makeGlobalLimit(clock, () => tenants.size),
  };
}

/** One for each gateway (scheme, host, port) of the process. */
export function makeLimitsByOrigin(
  clock: Clock,
  opened?: (tenantIDs: readonly string[]) => void,
): (url: string) => Limits {
  const byOrigin = new Map<string, Limits>();
  return (url) => {
    const origin = originOf(url);
    const known = byOrigin.get(origin) ?? makeLimits(clock, opened);
    byOrigin.set(origin, known);
    return known;
  };
}
