import { describe, expect, it, vi } from "vitest";

import { makeLog } from "../../../src/lib/log.ts";
import { type EngineDeps, makeEngine } from "../../../src/reconciler/engine.ts";

type Statement = { readonly name?: string; readonly values?: readonly unknown[] };
type Query = (statement: Statement) => Promise<{ rows: readonly never[] }>;

/** An engine on a database in which nothing is due. */
function makeIdle(query: Query, given: Partial<EngineDeps>): ReturnType<typeof makeEngine> {
  const deps: Partial<EngineDeps> = {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of a pool, a look needs its query alone
    pool: { query } as unknown as EngineDeps["pool"],
    workers: 8,
    ready: () => true,
    clusterID: () => Promise.resolve("cluster"),
    openSession: () => Promise.resolve({ owner: 1, lost: new AbortController().signal, close: async () => {} }),
    recovered: () => {},
    held: () => [],
    clock: { now: () => 0 },
    log: makeLog({ level: "silent", role: "reconciler" }),
    ...given,
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing is due, so nobody is worked on
  return makeEngine(deps as EngineDeps);
}

describe("the engine", () => {
  it("says once that Postgres answers again, after a look that failed", async () => {
    let up = false;
    const recovered = vi.fn<() => void>();
    const looks = vi.fn<Query>(async () => {
      if (!up) throw new Error("Postgres is away");
      return { rows: [] };
    });
    const engine = makeIdle(looks, { recovered });
    engine.start();
    await vi.waitFor(() => expect(looks).toHaveBeenCalled());
    expect(recovered).not.toHaveBeenCalled();
    up = true;
    await vi.waitFor(() => expect(recovered).toHaveBeenCalledTimes(1), 5_000);
    const before = looks.mock.calls.length;
    engine.look();
    await vi.waitFor(() => expect(looks.mock.calls.length).toBeGreaterThan(before));
    expect(recovered).toHaveBeenCalledTimes(1);
    await engine.stop();
  });

  it("takes one at a time of a tenant whose neighbour is known to be down", async () => {
    const asked: Statement[] = [];
    const query: Query = async (statement) => {
      asked.push(statement);
      return { rows: [] };
    };
    const engine = makeIdle(query, { held: () => ["acme"] });
    engine.start();
    await vi.waitFor(() => expect(asked.some(({ name }) => name === "claim-due")).toBe(true));
    const [, limit, , , tenants, counts, most] = asked.find(({ name }) => name === "claim-due")?.values ?? [];
    expect({ limit, tenants, counts, most }).toEqual({ limit: 8, tenants: ["acme"], counts: [3], most: 4 });
    await engine.stop();
  });
});
