import type { Pool } from "pg";
import type { Clock } from "../lib/clock.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { readStats, type StoreStats } from "../store/stats.ts";
import { periodicPart } from "./loops.ts";

/** Reads what metrics show of the state store: in a loop of its own, so that nothing else keeps the numbers from being new. */
export function makeStatsReader(deps: {
  readonly pool: Pool;
  readonly everyMs: number;
  readonly read: (stats: StoreStats) => void;
  readonly clock: Clock;
  readonly log: Log;
}): LoopPart {
  const { pool, log } = deps;
  let failing = false;
  const loop = periodicPart({
    name: "store stats",
    everyMs: deps.everyMs,
    first: "at once",
    clock: deps.clock,
    async turn() {
      deps.read(await readStats(pool));
      if (failing) log.info("resumed reading the state store's numbers", { outcome: "recovered" });
      failing = false;
    },
    failed(error) {
      // Once per outage: how old the numbers are shows in their metric.
      log[failing ? "debug" : "warn"]("failed to read the state store's numbers; metrics show the last ones", {
        error,
      });
      failing = true;
    },
  });
  return { ...loop, allowedMs: 2 * deps.everyMs + 2 * 60_000 };
}
