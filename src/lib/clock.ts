/** Time and randomness are dependencies: pure code takes a `now`, stateful parts take a Clock. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** A random number in [0, 1). */
export type Random = () => number;
