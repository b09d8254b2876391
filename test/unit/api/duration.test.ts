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

  it("never leaves the whole numbers that a number holds exactly", () => {
    expect(Number.isSafeInteger(parseDuration("999999d".repeat(4)))).toBe(true);
  });
});
