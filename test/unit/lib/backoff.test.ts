import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  exactPauseMs,
  proportionalPauseMs,
  RETRIES,
  type RetryPolicy,
  retryPauseMs,
  stepPauseMs,
} from "../../../src/lib/backoff.ts";

const still = () => 0;

describe("the pause of a step", () => {
  test("is 1, 2, 4, 8, 16 seconds, then longer, and never more than five minutes", () => {
    expect([1, 2, 3, 4, 5, 6].map((n) => stepPauseMs(n, undefined, still) / 1000)).toEqual([1, 2, 4, 8, 16, 32]);
    expect(stepPauseMs(1000, undefined, still)).toBe(5 * 60_000);
  });

  test("never undercuts what the upstream asked for", () => {
    expect(stepPauseMs(1, 60_000, still)).toBe(60_000);
    expect(stepPauseMs(10, 1, still)).toBe(5 * 60_000);
  });
});

describe("every policy", () => {
  const policies: [string, RetryPolicy][] = Object.entries(RETRIES);

  test.each(policies)("%s grows from its first pause to its longest, within its spread", (_name, policy) => {
    expect(exactPauseMs(policy, 1)).toBe(policy.firstMs);
    expect(exactPauseMs(policy, 1000)).toBeLessThanOrEqual(policy.longestMs);
    expect(exactPauseMs(policy, 21) * 2).toBeGreaterThan(policy.longestMs);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (n, random) => {
          const pause = retryPauseMs(policy, n, () => random);
          expect(pause).toBeGreaterThanOrEqual(exactPauseMs(policy, n) * policy.spread[0]);
          expect(pause).toBeLessThanOrEqual(exactPauseMs(policy, n) * policy.spread[1]);
        },
      ),
    );
  });

  test("is a row of docs/configuration.md, and there is no other", () => {
    const page = readFileSync(join(import.meta.dirname, "../../../docs/configuration.md"), "utf8");
    const [, table = ""] = /<!-- retries: begin[^\n]*-->\n([\s\S]*?)<!-- retries: end -->/.exec(page) ?? [];
    const rows = table
      .split("\n")
      .filter((line) => line.startsWith("|"))
      .slice(2)
      .map((line) =>
        line
          .split("|")
          .slice(1, -1)
          .map((cell) => cell.trim()),
      );
    expect(rows).toEqual(
      policies.map(([, { what, firstMs, longestMs }]) => [what, inWords(firstMs), inWords(longestMs)]),
    );
  });
});

test("what lasts is looked at again after a quarter of the time that it has lasted", () => {
  const pause = (sinceMs: number) => proportionalPauseMs(RETRIES.secretObstacle, sinceMs, still);
  expect([0, 12_000, 60_000, 3_600_000].map(pause)).toEqual([3_000, 3_000, 15_000, 120_000]);
});

function inWords(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  return ms < 60_000 ? `${ms / 1_000} s` : `${ms / 60_000} min`;
}
