import type { Clock } from "../../lib/clock.ts";
import { isOutage } from "../turns.ts";

/** How far the loop has come: by each item, so that long honest work is no hang. A loop whose loads all fail is not alive. */
export interface Progress {
  moved(): void;
  loaded(): void;
  /** Somebody else's outage is honest; all else is our own mistake. */
  failed(error: unknown): void;
  lastProgress(): number;
}

export function makeProgress(clock: Clock): Progress {
  let at = clock.now();
  let brokenSince: number | undefined;
  return {
    moved: () => void (at = clock.now()),
    loaded: () => void (brokenSince = undefined),
    failed: (error) => void (brokenSince = isOutage(error) ? undefined : (brokenSince ?? clock.now())),
    lastProgress: () => brokenSince ?? at,
  };
}
