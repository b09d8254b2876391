import { describe, expect, it, vi } from "vitest";

import { makeLog } from "../../../src/lib/log.ts";
import { makeNotifier, type Notifier } from "../../../src/lib/notifier.ts";
import { type EngineDeps, makeEngine } from "../../../src/reconciler/engine.ts";

type Statement = { readonly name?: string; readonly values?: readonly unknown[] };
type Query = (statement: Statement) => Promise<{ rows: readonly never[] }>;

/** An engine on a database in which nothing is due. */
function makeIdle(query: Query, given: Partial<EngineDeps>, due: Notifier = makeNotifier()) {
  const deps: Partial<EngineDeps> = {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of a pool, a poll needs its query alone
    pool: { query } as unknown as EngineDeps["pool"],
    due,
    workers: 8,
    ready: () => true,
    clusterID: () => Promise.resolve("cluster"),
    openSession: () =>
      Promise.resolve({ owner: 1, lost: new AbortController().signal, abandon: () => {}, close: async () => {} }),
    recovered: () => {},
    held: () => new Map(),
    originLimits: { run: ({ act }) => act(), waiting: () => 0 },
    clock: { now: () => 0 },
    log: makeLog({ level: "silent", role: "reconciler" }),
    ...given,
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing is due, so nobody is worked on
  return makeEngine(deps as EngineDeps);
}

describe("the engine", () => {
  it("says once that Postgres answers again, after a poll that failed", async () => {
    let up = false;
    const recovered = vi.fn<() => void>();
    const polls = vi.fn<Query>(async () => {
      if (!up) throw new Error("Postgres is away");
      return { rows: [] };
    });
    const due = makeNotifier();
    const engine = makeIdle(polls, { recovered }, due);
    void engine.start();
    await vi.waitFor(() => expect(polls).toHaveBeenCalled());
    expect(recovered).not.toHaveBeenCalled();
    up = true;
    await vi.waitFor(() => expect(recovered).toHaveBeenCalledTimes(1), 5_000);
    const before = polls.mock.calls.length;
    due.notify();
    await vi.waitFor(() => expect(polls.mock.calls.length).toBeGreaterThan(before));
    expect(recovered).toHaveBeenCalledTimes(1);
    await engine.stop();
  });

  it("takes one claim at a time of a tenant whose upstream is known to be down", async () => {
    const asked: Statement[] = [];
    const query: Query = async (statement) => {
      asked.push(statement);
      return { rows: [] };
    };
    const engine = makeIdle(query, { held: () => new Map([["acme", 1]]) });
    void engine.start();
    await vi.waitFor(() => expect(asked.some(({ name }) => name === "claim-due")).toBe(true));
    const [, limit, , , tenants, counts, most] = asked.find(({ name }) => name === "claim-due")?.values ?? [];
    expect({ limit, tenants, counts, most }).toEqual({ limit: 8, tenants: ["acme"], counts: [3], most: 4 });
    await engine.stop();
  });
});
