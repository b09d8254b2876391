import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { makeRetries } from "../../../src/heartbeat/retries.ts";
import { makeLog } from "../../../src/lib/log.ts";

const log = makeLog({ level: "silent", role: "reconciler" });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("jobs that failed", () => {
  it("are tried at once when what failed may succeed, each once", async () => {
    const retries = makeRetries({ concurrency: 2, random: () => 0, log });
    let up = false;
    const tries: string[] = [];
    for (const key of ["one", "two", "three"]) {
      retries.run(key, async () => {
        tries.push(key);
        if (!up) throw new Error("Postgres is away");
      });
    }
    // Long enough for pauses that are far longer than a second.
    await vi.advanceTimersByTimeAsync(40_000);
    tries.length = 0;
    up = true;
    retries.hurry();
    await vi.advanceTimersByTimeAsync(0);
    expect(tries.toSorted()).toEqual(["one", "three", "two"]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(tries).toHaveLength(3);
    await retries.stop();
  });

  it("give way to a newer one of their key", async () => {
    const retries = makeRetries({ concurrency: 1, random: () => 0, log });
    const done: string[] = [];
    retries.run("key", () => Promise.reject(new Error("not yet")));
    await vi.advanceTimersByTimeAsync(10);
    const busy = Promise.withResolvers<void>();
    retries.run("other", () => busy.promise);
    retries.run("key", async () => void done.push("newer"));
    retries.hurry();
    busy.resolve();
    await vi.advanceTimersByTimeAsync(10);
    expect(done).toEqual(["newer"]);
    await retries.stop();
  });
});
