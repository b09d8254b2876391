import { describe, expect, it } from "vitest";
import { parseDuration } from "../../../src/api/duration.ts";

describe("parseDuration", () => {
  it.each([
    ["0s", 0],
    ["30s", 30_000],
    ["1h30m", 5_400_000],
    ["7d", 604_800_000],
    ["1d1h1m1s", 90_061_000],
  ])("reads %s as %d milliseconds", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "7", "d", "1.5h", "-1s", "1 h", "1w", "1000000s"])("refuses %j", (text) => {
    expect(() => parseDuration(text)).toThrow("not a duration");
  });

  it("is a hundred years at most: Kubernetes writes no date after the year 9999", () => {
    const end = new Date(Date.now() + parseDuration("999999d".repeat(4)));
    expect(end.toISOString()).toMatch(/^2\d{3}-/);
    expect(parseDuration("36525d")).toBe(36_525 * 86_400_000);
  });
});
