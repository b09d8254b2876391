import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classifyRefusal } from "../../../src/keycloak/classify.ts";
import { classify } from "../../../src/kube/classify.ts";
import { TransientError, WaitingError } from "../../../src/lib/errors.ts";
import { classifyStatus } from "../../../src/lib/http.ts";
import { judgeKey } from "../../../src/gateway/classify.ts";
import { afterFailure } from "../../../src/saga/failure.ts";
import { sagaRow } from "../../support/builders.ts";

const NOW = Date.parse("2026-05-01T12:00:00Z");
const HOUR = 3_600_000;

const CASES: readonly (readonly [string, number | undefined])[] = [
  ["7", 7_000],
  [" 7 ", 7_000],
  ["1.5", 1_500],
  ["0", 0],
  ["-5", 0],
  ["3600", HOUR],
  ["3601", HOUR],
  ["99999999999999", HOUR],
  ["9".repeat(400), HOUR],
  ["Fri, 01 May 2026 12:01:00 GMT", 60_000],
  ["Friday, 01-May-26 12:01:00 GMT", 60_000],
  ["2026-05-01T12:01:00Z", 60_000],
  ["Fri, 31 Dec 9999 23:59:59 GMT", HOUR],
  ["Sun, 06 Nov 1994 08:49:37 GMT", 0],
  ["", undefined],
  ["soon", undefined],
  ["Infinity", undefined],
  ["NaN", undefined],
  ["1e9", undefined],
  ["0x10", undefined],
  ["7 seconds", undefined],
  ["Fri, 99 Foo 2026", undefined],
  ["+275760-09-13T00:00:00.001Z", undefined],
];

const headers = (value: string) => new Headers({ "retry-after": value });

/** Every place that reads one. */
const READERS: Readonly<Record<string, (value: string) => unknown>> = {
  "any upstream": (value) =>
    classifyStatus("newapi", { status: 503, headers: headers(value), text: "" }, "a call", NOW),
  "a realm": (value) => classifyRefusal({ status: 429, headers: headers(value), data: "" }, "a call", NOW),
  "the API server": (value) => classify({ status: 429, headers: headers(value), text: "" }, "a call", NOW),
  "the check of a key": (value) => {
    try {
      return judgeKey({ status: 500, headers: headers(value), text: "" }, NOW, []);
    } catch (error) {
      return error;
    }
  },
};

describe.each(Object.entries(READERS))("Retry-After, as %s says it", (_name, read) => {
  it.each(CASES)("is believed up to an hour, and not when it is garbage: %j", (value, ms) => {
    const error = read(value);
    expect(error).toBeInstanceOf(TransientError);
    expect(error).toHaveProperty("retryAfterMs", ms);
  });
});

it("gives every failure a moment to be tried again, within the hour, whatever was asked", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.double(), fc.constantFrom(Number.MAX_VALUE, 8.64e15, 1e308, -1e308)),
      fc.constantFrom(TransientError, WaitingError),
      fc.integer({ min: 0, max: 1_000 }),
      (retryAfterMs, Kind, retryCount) => {
        const error = new Kind({ code: "UpstreamUnavailable", message: "Away.", retryAfterMs });
        const { next } = afterFailure(sagaRow({ retryCount }), "newapi", error, undefined, new Date(NOW), () => 0.5);
        const at = next.kind === "retry" ? next.at.getTime() : Number.NaN;
        expect(at).toBeGreaterThanOrEqual(NOW);
        expect(at).toBeLessThanOrEqual(NOW + HOUR);
      },
    ),
  );
});
