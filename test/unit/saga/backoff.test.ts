import * as fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs } from "../../../src/saga/backoff.ts";

const still = () => 0;

test("pauses 1, 2, 4, 8, 16 seconds, then longer ones, and never more than five minutes", () => {
  expect([1, 2, 3, 4, 5, 6].map((n) => backoffMs(n, undefined, still) / 1000)).toEqual([1, 2, 4, 8, 16, 32]);
  expect(backoffMs(1000, undefined, still)).toBe(5 * 60_000);
});

test("adds at most a quarter, so that those who failed together do not come back together", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (n, random) => {
        const base = backoffMs(n, undefined, still);
        const pause = backoffMs(n, undefined, () => random);
        expect(pause).toBeGreaterThanOrEqual(base);
        expect(pause).toBeLessThanOrEqual(base * 1.25);
      },
    ),
  );
});

test("never undercuts what the neighbour asked for", () => {
  expect(backoffMs(1, 60_000, still)).toBe(60_000);
  expect(backoffMs(10, 1, still)).toBe(5 * 60_000);
});
