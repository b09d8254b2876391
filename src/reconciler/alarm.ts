/** The sleep of a loop that can be called: for work (`ring`), or only to look at its clock (`wake`). */
export interface Alarm {
  ring(): void;
  wake(): void;
  /** Whether it rang since the last time this was asked. */
  takeRing(): boolean;
  /** Up to `ms`, at least `restMs` so that many rings become one, shorter only by the signal. */
  sleep(ms: number, restMs: number, signal: AbortSignal): Promise<void>;
}

export function makeAlarm(): Alarm {
  let rang = false;
  let woken = false;
  let end: () => void = nothing;

  return {
    ring() {
      rang = true;
      end();
    },
    wake() {
      woken = true;
      end();
    },
    takeRing() {
      const before = rang;
      rang = false;
      return before;
    },
    async sleep(ms, restMs, signal) {
      await pause(Math.min(ms, restMs), signal, nothing);
      if (!rang && !woken && ms > restMs) {
        await pause(ms - restMs, signal, (done) => {
          end = done;
        });
        end = nothing;
      }
      woken = false;
    },
  };
}

function pause(ms: number, signal: AbortSignal, open: (end: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    open(done);
    if (signal.aborted) done();
  });
}

function nothing(): void {}
