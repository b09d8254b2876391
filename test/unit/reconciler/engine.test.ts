import { describe, expect, it, vi } from "vitest";

import { makeLog } from "../../../src/lib/log.ts";
import { type EngineDeps, makeEngine } from "../../../src/reconciler/engine.ts";

describe("the engine", () => {
  it("says once that Postgres answers again, after a look that failed", async () => {
    let up = false;
    const recovered = vi.fn();
    const looks = vi.fn(async () => {
      if (!up) throw new Error("Postgres is away");
      return { rows: [] };
    });
    const deps: Partial<EngineDeps> = {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of a pool, a look needs its query alone
      pool: { query: looks } as unknown as EngineDeps["pool"],
      workers: 1,
      ready: () => true,
      clusterID: () => Promise.resolve("cluster"),
      openSession: () => Promise.resolve({ owner: 1, lost: new AbortController().signal, close: async () => {} }),
      recovered,
      clock: { now: () => 0 },
      log: makeLog({ level: "silent", role: "reconciler" }),
    };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing is due, so nobody is worked on
    const engine = makeEngine(deps as EngineDeps);
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
});
