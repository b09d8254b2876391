import { describe, expect, it } from "vitest";

import { agreement } from "../../../bench/agreement.ts";
import { type Figure, rowsOf } from "../../../bench/figures.ts";

const runs = (what: string, pairs: readonly (readonly [ours: number, floor?: number])[], more: Partial<Figure> = {}) =>
  rowsOf(
    "part",
    pairs.map(([ours, floor]) => [{ what, unit: "ms", ours, floor, ...more }]),
  );

describe("two whole runs", () => {
  it("agree where their spreads have something in common", () => {
    const before = runs("it", [[10], [12], [14]]);
    expect(agreement(before, runs("it", [[14], [16], [18]]))).toEqual({ compared: 1, apart: [], verdicts: [] });
    expect(agreement(before, runs("it", [[15], [16], [18]])).apart).toEqual([
      {
        what: "it",
        unit: "ms",
        before: { median: 12, least: 10, most: 14 },
        now: { median: 16, least: 15, most: 18 },
      },
    ]);
  });

  it("are compared by the ratio where there is a floor: the machine may be another", () => {
    const before = runs("it", [
      [10, 5],
      [12, 5],
    ]);
    const slower = runs("it", [
      [40, 20],
      [44, 20],
    ]);
    expect(agreement(before, slower).apart).toEqual([]);
  });

  it("are compared by what the goal is set on", () => {
    const goal = { goal: { of: "added", atMost: 5 } } as const;
    const before = runs(
      "it",
      [
        [14, 10],
        [13, 10],
      ],
      goal,
    );
    const now = runs(
      "it",
      [
        [28, 20],
        [29, 20],
      ],
      goal,
    );
    expect(agreement(before, now)).toMatchObject({
      apart: [{ unit: "ms", before: { least: 3, most: 4 }, now: { least: 8, most: 9 } }],
      verdicts: ["it"],
    });
  });

  it("say nothing of a row that one of them lacks, or measured once", () => {
    expect(agreement(runs("a", [[1], [2]]), runs("b", [[8], [9]])).compared).toBe(0);
    expect(agreement(runs("a", [[1]]), runs("a", [[8], [9]])).compared).toBe(0);
  });
});
