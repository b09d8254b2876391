import { describe, expect, it } from "vitest";
import { redact, TransientError } from "../../../src/lib/errors.ts";

describe("what is quoted of an upstream's answer", () => {
  it("holds no credential, wherever in the text it begins", () => {
    const token = `eyJ${"hbGciOi".repeat(40)}.eyJ${"zdWIiOiIx".repeat(90)}.c2ln`;
    for (const before of [0, 1, 100, 240, 250, 255, 4000, 4090]) {
      for (const secret of [
        `sk-${"a1B2".repeat(12)}`,
        token,
        "Bearer abcdefghijkl",
        `"client_secret":"hunter2hunter2"`,
      ]) {
        const shown = redact(`${"x ".repeat(before / 2)}${secret} rest`);
        expect(shown).not.toMatch(/a1B2|hbGciOi|zdWIiOi|abcdefgh|hunter2/);
      }
      const known = "S3cret-known-value-of-the-client";
      expect(redact(`${" ".repeat(before)}${known}`, [known])).not.toContain("S3cret");
      // Many of them make the text shorter, so that what was cut off the end moves to the front.
      expect(redact(`${`${known} `.repeat(400)}`, [known])).not.toContain("S3cret");
    }
  });

  it("is one line of 256 bytes", () => {
    const shown = redact(`a\u0000b\nc\u202e${"ä".repeat(100_000)}`);
    expect(shown.startsWith("a b c ä")).toBe(true);
    expect(Buffer.byteLength(shown)).toBeLessThanOrEqual(256);
    expect(shown).not.toContain("\ufffd");
  });

  it("goes into an error without what a row, a status or a terminal stumbles over", () => {
    const error = new TransientError({
      code: "X",
      message: `it said ${"\u0000\u001b[2J\ud800"}${"m".repeat(5000)}`,
      body: `\u0000${"b".repeat(5000)}`,
    });
    expect(error.message).toMatch(/^it said {2}\[2J\ufffdm/);
    expect(error.message.length).toBeLessThanOrEqual(1024);
    expect(error.body?.startsWith(" b")).toBe(true);
    expect(error.body?.length).toBe(256);
  });
});
