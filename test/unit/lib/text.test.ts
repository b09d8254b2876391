import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutBytes, mark, plainText, shown, shownJSON } from "../../../src/lib/text.ts";

/** Any text at all, halves of pairs included. */
const anyText = fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) });

describe("text that somebody else wrote", () => {
  it("loses what a terminal, a log or a database stumbles over", () => {
    expect(plainText("a\u0000b\u001b[31mred\r\nnext")).toBe("a b [31mred next");
    expect(plainText("ab\u202e\u2066cd\u200f\u{e0041}e")).toBe("ab cd e");
    expect(plainText("half \ud83d of a pair")).toBe("half   of a pair");
    expect(plainText("Zoë 名前 😀 <b>&amp;</b> \\ %")).toBe("Zoë 名前 😀 <b>&amp;</b> \\ %");
  });

  it("is whatever it was one storable line", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const plain = plainText(text);
        expect(plain.isWellFormed()).toBe(true);
        expect(plain).not.toMatch(/[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/u);
        expect(plainText(plain)).toBe(plain);
      }),
    );
  });

  it("is cut between characters", () => {
    expect(cutBytes("äöü", 4)).toBe("äö");
    expect(cutBytes("äöü", 5)).toBe("äö");
    expect(cutBytes("a😀b", 4)).toBe("a");
    expect(cutBytes("a😀b", 5)).toBe("a😀");
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.nat(40), (text, most) => {
        const cut = cutBytes(text, most);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(most);
        expect(text.startsWith(cut)).toBe(true);
        expect(cut.isWellFormed()).toBe(true);
        expect(cut === text).toBe(Buffer.byteLength(text) <= most);
      }),
    );
  });
});

describe("text that is only compared", () => {
  it("stays as it is where it is short and plain", () => {
    for (const plain of ["2026-11-30T15:00:00.000Z", "now", "once more, please", "2026-11-30T15:00:00+01:00"]) {
      expect(mark(plain)).toBe(plain);
    }
  });

  it("is a hash otherwise, of one length, and another one for another text", () => {
    const hostile = ["\u0000", "\\", "%", "_\\", "|", "a".repeat(250_000), "a".repeat(250_001), "'", "\ud800x", ""];
    const marks = hostile.map(mark);
    for (const one of marks) expect(one).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(new Set(marks).size).toBe(hostile.length);
    for (const one of marks) expect(mark(one)).toBe(one);
  });
});

describe("what is written to a terminal", () => {
  it("keeps lines, tabs and our own colors, and shows everything else that steers as a sign of its own", () => {
    expect(shown("a\tb\n\u001b[32mgreen\u001b[39m")).toBe("a\tb\n\u001b[32mgreen\u001b[39m");
    expect(shown("\u001b[2J\u001b]0;title\u0007\u009b31m\r\u202eabc\u200b\u{e0041}")).not.toMatch(
      // oxlint-disable-next-line no-control-regex
      /[\u0007\r\u001b\u009b\u202e\u200b]|\u{e0041}/u,
    );
  });

  it("is, as JSON, still the same value", () => {
    fc.assert(
      fc.property(fc.array(anyText), (value) => {
        const json = shownJSON(JSON.stringify(value, undefined, 2));
        expect(JSON.parse(json)).toEqual(value);
        expect(json.replaceAll("\n", "")).toBe(plainText(json.replaceAll("\n", "")));
      }),
    );
  });
});
