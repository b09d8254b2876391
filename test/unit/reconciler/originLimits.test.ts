import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import { systemClock } from "../../../src/lib/clock.ts";
import { isOverload, isSagaError, TransientError } from "../../../src/lib/errors.ts";
import {
  makeOriginLimits,
  MOST_IN_FLIGHT,
  type OriginLimits,
  type Outcome,
} from "../../../src/reconciler/originLimits.ts";

const ORIGIN = "https://keycloak.example";
const never = new AbortController().signal;
const judge = (error: unknown): Outcome => (isSagaError(error) && isOverload(error) ? "overloaded" : "neither");
const timedOut = () =>
  new TransientError({
    code: "UpstreamUnavailable",
    upstream: "keycloak",
    message: "keycloak did not answer within 10 s.",
    cause: new DOMException("late", "TimeoutError"),
  });

const noWord = (): Promise<void> => Promise.resolve();

/** Work that ends when it is told to. */
function begin(
  limits: OriginLimits,
  tenantID = "acme",
  more: { whileWaiting?: () => Promise<void>; signal?: AbortSignal } = {},
) {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let begun = false;
  const act = (): Promise<void> => {
    begun = true;
    return promise;
  };
  const { whileWaiting = noWord, signal = never } = more;
  const done = limits.run({ origin: ORIGIN, tenantID, whileWaiting, act, judge }, signal);
  done.catch(() => undefined);
  const settle = async (end: () => void): Promise<void> => {
    end();
    await done.catch(() => undefined);
    await Promise.resolve();
  };
  return {
    done,
    begun: () => begun,
    succeed: () => settle(resolve),
    fail: (error: unknown = timedOut()) => settle(() => reject(error as Error)),
  };
}

const turn = () => sleep(1);
const limitOf = (limits: OriginLimits): number | undefined => limits.snapshot()[0]?.limit;

afterEach(() => void vi.useRealTimers());

