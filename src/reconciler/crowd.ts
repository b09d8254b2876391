import pLimit, { type LimitFunction } from "p-limit";

/** The most calls of this process that one origin sees at once. */
export const CROWD = 16;

/** Runs `act` when there is room at its origin; undefined: no neighbour to spare. */
export type Crowd = <T>(origin: string | undefined, act: () => Promise<T>) => Promise<T>;

export function makeCrowd(most = CROWD): Crowd {
  const limits = new Map<string, LimitFunction>();
  return (origin, act) => {
    if (origin === undefined) return act();
    const limit = limits.get(origin) ?? pLimit(most);
    limits.set(origin, limit);
    return limit(act);
  };
}
