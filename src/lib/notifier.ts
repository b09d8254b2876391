import { pause } from "./clock.ts";

/** A signal that one loop waits on, and that anybody may give. Given while the loop is busy, it is kept. */
export interface Notifier {
  notify(): void;
  /**
   * Up to `ms`; at least `restMs`, so that many signals become one, and shorter only by the signal. True: somebody has
   * notified since the last wait.
   */
  wait(ms: number, signal: AbortSignal, restMs?: number): Promise<boolean>;
}

export function makeNotifier(): Notifier {
  let isNotified = false;
  let end: () => void = nothing;

  return {
    notify() {
      isNotified = true;
      end();
    },
    async wait(ms, signal, restMs = 0) {
      const rest = Math.min(ms, restMs);
      if (rest > 0) await pause(rest, signal);
      if (!isNotified && ms > rest) {
        await pause(ms - rest, signal, (done) => {
          end = done;
        });
        end = nothing;
      }
      const was = isNotified;
      isNotified = false;
      return was;
    },
  };
}

function nothing(): void {}
