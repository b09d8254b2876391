import type { Part } from "../lib/lifecycle.ts";
import type { Log } from "../lib/log.ts";

/** Often enough that a killed replica's work goes on within a few seconds; one cheap statement each. */
const LOOK_EVERY_MS = 2_000;

/**
 * Which workers live, by the numbers of their sessions. Postgres away: as last seen, for nobody's share of the work
 * should move because of that.
 */
export function makeMembership(deps: {
  readonly living: () => Promise<readonly number[]>;
  /** The number of this process; undefined while it has none. */
  readonly own: () => number | undefined;
  /** Called with the first answer and whenever somebody came or went, or the own number changed; sorted. */
  readonly changed: (living: readonly number[], own: number | undefined) => void;
  readonly log: Log;
  readonly everyMs?: number;
}): Part {
  let known: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> = Promise.resolve();
  let isStopped = false;

  async function look(): Promise<void> {
    try {
      const living = (await deps.living()).toSorted((a, b) => a - b);
      const own = deps.own();
      const now = `${living.join()}/${own ?? ""}`;
      if (now !== known && !isStopped) {
        known = now;
        deps.changed(living, own);
      }
    } catch (error) {
      deps.log.debug("It could not be read who else works; nothing is changed by that.", { error });
    }
    if (!isStopped) arm();
  }

  function arm(): void {
    timer = setTimeout(() => {
      looking = look();
    }, deps.everyMs ?? LOOK_EVERY_MS);
  }

  return {
    name: "membership",
    start: () => {
      looking = look();
    },
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      await looking;
    },
  };
}
