import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeNotifier } from "../../../src/lib/notifier.ts";

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

/** A wait that has begun: when it ended, and whether somebody had notified. */
function begin(
  notifier: ReturnType<typeof makeNotifier>,
  ms: number,
  restMs = 0,
  signal = new AbortController().signal,
) {
  const seen: { ended?: number; notified?: boolean } = {};
  void notifier.wait(ms, signal, restMs).then((notified) => Object.assign(seen, { ended: Date.now(), notified }));
  return seen;
}

describe("a notifier", () => {
  test("ends a wait at once, and lets one that nobody ends last as long as it was told", async () => {
    const notifier = makeNotifier();
    const first = begin(notifier, 1_000);
    await vi.advanceTimersByTimeAsync(300);
    notifier.notify();
    await vi.advanceTimersByTimeAsync(0);
    expect(first).toEqual({ ended: 300, notified: true });
    const second = begin(notifier, 1_000);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(second).toEqual({ ended: 1_300, notified: false });
  });

  test("keeps what was given while nobody waited, once", async () => {
    const notifier = makeNotifier();
    notifier.notify();
    notifier.notify();
    const first = begin(notifier, 1_000);
    await vi.advanceTimersByTimeAsync(0);
    expect(first).toEqual({ ended: 0, notified: true });
    const second = begin(notifier, 1_000);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(second).toEqual({ ended: 1_000, notified: false });
  });

  test("rests first, so that many become one", async () => {
    const notifier = makeNotifier();
    const wait = begin(notifier, 1_000, 200);
    for (let n = 0; n < 10; n += 1) {
      notifier.notify();
      await vi.advanceTimersByTimeAsync(15);
    }
    expect(wait).toEqual({});
    await vi.advanceTimersByTimeAsync(50);
    expect(wait).toEqual({ ended: 200, notified: true });
  });

  test("ends with the signal, also while it rests", async () => {
    const stop = new AbortController();
    const wait = begin(makeNotifier(), 1_000, 500, stop.signal);
    await vi.advanceTimersByTimeAsync(100);
    stop.abort();
    await vi.advanceTimersByTimeAsync(0);
    expect(wait).toEqual({ ended: 100, notified: false });
    expect(vi.getTimerCount()).toBe(0);
  });
});
