import { describe, expect, it } from "vitest";

import { type Figure, percentile, rowsOf, spread } from "../../../bench/figures.ts";
import { table } from "../../../bench/report.ts";

const rate = (ours: number, floor: number): Figure => ({
  what: "rate",
  unit: "1/s",
  ours,
  floor,
  goal: { of: "ratio", atLeast: 0.5 },
});

describe("figures of several runs", () => {
  it("show the median, the least and the most", () => {
    expect(spread([30, 10, 20])).toEqual({ median: 20, least: 10, most: 30 });
    expect(spread([10, 20])).toEqual({ median: 15, least: 10, most: 20 });
    expect(() => spread([])).toThrow("no values");
  });

  it("give percentiles between two upstreams in proportion", () => {
    expect(percentile([1, 2, 3, 4, 5], 0.5)).toBe(3);
    expect(percentile([0, 100], 0.99)).toBe(99);
  });

  it("are one row for each thing measured, in the order of the first run", () => {
    const other: Figure = { what: "memory", unit: "MiB", ours: 90 };
    const rows = rowsOf("admission", [
      [rate(50, 100), other],
      [rate(60, 100), other],
    ]);
    expect(rows.map(({ what }) => what)).toEqual(["rate", "memory"]);
    expect(rows[0]?.runs).toEqual([
      { ours: 50, floor: 100 },
      { ours: 60, floor: 100 },
    ]);
  });

  it("compare run by run: a slow machine is slow for both", () => {
    const [row] = rowsOf("admission", [[rate(80, 100), rate(8, 10), rate(40, 50)]]);
    expect(row?.ratio).toEqual({ median: 0.8, least: 0.8, most: 0.8 });
    expect(row?.met).toBe(true);
  });

  it.each([
    ["the quotient", { of: "ratio", atMost: 1.5 }, 15, 10, true],
    ["the quotient, missed", { of: "ratio", atMost: 1.5 }, 16, 10, false],
    ["the difference", { of: "added", atMost: 5 }, 15, 10, true],
    ["the difference, missed", { of: "added", atMost: 5 }, 16, 10, false],
    ["ours", { of: "ours", atMost: 15 }, 15, undefined, true],
    ["ours, missed", { of: "ours", atMost: 14 }, 15, undefined, false],
    ["the floor", { of: "floor", atMost: 10 }, 15, 10, true],
    ["the floor, missed", { of: "floor", atMost: 9 }, 15, 10, false],
    ["a floor that nobody measured", { of: "ratio", atMost: 9 }, 15, undefined, false],
  ] as const)("judge %s", (_name, goal, ours, floor, met) => {
    const [row] = rowsOf("part", [[{ what: "it", unit: "ms", ours, floor, goal }]]);
    expect(row?.met).toBe(met);
  });

  it("have no verdict without a goal", () => {
    const [row] = rowsOf("part", [[{ what: "it", unit: "ms", ours: 1 }]]);
    expect(row?.met).toBeUndefined();
    expect(row?.floor).toBeUndefined();
  });

  it("become a table with the goal and how far the runs lie apart", async () => {
    const rows = rowsOf("part", [
      [rate(40, 100), { what: "idle", unit: "MiB", ours: 100, floor: 80, goal: { of: "added", atMost: 30 } }],
      [rate(44, 100), { what: "idle", unit: "MiB", ours: 100, floor: 80, goal: { of: "added", atMost: 30 } }],
    ]);
    const cells = (await table(rows)).split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
    expect(cells[2]).toEqual([
      "",
      "rate",
      "42.0/s (40.0 to 44.0)",
      "100/s",
      "0.42 (0.40 to 0.44)",
      "ratio >= 0.5",
      "**missed**",
      "",
    ]);
    expect(cells[3]).toEqual(["", "idle", "100 MiB", "80.0 MiB", "1.25", "floor + 30 MiB", "met", ""]);
  });
});
