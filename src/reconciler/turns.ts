import type { Clock } from "../lib/clock.ts";
import { isSagaError } from "../lib/errors.ts";

/** Failures of Postgres and of the network that pass by themselves: connections, resources, restarts, locks, time-outs. */
const PASSING = /^(08|28|3D|40|53|55|57|58)...$|^(ECONN|ENOTFOUND|ETIMEDOUT|EPIPE|EHOST|ENET|EAI_)/;
/** What pg says without a code. */
const LOST = /timeout|timed out|terminated|connection|not queryable|shutting down/i;

/** Somebody else is away. Anything else that fails a turn is our own mistake, or a row that spoils it. */
export function isOutage(error: unknown): boolean {
  if (isSagaError(error)) return true;
  if (!(error instanceof Error)) return false;
  if (error.name === "AbortError" || error.name === "TimeoutError") return true;
  const { code } = error as { code?: unknown };
  if (typeof code === "string" && code !== "") return PASSING.test(code);
  return (
    !(error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError) &&
    LOST.test(error.message)
  );
}

/** How far a loop has come: only turns that went well move it, and those that only somebody else's outage has failed. */
export interface Turns {
  done(): void;
  failed(error: unknown): void;
  lastProgress(): number;
}

export function makeTurns(clock: Clock): Turns {
  let at = clock.now();
  return {
    done: () => void (at = clock.now()),
    failed: (error) => {
      if (isOutage(error)) at = clock.now();
    },
    lastProgress: () => at,
  };
}
