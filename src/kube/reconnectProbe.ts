/** Watches that wait because nobody answered: one of them probes every second, and its success wakes all. */
import { RETRIES } from "../lib/backoff.ts";
import { pause, type Random } from "../lib/clock.ts";

/** All at once would be a burst on an API server that has just come back. */
const SPREAD_EACH_MS = 2;
const LONGEST_SPREAD_MS = 1_000;

export interface ReconnectProbe {
  /** Waits `ms`, or until somebody was answered; the one that probes waits a second at most. */
  rest(ms: number, signal: AbortSignal): Promise<void>;
  /** Somebody was answered. */
  answered(): void;
}

export function makeReconnectProbe(deps: {
  readonly random: Random;
  readonly recovered?: (() => void) | undefined;
}): ReconnectProbe {
  const resting = new Set<AbortController>();
  let reconnectProbe = false;
  return {
    async rest(ms, signal) {
      const isProbing = !reconnectProbe;
      if (isProbing) reconnectProbe = true;
      const woken = new AbortController();
      resting.add(woken);
      const spreadMs = (): number => deps.random() * Math.min(LONGEST_SPREAD_MS, SPREAD_EACH_MS * resting.size);
      try {
        await pause(isProbing ? Math.min(ms, RETRIES.reconnect.firstMs) : ms, AbortSignal.any([signal, woken.signal]));
        if (woken.signal.aborted) await pause(spreadMs(), signal);
      } finally {
        resting.delete(woken);
        if (isProbing) reconnectProbe = false;
      }
    },
    answered() {
      if (resting.size === 0) return;
      for (const woken of resting) woken.abort();
      deps.recovered?.();
    },
  };
}
