import { setTimeout as passing } from "node:timers/promises";
import type { Pool } from "pg";
import type { UserEvent } from "../api/userEvent.ts";
import type { Clock } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { drainOutbox, forgetSentEvents } from "../store/outbox.ts";

const BATCH = 100;
const IDLE_MS = 5_000;
/** One alone leaves at once; those that follow it closely leave together, for a look costs four round trips and a commit. */
const GATHER_MS = 200;
const AFTER_FAILURE_MS = 2_000;
const KEEP_SENT_DAYS = 30;

export interface OutboxPump extends Part {
  /** Something may have been put in. */
  look(): void;
  lastProgress(): number;
}

/** Sends what stands in the outbox, in order, for ever. NATS away: it stays there. */
export function makeOutboxPump(deps: {
  readonly pool: Pool;
  readonly publish: (event: UserEvent, signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}): OutboxPump {
  const { pool, clock, log } = deps;
  const stopping = new AbortController();
  let wake = (): void => {};
  let asked = false;
  let progress = clock.now();
  let failing = false;
  let loop: Promise<void> = Promise.resolve();

  async function run(): Promise<void> {
    let forgottenAt = 0;
    while (!stopping.signal.aborted) {
      asked = false;
      let pause = IDLE_MS;
      try {
        const sent = await drainOutbox(pool, BATCH, (event) => deps.publish(event, stopping.signal));
        if (sent === BATCH) pause = 0;
        if (failing) log.info("Events leave again.");
        failing = false;
        if (clock.now() - forgottenAt > 3_600_000) {
          forgottenAt = clock.now();
          await forgetSentEvents(pool, KEEP_SENT_DAYS);
        }
        if (sent > 0 && sent < BATCH) await gather();
      } catch (error) {
        if (!failing && !stopping.signal.aborted) log.warn("Events cannot leave; they are kept.", { error });
        failing = true;
        pause = AFTER_FAILURE_MS;
      }
      progress = clock.now();
      if (!asked || failing) await sleep(pause);
    }
  }

  async function gather(): Promise<void> {
    await passing(GATHER_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  function sleep(ms: number): Promise<void> {
    // An abort that was told of already is not told of again.
    if (stopping.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        stopping.signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      wake = () => {
        // A failing neighbour is not asked more often because there is more to say.
        if (!failing) end();
      };
      stopping.signal.addEventListener("abort", end);
    });
  }

  return {
    name: "outbox",
    look: () => {
      asked = true;
      wake();
    },
    lastProgress: () => progress,
    start: () => {
      loop = run();
    },
    stop: async () => {
      stopping.abort(new Error("shutting down"));
      await loop;
    },
  };
}
