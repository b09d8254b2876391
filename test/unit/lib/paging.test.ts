import { expect, test } from "vitest";

import { readPages } from "../../../src/lib/paging.ts";

const paging = {
  what: "the users",
  upstream: "keycloak",
  code: "UpstreamUnavailable",
  pageSize: 2,
  mostItems: 10,
  withinMs: 1_000,
} as const;

test("a collection is read to its short page", async () => {
  const taken: number[] = [];
  const all = [1, 2, 3, 4, 5];
  await readPages(
    { ...paging, clock: { now: () => 0 } },
    async (first) => all.slice(first, first + 2),
    (item) => void taken.push(item),
  );
  expect(taken).toEqual(all);
});

test.each([
  ["in items", 0, /more than 10 items/],
  ["in time", 600, /not over after 1 s/],
])("one that does not end %s is a passing trouble, named", async (_how, callMs, sentence) => {
  let [now, calls] = [0, 0];
  const read = readPages(
    { ...paging, clock: { now: () => now } },
    async () => {
      now += callMs;
      calls += 1;
      return [1, 2];
    },
    () => {},
  );
  await expect(read).rejects.toMatchObject({
    class: "transient",
    upstream: "keycloak",
    message: expect.stringMatching(sentence) as string,
  });
  expect(calls).toBeLessThan(7);
});
