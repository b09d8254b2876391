import { describe, expect, test } from "vitest";
import { watchSecrets } from "../../../src/triggers/secrets.ts";
import { watcherOf } from "../../../src/triggers/share.ts";

const NAMESPACES = Array.from({ length: 200 }, (_, n) => `tenant-${n}`);

/** A replica, with the namespaces that it watches now. */
function replica() {
  const watched = new Set<string>();
  let opened = 0;
  const watches = watchSecrets({
    openWatch: ({ path }) => {
      const namespace = path.split("/")[4] ?? "";
      watched.add(namespace);
      opened += 1;
      return {
        stop: () => Promise.resolve(void watched.delete(namespace)),
        lastProgress: () => 0,
        synced: Promise.resolve(),
      };
    },
    pool: undefined as never,
    jobs: undefined as never,
    queueOf: undefined as never,
    notify: () => undefined,
  });
  const follow = (names: readonly string[]) => watches.follow(names.map((namespace) => ({ namespace })));
  return { ...watches, follow, watched, opened: () => opened };
}

describe("who watches a namespace", () => {
  test("is one of those who live, the same for everybody, whatever the order", () => {
    for (const namespace of NAMESPACES) {
      expect([11, 22, 33]).toContain(watcherOf(namespace, [11, 22, 33]));
      expect(watcherOf(namespace, [33, 11, 22])).toBe(watcherOf(namespace, [11, 22, 33]));
    }
    expect(watcherOf("tenant-a", [])).toBeUndefined();
  });

  test("changes only for the namespaces of who went", () => {
    const kept = NAMESPACES.filter((namespace) => watcherOf(namespace, [11, 22, 33]) !== 33);
    const moved = kept.filter((namespace) => watcherOf(namespace, [11, 22]) !== watcherOf(namespace, [11, 22, 33]));
    expect(moved).toEqual([]);
  });

  test("is fairly shared", () => {
    const mine = NAMESPACES.filter((namespace) => watcherOf(namespace, [11, 22]) === 11).length;
    expect(mine).toBeGreaterThan(60);
    expect(mine).toBeLessThan(140);
  });
});

describe("the watches of Secrets", () => {
  test("of one replica alone are all of them, once it is known that it is alone", () => {
    const one = replica();
    one.follow(NAMESPACES);
    expect(one.watched.size).toBe(0);
    one.shareWith([11], 11);
    expect(one.watched).toEqual(new Set(NAMESPACES));
  });

  test("are split over two, each namespace watched by exactly one", () => {
    const [one, two] = [replica(), replica()];
    for (const [own, each] of [
      [11, one],
      [22, two],
    ] as const) {
      each.follow(NAMESPACES);
      each.shareWith([11, 22], own);
    }
    expect([...one.watched, ...two.watched].toSorted()).toEqual(NAMESPACES.toSorted());
    expect(one.watched.size).toBeGreaterThan(0);
    expect(two.watched.size).toBeGreaterThan(0);
  });

  test("pass to the one who is left, and those it had are not opened again", () => {
    const one = replica();
    one.follow(NAMESPACES);
    one.shareWith([11, 22], 11);
    const before = one.opened();
    one.shareWith([11], 11);
    expect(one.watched.size).toBe(NAMESPACES.length);
    expect(one.opened()).toBe(NAMESPACES.length);
    expect(before).toBeLessThan(NAMESPACES.length);
  });

  test("stay as they are while the own session is not among the living", () => {
    const one = replica();
    one.follow(NAMESPACES);
    one.shareWith([11], 11);
    one.shareWith([22], 11);
    one.shareWith([22], undefined);
    expect(one.watched.size).toBe(NAMESPACES.length);
  });

  test("of a namespace that no Tenant has any more end", () => {
    const one = replica();
    one.follow(["tenant-a", "tenant-b"]);
    one.shareWith([11], 11);
    one.follow(["tenant-b"]);
    expect([...one.watched]).toEqual(["tenant-b"]);
  });
});
