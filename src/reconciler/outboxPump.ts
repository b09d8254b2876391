import type { Pool } from "pg";
import type { UserEvent } from "../api/userEvent.ts";
import type { Clock } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";
import { drainOutbox, forgetSentEvents } from "../store/outbox.ts";
import { makeAlarm } from "./alarm.ts";

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
  const alarm = makeAlarm();
  let progress = clock.now();
  let failing = false;
  let loop: Promise<void> = Promise.resolve();

  async function run(): Promise<void> {
    let forgottenAt = 0;
    while (!stopping.signal.aborted) {
      alarm.takeRing();
      let pause = IDLE_MS;
      let rest = 0;
      try {
        const sent = await drainOutbox(pool, BATCH, (event) => deps.publish(event, stopping.signal));
        if (sent === BATCH) pause = 0;
        else if (sent > 0) rest = GATHER_MS;
        if (failing) log.info("Events leave again.");
        failing = false;
        if (clock.now() - forgottenAt > 3_600_000) {
          forgottenAt = clock.now();
          await forgetSentEvents(pool, KEEP_SENT_DAYS);
        }
      } catch (error) {
        if (!failing && !stopping.signal.aborted) log.warn("Events cannot leave; they are kept.", { error });
        failing = true;
        // A failing neighbour is not asked more often because there is more to say.
        pause = rest = AFTER_FAILURE_MS;
      }
      progress = clock.now();
      await alarm.sleep(pause, rest, stopping.signal);
    }
  }

  return {
    name: "outbox",
    look: () => alarm.ring(),
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
