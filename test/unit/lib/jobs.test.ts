import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { type Jobs, makeJobs } from "../../../src/lib/jobs.ts";
import { makeLog } from "../../../src/lib/log.ts";

const clock = { now: () => Date.now() };
const log = makeLog({ level: "silent", role: "reconciler" });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("jobs that failed", () => {
  it("are tried at once when what failed may succeed, each once", async () => {
    const jobs = makeJobs({ concurrency: 2, clock, random: () => 0, log });
    let up = false;
    const tries: string[] = [];
    for (const key of ["one", "two", "three"]) {
      jobs.run({ queue: "acme", key }, async () => {
        tries.push(key);
        if (!up) throw new Error("Postgres is away");
      });
    }
    // Long enough for pauses that are far longer than a second.
    await vi.advanceTimersByTimeAsync(40_000);
    tries.length = 0;
    up = true;
    jobs.hurry();
    await vi.advanceTimersByTimeAsync(0);
    expect(tries.toSorted()).toEqual(["one", "three", "two"]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(tries).toHaveLength(3);
    await jobs.stop();
  });

  it("give way to a newer one of their key", async () => {
    const jobs = makeJobs({ concurrency: 1, clock, random: () => 0, log });
    const done: string[] = [];
    jobs.run({ queue: "acme", key: "key" }, () => Promise.reject(new Error("not yet")));
    await vi.advanceTimersByTimeAsync(10);
    const busy = Promise.withResolvers<void>();
    jobs.run({ queue: "acme", key: "other" }, () => busy.promise);
    jobs.run({ queue: "acme", key: "key" }, async () => void done.push("newer"));
    jobs.hurry();
    busy.resolve();
    await vi.advanceTimersByTimeAsync(10);
    expect(done).toEqual(["newer"]);
    await jobs.stop();
  });
});

/** Work of a queue that ends when it is told to. */
function held(jobs: Jobs, queue: string, count: number) {
  const started: string[] = [];
  const doors: (() => void)[] = [];
  for (let n = 0; n < count; n += 1) {
    jobs.run({ queue, key: String(n) }, async () => {
      started.push(`${queue}/${n}`);
      await new Promise<void>((resolve) => void doors.push(resolve));
    });
  }
  return { started, release: () => doors.splice(0).forEach((open) => open()) };
}

describe("the queues", () => {
  it("leave room: one with thousands of jobs that hang has half of what runs at most, another starts at once", async () => {
    const jobs = makeJobs({ concurrency: 8, clock, random: () => 0, log });
    const crowd = held(jobs, "crowd", 3_000);
    expect(crowd.started).toHaveLength(4);
    const second = held(jobs, "second crowd", 3_000);
    expect(second.started).toHaveLength(2);
    const [third, fourth] = [held(jobs, "third", 1), held(jobs, "fourth", 1)];
    expect([...third.started, ...fourth.started]).toEqual(["third/0", "fourth/0"]);
    void jobs.stop();
    for (const each of [crowd, second, third, fourth]) each.release();
  });

  it("take turns: whoever comes after a crowd is not behind it", async () => {
    const jobs = makeJobs({ concurrency: 1, clock, random: () => 0, log });
    const order: string[] = [];
    for (let n = 0; n < 1_000; n += 1) {
      jobs.run({ queue: "crowd", key: String(n) }, async () => void order.push("crowd"));
    }
    for (const queue of ["ada", "bob"]) {
      for (const key of ["1", "2"]) jobs.run({ queue, key }, async () => void order.push(queue));
    }
    await vi.advanceTimersByTimeAsync(10);
    expect(order).toHaveLength(1_004);
    expect(order.lastIndexOf("ada")).toBeLessThan(8);
    expect(order.lastIndexOf("bob")).toBeLessThan(8);
    await jobs.stop();
  });

  it("are settled one by one: nobody waits for what another queue has to do", async () => {
    const jobs = makeJobs({ concurrency: 8, clock, random: () => 0, log });
    const crowd = held(jobs, "crowd", 100);
    const own = held(jobs, "acme", 2);
    let isSettled = false;
    void jobs.settled("acme").then(() => (isSettled = true));
    await vi.advanceTimersByTimeAsync(1);
    expect(isSettled).toBe(false);
    own.release();
    await vi.advanceTimersByTimeAsync(1);
    expect(isSettled).toBe(true);
    expect(crowd.started.length).toBeLessThan(100);
    void jobs.stop();
    crowd.release();
  });

  it("move on with each job, and stand still only when none ends", async () => {
    const jobs = makeJobs({ concurrency: 2, clock, random: () => 0, log });
    const rest = clock.now();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(jobs.lastProgress()).toBe(rest + 600_000);
    const hanging = held(jobs, "acme", 1);
    const began = clock.now();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(jobs.lastProgress()).toBe(began);
    jobs.run({ queue: "other", key: "one" }, () => Promise.resolve());
    await vi.advanceTimersByTimeAsync(1);
    expect(jobs.lastProgress()).toBeGreaterThanOrEqual(began + 60_000);
    void jobs.stop();
    hanging.release();
  });
});
