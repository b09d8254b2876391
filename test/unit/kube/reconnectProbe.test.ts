import { describe, expect, it, vi, beforeEach, afterEach } from "vitest";

import { makeReconnectProbe } from "../../../src/kube/reconnectProbe.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const never = new AbortController().signal;

/** Whether it has ended by now. */
function follow(work: Promise<void>): { readonly over: () => boolean } {
  let over = false;
  void work.then(() => (over = true));
  return { over: () => over };
}

describe("watches that nobody answers", () => {
  it("send one probe every second and let the others wait", async () => {
    const reconnectProbe = makeReconnectProbe({ random: () => 0 });
    const probe = follow(reconnectProbe.rest(30_000, never));
    const other = follow(reconnectProbe.rest(30_000, never));
    await vi.advanceTimersByTimeAsync(1_000);
    expect([probe.over(), other.over()]).toEqual([true, false]);
    const again = follow(reconnectProbe.rest(30_000, never));
    await vi.advanceTimersByTimeAsync(1_000);
    expect([again.over(), other.over()]).toEqual([true, false]);
  });

  it("all continue when one is answered, and it is said once", async () => {
    const recovered = vi.fn<() => void>();
    const reconnectProbe = makeReconnectProbe({ random: () => 1, recovered });
    const all = [1, 2, 3].map(() => follow(reconnectProbe.rest(30_000, never)));
    reconnectProbe.answered();
    await vi.advanceTimersByTimeAsync(10);
    expect(all.map(({ over }) => over())).toEqual([true, true, true]);
    reconnectProbe.answered();
    expect(recovered).toHaveBeenCalledTimes(1);
  });

  it("are spread over a second at most when they are many", async () => {
    const reconnectProbe = makeReconnectProbe({ random: () => 1 });
    const all = Array.from({ length: 2_000 }, () => follow(reconnectProbe.rest(30_000, never)));
    reconnectProbe.answered();
    await vi.advanceTimersByTimeAsync(900);
    expect(all.filter(({ over }) => over())).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(100);
    expect(all.filter(({ over }) => over())).toHaveLength(2_000);
  });

  it("end their rest when they are stopped, and another one is the probe", async () => {
    const reconnectProbe = makeReconnectProbe({ random: () => 0 });
    const stopping = new AbortController();
    const stopped = follow(reconnectProbe.rest(30_000, stopping.signal));
    stopping.abort();
    await vi.advanceTimersByTimeAsync(0);
    expect(stopped.over()).toBe(true);
    const next = follow(reconnectProbe.rest(30_000, never));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(next.over()).toBe(true);
  });
});
