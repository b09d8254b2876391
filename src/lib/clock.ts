/** Time and randomness are dependencies: pure code takes a `now`, stateful parts take a Clock. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** Ends early, and quietly, by the signal, or by what `open` is given. */
export function pause(ms: number, signal: AbortSignal, open?: (end: () => void) => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", done);
  open?.(done);
  if (signal.aborted) done();
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", done);
  });
}

/** A random number in [0, 1). */
export type Random = () => number;
