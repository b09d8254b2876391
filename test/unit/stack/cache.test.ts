import { appendFileSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { cached } from "../../../stack/obtain/cache.ts";
import { goCacheKey, goParts } from "../../../stack/obtain/go.ts";
import { cacheRoot, lockDir } from "../../../stack/paths.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "stack-cache-"));
  vi.stubEnv("XDG_CACHE_HOME", dir);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

describe("the key of a cache entry", () => {
  const etcd = goParts.find(({ name }) => name === "etcd")!;
  const lock = () => {
    const copy = join(dir, "lock");
    cpSync(lockDir("etcd"), copy, { recursive: true });
    return copy;
  };

  it("is the same for the same input", () => {
    const copy = lock();
    expect(goCacheKey(etcd, ["etcd"], "go1.26.8", copy)).toBe(goCacheKey(etcd, ["etcd"], "go1.26.8", copy));
  });

  it.each(["go.sum", "go.mod"])("changes with one byte of %s", (file) => {
    const copy = lock();
    const before = goCacheKey(etcd, ["etcd"], "go1.26.8", copy);
    appendFileSync(join(copy, file), "\n");
    expect(goCacheKey(etcd, ["etcd"], "go1.26.8", copy)).not.toBe(before);
  });

  it("changes with the version of Go, the flags and the programs", () => {
    const copy = lock();
    const keys = [
      goCacheKey(etcd, ["etcd"], "go1.26.8", copy),
      goCacheKey(etcd, ["etcd"], "go1.26.9", copy),
      goCacheKey({ ...etcd, tags: "other" }, ["etcd"], "go1.26.8", copy),
      goCacheKey(etcd, ["etcd", "etcdctl"], "go1.26.8", copy),
    ];
    expect(new Set(keys).size).toBe(4);
  });
});

describe("an entry", () => {
  it("is built once when two want it at the same moment", async () => {
    let builds = 0;
    const told: string[] = [];
    const build = async (draft: string) => {
      builds += 1;
      await sleep(300);
      writeFileSync(join(draft, "file"), "x");
    };
    const want = () => cached("part-1", (text) => void told.push(text), build);
    const [one, two] = await Promise.all([want(), want()]);
    expect([builds, one]).toEqual([1, two]);
    expect(told).toEqual(["waiting for another run to build it"]);
    expect(existsSync(join(one, "file"))).toBe(true);
  });

  it("is not there after a build that failed, nor is any draft or lock", async () => {
    const failing = cached(
      "part-2",
      () => {},
      () => Promise.reject(new Error("no network")),
    );
    await expect(failing).rejects.toThrow("no network");
    expect(readdirSync(cacheRoot())).toEqual([]);
  });

  it("is built although a killed run left its lock behind", async () => {
    await cached(
      "first",
      () => {},
      async () => {},
    );
    writeFileSync(join(cacheRoot(), "part-3.lock"), JSON.stringify({ pid: 1, startTime: "1", boot: "before" }));
    expect(
      existsSync(
        await cached(
          "part-3",
          () => {},
          async () => {},
        ),
      ),
    ).toBe(true);
  });
});
