import { expect, test } from "vitest";
import { patienceFor } from "../../../stack/patience.ts";
import { waitFor } from "../../../stack/probe.ts";

test.each([
  ["an idle machine", 0, 2, 180_000],
  ["one that is just busy", 2, 2, 180_000],
  ["one with three times its work", 6, 2, 540_000],
  ["one that is hopeless", 400, 2, 1_080_000],
  ["one that does not say how many cores it has", 3, 0, 540_000],
])("on %s", (_what, load, cores, expected) => {
  expect(patienceFor(180_000, load, cores)).toBe(expected);
});

test("patience that grew while it waited is not taken back", async () => {
  const given = [0, 300, 0, 0, 0];
  let asked = 0;
  const ready = (): Promise<boolean> => Promise.resolve((asked += 1) === 3);
  expect(
    await waitFor(
      ready,
      () => true,
      () => given.shift() ?? 60_000,
    ),
  ).toBe(false);
  const later = [300, 60_000, 0, 0, 0];
  expect(
    await waitFor(
      ready,
      () => true,
      () => later.shift() ?? 0,
    ),
  ).toBe(true);
});

test("nobody waits for a process that is gone", async () => {
  expect(
    await waitFor(
      () => Promise.resolve(false),
      () => false,
      () => 3_600_000,
    ),
  ).toBe(false);
});
