import { expect, test } from "vitest";
import { traceparentOf } from "../../../src/lib/tracing.ts";

const GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

test("a traceparent is taken as it is", () => {
  expect(traceparentOf(GOOD)).toBe(GOOD);
});

test.each([
  ["nothing", undefined],
  ["several headers", [GOOD, GOOD]],
  ["another version", GOOD.replace("00-", "01-")],
  ["capital letters", GOOD.toUpperCase()],
  ["a trace without an id", GOOD.replace("0af7651916cd43dd8448eb211c80319c", "0".repeat(32))],
  ["a parent without an id", GOOD.replace("b7ad6b7169203331", "0".repeat(16))],
  ["more after it", `${GOOD}-x`],
  ["a line break", `${GOOD}\n`],
])("%s is none", (_what, value) => {
  expect(traceparentOf(value)).toBeUndefined();
});
