import { expect, it } from "vitest";
import { knownTenant } from "../../support/admission.ts";
import { fuzz } from "../../fuzz/run.ts";

it("answers whatever comes with a well-formed review, and stands still for nothing", { timeout: 120_000 }, async () => {
  const acme = knownTenant("acme");
  const seed = Math.floor(Math.random() * 2 ** 31);
  const result = await fuzz(4_000, seed, {
    tenants: { loaded: true, lookup: (namespace) => (namespace === "tenant-a" ? acme : undefined) },
    record: () => Promise.resolve(undefined),
  });
  const { broken, outcomes, mostMs } = result;
  expect({ seed, broken }).toEqual({ seed, broken: [] });
  // What compiles and warms up at the beginning is in it.
  expect(mostMs).toBeLessThan(100);
  // Every way through was taken.
  expect(Object.keys(outcomes).toSorted()).toEqual(
    expect.arrayContaining([
      "mutate allowed",
      "mutate refused",
      "validate denied",
      "validate refused",
      "validate warned",
    ]),
  );
});
