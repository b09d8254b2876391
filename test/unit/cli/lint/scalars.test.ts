/** What go-yaml v3 makes of words without quotes; each line was seen with `kubectl kustomize`, as Flux builds a folder. */
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { SCALARS } from "../../../../src/cli/lint/scalars.ts";

describe("a word without quotes", () => {
  it.each<[string, unknown]>([
    ["true", true],
    ["False", false],
    ["~", null],
    ["Null", null],
    ["", null],
    ["yes", "yes"],
    ["No", "No"],
    ["on", "on"],
    ["7", 7],
    ["-7", -7],
    ["+7", 7],
    ["1_000", 1000],
    ["0777", 511],
    ["0o17", 15],
    ["0x1F", 31],
    ["0b11", 3],
    ["08", 8],
    ["1.5", 1.5],
    ["5.", 5],
    [".5", 0.5],
    ["1e3", 1000],
    ["1E-3", 0.001],
    [".inf", Infinity],
    ["12:30", "12:30"],
    ["1.2.3", "1.2.3"],
    ["2001-01-01", "2001-01-01T00:00:00Z"],
    ["2001-13-01", "2001-13-01"],
    ["0x", "0x"],
    ["7d", "7d"],
    ["-", "-"],
    ["1e", "1e"],
    [".2_5", 0.25],
    ["1e999", "1e999"],
    ["-0", 0],
    ["_1", "_1"],
    ["ada@example.com", "ada@example.com"],
  ])("%s means %j", (text, value) => {
    const read: unknown = parse(text === "-" ? "a: '-'" : `a: ${text}`, { schema: "failsafe", customTags: SCALARS });
    expect(read).toEqual({ a: value });
  });

  it("means text in quotes, and with a tag", () => {
    const read: unknown = parse(`[ "7", '~', !!str 7 ]`, { schema: "failsafe", customTags: SCALARS });
    expect(read).toEqual(["7", "~", "7"]);
  });
});
