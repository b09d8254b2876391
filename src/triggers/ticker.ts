import type { Bus } from "../bus/bus.ts";
import type { Clock } from "../lib/clock.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";

/**
 * Sends the heartbeat once a period. While NATS is away, or has shown no sign of life to our consumer for two
 * periods, it notifies by itself: no dependency may stop the work.
 */
export function makeTicker(deps: {
  readonly bus: Bus;
  readonly notify: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly periodMs: number;
}): LoopPart {
  const { bus, notify, clock, log, periodMs } = deps;
  let timer: NodeJS.Timeout | undefined;
  let lastProgress = 0;

  const tick = async (): Promise<void> => {
    const now = clock.now();
    lastProgress = now;
    if (!bus.connected() || now - bus.lastProgress() > 2 * periodMs) notify();
    if (!bus.connected()) return;
    try {
      await bus.publishHeartbeat(now);
    } catch (error) {
      log.debug("failed to send the heartbeat; notifying this process alone", { error });
      notify();
    }
  };

  return {
    name: "heartbeat ticker",
    // It ticks whether NATS is there or not.
    lastProgress: () => lastProgress,
    allowedMs: 2 * periodMs + 60_000,
    start() {
      timer = setInterval(() => void tick(), periodMs);
      void tick();
    },
    stop() {
      clearInterval(timer);
    },
  };
}
