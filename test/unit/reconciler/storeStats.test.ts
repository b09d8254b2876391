import type { Pool } from "pg";
import { expect, test, vi } from "vitest";
import { systemClock } from "../../../src/lib/clock.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { makeStatsReader } from "../../../src/reconciler/storeStats.ts";
import type { StoreStats } from "../../../src/store/stats.ts";

test("what cannot be read is told once an outage, and what was read before stands", async () => {
  let isUp = true;
  const query = vi.fn<() => Promise<{ rows: object[] }>>(async () => {
    if (!isUp) throw new Error("connect ECONNREFUSED");
    return { rows: [{ users: { done: 1 }, waits_long: 0, due: 0, outbox: 0, parked: 0 }] };
  });
  const lines: string[] = [];
  const line = (level: string) => (message: string) => void lines.push(`${level}: ${message}`);
  const read: StoreStats[] = [];
  const reader = makeStatsReader({
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it needs the query alone
    pool: { query } as unknown as Pool,
    everyMs: 5,
    read: (stats) => void read.push(stats),
    clock: systemClock,
    log: { ...silentLog, warn: line("warn"), info: line("info") },
  });
  const calls = async (more: number) => {
    const before = query.mock.calls.length;
    await vi.waitFor(() => expect(query.mock.calls.length).toBeGreaterThan(before + more));
  };
  void reader.start();
  await calls(2);
  isUp = false;
  await calls(3);
  const known = read.length;
  await calls(3);
  expect(read).toHaveLength(known);
  expect(lines).toEqual(["warn: failed to read the state store's numbers; metrics show the last ones"]);
  isUp = true;
  await calls(3);
  await reader.stop();
  expect(read.length).toBeGreaterThan(known);
  expect(lines.slice(1)).toEqual(["info: resumed reading the state store's numbers"]);
});
