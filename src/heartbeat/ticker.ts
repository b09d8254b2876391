import type { Bus } from "../bus/bus.ts";
import type { Clock } from "../lib/clock.ts";
import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";

export interface Ticker extends Part {
  /** Milliseconds since the epoch of the last tick; 0 before the first. It ticks whether NATS is there or not. */
  lastProgress(): number;
}

/**
 * Sends the heartbeat once a period. While NATS is away, or has shown no sign of life to our consumer for two
 * periods, it looks itself: no neighbour of ours may stop the work.
 */
export function makeTicker(deps: {
  readonly bus: Bus;
  readonly look: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly periodMs: number;
}): Ticker {
  const { bus, look, clock, log, periodMs } = deps;
  let timer: NodeJS.Timeout | undefined;
  let lastProgress = 0;

  const tick = async (): Promise<void> => {
    const now = clock.now();
    lastProgress = now;
    if (!bus.connected() || now - bus.lastProgress() > 2 * periodMs) look();
    if (!bus.connected()) return;
    try {
      await bus.publishHeartbeat(now);
    } catch (error) {
      log.debug("heartbeat not sent, looking here instead", { error });
      look();
    }
  };

  return {
    name: "heartbeat ticker",
    lastProgress: () => lastProgress,
    start() {
      timer = setInterval(() => void tick(), periodMs);
      void tick();
    },
    stop() {
      clearInterval(timer);
    },
  };
}
