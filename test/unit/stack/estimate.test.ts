import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeEstimate, type PartProgress, sayLeft, secondsLeft } from "../../../stack/obtain/estimate.ts";
import { runTasks } from "../../../stack/progress.ts";

const part = (expectedSeconds: number, given: Partial<PartProgress> = {}): PartProgress => ({
  expectedSeconds,
  lane: "go",
  spentSeconds: undefined,
  done: false,
  ...given,
});

describe("what is left", () => {
  test.each([
    ["nothing", [], 0],
    ["parts of one lane come one after the other", [part(300), part(100)], 400],
    ["what was spent counts", [part(300, { spentSeconds: 120 }), part(100)], 280],
    ["one that takes longer than it should is nearly there", [part(300, { spentSeconds: 400 })], 0],
    ["lanes are side by side", [part(300), part(500, { lane: "keycloak" })], 500],
    [
      "a slow machine is slow with the rest too",
      [part(100, { spentSeconds: 300, done: true }), part(200, { spentSeconds: 60 }), part(50)],
      690,
    ],
    [
      "what was in Go's cache is quick, and the rest not at once",
      [part(100, { spentSeconds: 0, done: true }), part(50)],
      10,
    ],
  ])("%s", (_what, parts, expected) => {
    expect(secondsLeft(parts)).toBeCloseTo(expected);
  });

  test.each([
    [0, "a moment left"],
    [41, "about 50 s left"],
    [89, "about 90 s left"],
    [540, "about 9 min left"],
  ])("%d s: %s", (seconds, text) => {
    expect(sayLeft(seconds)).toBe(text);
  });
});

describe("an estimate", () => {
  let cache: string;
  beforeEach(() => {
    cache = mkdtempSync(join(tmpdir(), "stack-estimate-"));
    vi.stubEnv("XDG_CACHE_HOME", cache);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(cache, { recursive: true });
  });
  const missing = [
    { name: "kubernetes", lane: "go" },
    { name: "etcd", lane: "go" },
  ];

  test("counts parts and time, and remembers what each took", () => {
    let now = 0;
    const estimate = makeEstimate(missing, 6, () => now);
    expect(estimate.text()).toBe("6 of 8, about 5 min left");
    estimate.begin("kubernetes");
    now += 600_000;
    estimate.done("kubernetes");
    estimate.begin("etcd");
    expect(estimate.text()).toBe("7 of 8, about 50 s left");
    estimate.done("etcd");
    expect(estimate.text()).toBe("8 of 8, a moment left");
    expect(makeEstimate(missing, 6, () => now).text()).toBe("6 of 8, about 10 min left");
  });

  test("is in each line of a log, and comes before the first", async () => {
    const lines: string[] = [];
    const task = { title: "etcd", run: () => Promise.resolve("built") };
    await runTasks(
      [task],
      (line) => void lines.push(line),
      () => "7 of 8, about 50 s left",
    );
    expect(lines).toEqual([
      "7 of 8, about 50 s left",
      expect.stringMatching(/^etcd: built \(\d+\.\d s\): 7 of 8, about 50 s left$/),
    ]);
  });
});
