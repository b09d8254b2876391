import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TerminalError } from "../../../src/lib/errors.ts";
import { demandID, isUpstreamID, pathSegment, upstreamID, upstreamNumber, usableID } from "../../../src/lib/ids.ts";

const UUID = "0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90";
const HOSTILE = [
  "",
  ".",
  "..",
  "../realms/other",
  "a/b",
  "a\\b",
  "a?b",
  "a#b",
  "a%2e",
  "a b",
  "a\u0000",
  "ä",
  "a\u202eb",
  "a".repeat(129),
  "a".repeat(1_100_000),
  '"',
  "`id`",
  "$(id)",
];

describe("ids that enter from outside", () => {
  it("are printable, short, and nothing that a path gives a meaning", () => {
    for (const id of [UUID, "42", "f:7d8e:ada@example.com", "a".repeat(128), "user_1.2~3"]) {
      expect(isUpstreamID(id)).toBe(true);
      expect(upstreamID.parse(id)).toBe(id);
    }
    for (const id of [...HOSTILE, 1, null, undefined, {}, []]) {
      expect(isUpstreamID(id)).toBe(false);
      expect(upstreamID.safeParse(id).success).toBe(false);
    }
    expect(usableID("..")).toBeUndefined();
    expect(usableID(undefined)).toBeUndefined();
    expect(usableID(UUID)).toBe(UUID);
    expect(() => demandID("..")).toThrow(TerminalError);
    expect(demandID(UUID)).toBe(UUID);
  });

  it("are positive whole numbers where an upstream counts", () => {
    expect(upstreamNumber.parse(7)).toBe(7);
    for (const id of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, "7", null]) {
      expect(upstreamNumber.safeParse(id).success).toBe(false);
    }
  });

  it("stay one segment of a path, whatever they are, or nothing is called", () => {
    for (const value of ["", ".", ".."]) expect(() => pathSegment(value)).toThrow(TerminalError);
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1 }), (name) => {
        fc.pre(name !== "." && name !== "..");
        const url = new URL(`https://upstream.example/admin/${pathSegment(name)}/end`);
        expect(url.pathname.split("/")).toHaveLength(4);
        expect(url.search + url.hash).toBe("");
      }),
    );
  });
});
