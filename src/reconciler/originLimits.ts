/**
 * The per-origin concurrency limit: how many pieces of work of this process call one upstream at once. It adapts, so that
 * a slow upstream works at its own pace: a time-out halves it, work that is done quickly makes room for one more, and work
 * that is slow but done leaves it. In memory, one for each process.
 */
import type { Clock } from "../lib/clock.ts";

/** The most that one origin ever sees at once. */
export const MOST_IN_FLIGHT = 16;
/** Work that is done within this has not waited for others at its upstream. */
const QUICK_MS = 5_000;
/** Whoever waits says so this often: its lease must outlive the wait. */
const WAITING_EVERY_MS = 10_000;
/** An origin, or a tenant at it, that nothing was seen of for so long begins again. */
const FORGET_MS = 10 * 60_000;

export type Outcome = "done" | "overloaded" | "neither";

export interface Use<T> {
  /** Scheme, host and port; undefined: nobody outside is called. */
  readonly origin: string | undefined;
  readonly tenantID: string;
  /** Called now and then while there is no room. A rejection gives the place up. */
  readonly whileWaiting: () => Promise<void>;
  readonly act: () => Promise<T>;
  /** What an error of `act` says of the origin: only that it is too much makes the limit smaller. */
  readonly judge: (error: unknown) => Outcome;
}

export interface OriginLimitState {
  readonly origin: string;
  readonly limit: number;
  readonly inFlight: number;
  readonly waiting: number;
}

export interface OriginLimits {
  /** Runs `act` as soon as there is room; fair among tenants. The signal ends the wait, not the work. */
  run<T>(use: Use<T>, signal: AbortSignal): Promise<T>;
  /** Of each origin that is known. */
  snapshot(): readonly OriginLimitState[];
  /** Of all origins together; `lowest` is the limit of the slowest. */
  totals(): { readonly lowest: number; readonly inFlight: number; readonly waiting: number };
  /** How many wait, at all origins. */
  waiting(): number;
  /** Origins where as many wait as can work: one more would only wait. */
  full(): ReadonlySet<string>;
}

interface Share {
  /** A tenant's own: what times out for it alone makes nobody else slower. */
  limit: number;
  inFlight: number;
  readonly queue: (() => void)[];
  servedAt: number;
  seenAt: number;
}

interface Origin {
  limit: number;
  inFlight: number;
  readonly shares: Map<string, Share>;
  /** Tenants whose work timed out since it was last quick: of one alone, it may be its own realm. */
  readonly slow: Set<string>;
}

export interface OriginLimitDeps {
  readonly clock: Clock;
  /** Default 5 s: half of a call's deadline. */
  readonly quickMs?: number;
  /** Somebody waits who did not: whoever counts its workers has one more. */
  readonly waits?: () => void;
  /** The limit at an origin became smaller. */
  readonly shrunk?: (standing: OriginLimitState) => void;
}

