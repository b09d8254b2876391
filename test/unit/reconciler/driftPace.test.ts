import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { pauseBetweenKeys } from "../../../src/reconciler/drift.ts";

const everyMs = 600_000;

describe("the pauses between keys", () => {
  it("of all tenants together take at most half of the interval, however many people each has", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 10_000 }), { minLength: 1, maxLength: 1_000 }), (sizes) => {
        const tenants = sizes.length;
        const total = sizes.reduce((sum, people) => sum + people * pauseBetweenKeys({ everyMs, people, tenants }), 0);
        expect(total).toBeLessThanOrEqual((everyMs / 2) * 1.000_001);
      }),
    );
  });

  it("are a quarter of a second where there is time", () => {
    expect(pauseBetweenKeys({ everyMs, people: 10, tenants: 3 })).toBe(250);
  });
});
