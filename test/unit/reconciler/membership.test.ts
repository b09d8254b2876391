import { afterEach, expect, test } from "vitest";
import type { Part } from "../../../src/lib/lifecycle.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { makeMembership } from "../../../src/reconciler/membership.ts";

const started: Part[] = [];
afterEach(async () => {
  for (const part of started.splice(0)) await part.stop();
});

function watchThe(living: () => Promise<readonly number[]>) {
  const seen: (readonly number[])[] = [];
  const part = makeMembership({
    living,
    own: () => 3,
    changed: (now) => void seen.push(now),
    lost: () => {},
    clock: systemClock,
    log: silentLog,
    everyMs: 5,
  });
  started.push(part);
  void part.start();
  return seen;
}

test("tells who lives at the start, and then only when somebody comes or goes", async () => {
  let looks = 0;
  let living = [7, 3];
  const seen = watchThe(() => {
    looks += 1;
    return Promise.resolve(looks % 2 === 0 ? living : living.toReversed());
  });
  await expect.poll(() => looks).toBeGreaterThan(5);
  expect(seen).toEqual([[3, 7]]);
  living = [3];
  await expect.poll(() => seen).toEqual([[3, 7], [3]]);
});

test("tells of the own number as soon as there is one", async () => {
  let own: number | undefined;
  const seen: unknown[] = [];
  const part = makeMembership({
    living: () => Promise.resolve([3]),
    own: () => own,
    changed: (living, mine) => void seen.push([living, mine]),
    lost: () => {},
    clock: systemClock,
    log: silentLog,
    everyMs: 5,
  });
  started.push(part);
  void part.start();
  await expect.poll(() => seen).toEqual([[[3], undefined]]);
  own = 3;
  await expect
    .poll(() => seen)
    .toEqual([
      [[3], undefined],
      [[3], 3],
    ]);
});

test("tells of nobody's going while it cannot be read", async () => {
  let looks = 0;
  const seen = watchThe(() => {
    looks += 1;
    return looks % 2 === 0 ? Promise.reject(new Error("connection refused")) : Promise.resolve([3]);
  });
  await expect.poll(() => looks).toBeGreaterThan(6);
  expect(seen).toEqual([[3]]);
});

test("tells of the own session when Postgres does not know it any more, and not of one that is just being opened", async () => {
  let living: readonly number[] = [3, 7];
  let own: number | undefined = 3;
  const lost: number[] = [];
  const part = makeMembership({
    living: () => Promise.resolve(living),
    own: () => own,
    changed: () => {},
    lost: (number) => {
      lost.push(number);
      own = undefined;
    },
    clock: systemClock,
    log: silentLog,
    everyMs: 5,
  });
  started.push(part);
  void part.start();
  await expect.poll(() => part.lastProgress()).toBeGreaterThan(0);
  expect(lost).toEqual([]);
  living = [7];
  await expect.poll(() => lost).toEqual([3]);
});
