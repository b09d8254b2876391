import { describe, expect, test } from "vitest";
import {
  fromNow,
  inColour,
  moment,
  paintFor,
  plainly,
  printable,
  span,
  table,
  wrapped,
} from "../../../src/plugin/text.ts";

describe("what others wrote", () => {
  test.each([
    ["moves no cursor", "a\u001B[2Jb", "a [2Jb"],
    ["makes no second line", "a\nb\r\nc\td", "a b c d"],
    ["sets no title", "\u001B]0;owned\u0007x", "]0;owned x"],
    ["turns no reading direction", "a\u202Egpj.exe", "a gpj.exe"],
    ["hides nothing in C1 controls", "a\u009Bb", "a b"],
    ["keeps letters of every script", "Zoë Ångström 王", "Zoë Ångström 王"],
  ])("%s", (_name, text, shown) => expect(printable(text)).toBe(shown));
});

describe("a table", () => {
  test("has columns under their titles and nothing at the ends of lines", () => {
    const rows = [
      [{ text: "ada" }, { text: "done" }],
      [{ text: "barbara" }, { text: "" }],
    ];
    expect(table(["NAME", "STATE"], rows, plainly)).toBe("NAME      STATE\nada       done\nbarbara   -\n");
  });

  test("is as wide in colours as without", () => {
    const rows = [[{ text: "ada", tone: "bad" as const }, { text: "x" }]];
    const coloured = table(["NAME", "B"], rows, inColour);
    expect(coloured).toContain("\u001B[31mada\u001B[39m   ");
  });
});

describe("colours", () => {
  const shown = (isTTY: boolean, env: Record<string, string>) => paintFor({ isTTY }, env)("bad", "x");
  test("come on a terminal and nowhere else", () => {
    expect(shown(true, {})).toContain("\u001B[31m");
    expect(shown(false, {})).toBe("x");
  });
  test("stay away where NO_COLOR or a dumb terminal wants that", () => {
    expect(shown(true, { NO_COLOR: "1" })).toBe("x");
    expect(shown(true, { NO_COLOR: "" })).toContain("\u001B[31m");
    expect(shown(true, { TERM: "dumb" })).toBe("x");
  });
});

test("a long sentence is wrapped between words, its later lines indented", () => {
  expect(wrapped("one two three four", 9, "  ")).toBe("one two\n  three\n  four");
});

test("times are said as people do", () => {
  const now = new Date("2026-05-01T12:00:00Z");
  expect(moment("2026-05-01T12:00:03.250Z")).toBe("2026-05-01 12:00:03Z");
  expect(moment("soon\u001B[2J")).toBe("soon [2J");
  expect([span(900), span(119_400), span(130_000), span(7_300_000), span(3 * 86_400_000)]).toEqual([
    "1 s",
    "119 s",
    "2 min",
    "2 h",
    "3 d",
  ]);
  expect(fromNow("2026-05-01T11:59:50Z", now)).toBe("10 s ago");
  expect(fromNow("2026-05-01T12:00:30Z", now)).toBe("in 30 s");
});