describe("the limit at an origin", () => {
  test("is 16 at most; time-outs halve it, to one at least, and quick work lets it grow again", async () => {
    const limits = makeOriginLimits({ clock: systemClock });
    const all = Array.from({ length: 20 }, () => begin(limits));
    await turn();
    expect(all.filter((each) => each.begun())).toHaveLength(MOST_IN_FLIGHT);
    const seen: (number | undefined)[] = [];
    for (const each of all.slice(0, 6)) {
      await each.fail();
      seen.push(limitOf(limits));
    }
    expect(seen).toEqual([8, 4, 2, 1, 1, 1]);
    for (const each of all.slice(6)) await each.succeed();
    expect(limitOf(limits)).toBeGreaterThan(3);
    for (let n = 0; n < 200; n += 1) await begin(limits).succeed();
    expect(limitOf(limits)).toBe(MOST_IN_FLIGHT);
  });

  test.each([
    ["a connection that is refused", new TransientError({ code: "X", upstream: "keycloak", message: "ECONNREFUSED" })],
    ["a 500", new TransientError({ code: "X", upstream: "keycloak", upstreamStatus: 500, message: "500" })],
    ["a 502", new TransientError({ code: "X", upstream: "keycloak", upstreamStatus: 502, message: "502" })],
    ["an error of our own", new Error("a bug")],
  ])("does not become smaller because of %s", async (_name, error) => {
    const limits = makeOriginLimits({ clock: systemClock });
    for (let n = 0; n < 20; n += 1) await begin(limits).fail(error);
    expect(limitOf(limits)).toBe(MOST_IN_FLIGHT);
  });

  test.each([429, 503, 504])("becomes smaller because of a %d", async (upstreamStatus) => {
    const limits = makeOriginLimits({ clock: systemClock });
    await begin(limits).fail(new TransientError({ code: "X", upstream: "newapi", upstreamStatus, message: "no" }));
    expect(limitOf(limits)).toBe(8);
  });

  test("gives no tenant more than half while there are others, and takes turns at a limit of one", async () => {
    const limits = makeOriginLimits({ clock: systemClock });
    await begin(limits, "b").succeed();
    const a = Array.from({ length: 20 }, () => begin(limits, "a"));
    await turn();
    expect(a.filter((each) => each.begun())).toHaveLength(MOST_IN_FLIGHT / 2);
    const b = begin(limits, "b");
    await turn();
    expect(b.begun()).toBe(true);
    await b.succeed();
    for (const each of a) await each.succeed();
  });

  test("at one, tenants take turns however many of one wait", async () => {
    const limits = makeOriginLimits({ clock: systemClock });
    for (let n = 0; n < 6; n += 1) {
      await begin(limits, "a").fail();
      await begin(limits, "b").fail();
    }
    expect(limitOf(limits)).toBe(1);
    const order: string[] = [];
    const queue = "a a a a a a b b b".split(" ").map((tenantID) => ({ tenantID, ...begin(limits, tenantID) }));
    // Slow, so that the limit stays.
    for (let n = 0; n < 9; n += 1) {
      await turn();
      const [running] = queue.filter(
        (each) => each.begun() && !order.includes(`${each.tenantID}${queue.indexOf(each)}`),
      );
      if (running === undefined) break;
      order.push(`${running.tenantID}${queue.indexOf(running)}`);
      await running.fail(new Error("done, slowly"));
    }
    expect(order.map(([tenantID]) => tenantID).join("")).toBe("abababaaa");
  });

  test("of one tenant whose own realm is slow makes no other tenant slower", async () => {
    const limits = makeOriginLimits({ clock: systemClock });
    await begin(limits, "b").succeed();
    for (let n = 0; n < 10; n += 1) await begin(limits, "a").fail();
    const a = Array.from({ length: 3 }, () => begin(limits, "a"));
    const b = Array.from({ length: 9 }, () => begin(limits, "b"));
    await turn();
    expect(a.filter((each) => each.begun())).toHaveLength(1);
    expect(b.filter((each) => each.begun())).toHaveLength(MOST_IN_FLIGHT / 2);
    for (const each of [...a, ...b]) await each.succeed();
  });

  test("keeps the lease of whoever waits, and none before the last word of it", async () => {
    vi.useFakeTimers();
    const limits = makeOriginLimits({ clock: { now: () => Date.now() } });
    const running = Array.from({ length: MOST_IN_FLIGHT }, () => begin(limits));
    const said = Promise.withResolvers<void>();
    let words = 0;
    const whileWaiting = (): Promise<void> => {
      words += 1;
      return words === 3 ? said.promise : Promise.resolve();
    };
    const waiting = begin(limits, "acme", { whileWaiting });
    expect(limits.waiting()).toBe(1);
    expect(limits.full()).toEqual(new Set());
    await vi.advanceTimersByTimeAsync(30_000);
    expect(words).toBe(3);
    await running[0]?.succeed();
    await vi.advanceTimersByTimeAsync(0);
    expect(waiting.begun()).toBe(false);
    said.resolve();
    await vi.advanceTimersByTimeAsync(0);
    expect(waiting.begun()).toBe(true);
  });

  test("gives the place of whoever is told to stop, or has lost the lease, to the next", async () => {
    vi.useFakeTimers();
    const limits = makeOriginLimits({ clock: { now: () => Date.now() } });
    const running = Array.from({ length: MOST_IN_FLIGHT }, () => begin(limits));
    const stop = new AbortController();
    const stopped = begin(limits, "acme", { signal: stop.signal });
    const lost = begin(limits, "acme", { whileWaiting: () => Promise.reject(new Error("the lease is lost")) });
    const next = begin(limits);
    stop.abort(new Error("shutting down"));
    await expect(stopped.done).rejects.toThrow("shutting down");
    await vi.advanceTimersByTimeAsync(10_000);
    await expect(lost.done).rejects.toThrow("the lease is lost");
    await running[0]?.succeed();
    await vi.advanceTimersByTimeAsync(0);
    expect([stopped.begun(), lost.begun(), next.begun()]).toEqual([false, false, true]);
    expect(limits.waiting()).toBe(0);
  });
});