export function makeOriginLimits({ clock, waits, shrunk, quickMs = QUICK_MS }: OriginLimitDeps): OriginLimits {
  const origins = new Map<string, Origin>();
  let turn = 0;
  let tidyAt = 0;

  function shareOf(name: string, tenantID: string): { readonly origin: Origin; readonly share: Share } {
    tidy();
    const origin = origins.get(name) ?? { limit: MOST_IN_FLIGHT, inFlight: 0, shares: new Map(), slow: new Set() };
    origins.set(name, origin);
    const share = origin.shares.get(tenantID) ?? {
      limit: MOST_IN_FLIGHT,
      inFlight: 0,
      queue: [],
      servedAt: 0,
      seenAt: 0,
    };
    origin.shares.set(tenantID, share);
    share.seenAt = clock.now();
    return { origin, share };
  }

  function tidy(): void {
    if (clock.now() < tidyAt) return;
    tidyAt = clock.now() + FORGET_MS / 10;
    const before = clock.now() - FORGET_MS;
    for (const [name, origin] of origins) {
      for (const [tenantID, { inFlight, queue, seenAt }] of origin.shares) {
        if (inFlight > 0 || queue.length > 0 || seenAt >= before) continue;
        origin.shares.delete(tenantID);
        origin.slow.delete(tenantID);
      }
      if (origin.shares.size === 0) origins.delete(name);
    }
  }

  /** No tenant has more than half while there are others; at a limit of one they take turns. */
  function capOf({ limit, shares }: Origin, share: Share): number {
    const half = shares.size > 1 ? Math.max(1, Math.floor(limit / 2)) : limit;
    return Math.floor(Math.min(half, share.limit));
  }

  /** Gives what is free to those who wait: the tenant with the least in flight, of these the one served longest ago. */
  function serve(origin: Origin): void {
    while (origin.inFlight < Math.floor(origin.limit)) {
      const [next] = [...origin.shares.values()]
        .filter((share) => share.queue.length > 0 && share.inFlight < capOf(origin, share))
        .toSorted((a, b) => a.inFlight - b.inFlight || a.servedAt - b.servedAt);
      const begin = next?.queue.shift();
      if (next === undefined || begin === undefined) return;
      origin.inFlight += 1;
      next.inFlight += 1;
      turn += 1;
      next.servedAt = turn;
      begin();
    }
  }

  /** Resolves once the place is taken, which must be given back, with what was still being said of the wait. */
  async function place(
    origin: Origin,
    share: Share,
    whileWaiting: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<{ readonly said: Promise<void> }> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let begun = false;
    const begin = (): void => {
      begun = true;
      resolve();
    };
    share.queue.push(begin);
    serve(origin);
    let said = Promise.resolve();
    if (begun) return { said };
    const leave = (reason: unknown): void => {
      const at = share.queue.indexOf(begin);
      if (at >= 0) share.queue.splice(at, 1);
      reject(reason instanceof Error ? reason : new Error("the wait for an upstream was ended", { cause: reason }));
    };
    const ended = (): void => leave(signal.reason);
    signal.addEventListener("abort", ended, { once: true });
    const ticking = setInterval(() => {
      said = said.then(whileWaiting);
      said.catch(leave);
    }, WAITING_EVERY_MS);
    if (signal.aborted) ended();
    else waits?.();
    try {
      await promise;
      return { said };
    } finally {
      clearInterval(ticking);
      signal.removeEventListener("abort", ended);
    }
  }

  function learn(name: string, tenantID: string, outcome: Outcome, tookMs: number): void {
    const origin = origins.get(name);
    const share = origin?.shares.get(tenantID);
    if (origin === undefined || share === undefined || outcome === "neither") return;
    if (outcome === "overloaded") {
      share.limit = Math.max(1, share.limit / 2);
      origin.slow.add(tenantID);
      if (origin.slow.size > 1) origin.limit = Math.max(1, origin.limit / 2);
      shrunk?.(factsOf(name, origin));
      return;
    }
    if (tookMs > quickMs) return;
    origin.slow.delete(tenantID);
    share.limit = grown(share.limit);
    origin.limit = grown(origin.limit);
  }

  return {
    async run({ origin: name, tenantID, whileWaiting, act, judge }, signal) {
      if (name === undefined) return act();
      const { origin, share } = shareOf(name, tenantID);
      const { said } = await place(origin, share, whileWaiting, signal);
      let begunAt = clock.now();
      try {
        await said;
        begunAt = clock.now();
        const result = await act();
        learn(name, tenantID, "done", clock.now() - begunAt);
        return result;
      } catch (error) {
        learn(name, tenantID, judge(error), clock.now() - begunAt);
        throw error;
      } finally {
        origin.inFlight -= 1;
        share.inFlight -= 1;
        share.seenAt = clock.now();
        serve(origin);
      }
    },
    snapshot: () => [...origins].map(([name, origin]) => factsOf(name, origin)),
    totals() {
      const all = [...origins].map(([name, origin]) => factsOf(name, origin));
      return {
        lowest: Math.min(MOST_IN_FLIGHT, ...all.map(({ limit }) => limit)),
        inFlight: all.reduce((sum, { inFlight }) => sum + inFlight, 0),
        waiting: all.reduce((sum, { waiting }) => sum + waiting, 0),
      };
    },
    waiting: () => [...origins.values()].reduce((sum, origin) => sum + waitingAt(origin), 0),
    full: () =>
      new Set([...origins].filter(([, origin]) => waitingAt(origin) >= Math.floor(origin.limit)).map(([name]) => name)),
  };
}

/** By one for as many quick ones as fit at once. */
function grown(limit: number): number {
  return Math.min(MOST_IN_FLIGHT, limit + 1 / limit);
}

function waitingAt({ shares }: Origin): number {
  return [...shares.values()].reduce((sum, { queue }) => sum + queue.length, 0);
}

/** A tenant that is alone there may be the smaller limit of the two. */
function factsOf(name: string, origin: Origin): OriginLimitState {
  const shares = [...origin.shares.values()];
  const widest = Math.max(1, ...shares.map(({ limit }) => limit));
  return {
    origin: name,
    limit: Math.floor(Math.min(origin.limit, shares.length > 1 ? origin.limit : widest)),
    inFlight: origin.inFlight,
    waiting: waitingAt(origin),
  };
}
