import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { makeSharedTicker } from "../../../src/kube/sharedTicker.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("rounds", () => {
  it("look at each member with one timer, and at none that has left", () => {
    const seen: string[] = [];
    const rounds = makeSharedTicker<string>((member) => seen.push(member), 1_000);
    rounds.join("a");
    rounds.join("b");
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(1_000);
    rounds.leave("a");
    vi.advanceTimersByTime(1_000);
    expect(seen).toEqual(["a", "b", "b"]);
  });

  it("rest while nobody is there", () => {
    const seen: string[] = [];
    const rounds = makeSharedTicker<string>((member) => seen.push(member), 1_000);
    expect(vi.getTimerCount()).toBe(0);
    rounds.join("a");
    rounds.leave("a");
    expect(vi.getTimerCount()).toBe(0);
    rounds.join("b");
    vi.advanceTimersByTime(1_000);
    expect(seen).toEqual(["b"]);
  });
});
