import type { Clock, Random } from "../lib/clock.ts";

/** Consecutive failures after which a neighbour counts as down. */
const OPENS_AFTER = 5;
/** One probe a second per process, whatever the number of sagas that wait. */
const PROBE_EVERY_MS = 1000;
/** Those who wait are called when the neighbour is back; this is for the call that is lost. */
const SAFETY_MS = 30_000;

interface Circuit {
  failures: number;
  open: boolean;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Circuit breakers by name (an origin: scheme, host and port). Five failures in a row open one: nobody goes there any
 * more but one probe a second, until one is answered. Knows nothing of what stands behind a name.
 */
export interface Breakers {
  /** Undefined: go on. A moment: wait until then, or until called. */
  ask(name: string): Date | undefined;
  success(name: string): void;
  failure(name: string): void;
  /** Names of the open ones. */
  open(): readonly string[];
  stop(): void;
}

export interface BreakerDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** One cheap look whether anybody answers there. Must end by itself; a rejection counts as no. */
  readonly probe: (name: string) => Promise<boolean>;
  /** Those who wait may go on. */
  readonly recovered: (name: string) => void;
}

export function makeBreakers({ clock, random, probe, recovered }: BreakerDeps): Breakers {
  const circuits = new Map<string, Circuit>();

  function close(name: string): void {
    const circuit = circuits.get(name);
    if (circuit === undefined) return;
    clearTimeout(circuit.timer);
    circuits.delete(name);
    if (circuit.open) recovered(name);
  }

  function probeLater(name: string, circuit: Circuit): void {
    circuit.timer = setTimeout(() => {
      void probe(name)
        .catch(() => false)
        .then((answers) => {
          if (circuits.get(name) !== circuit) return;
          if (answers) close(name);
          else probeLater(name, circuit);
        });
    }, PROBE_EVERY_MS);
    circuit.timer.unref();
  }

  return {
    ask(name) {
      if (circuits.get(name)?.open !== true) return undefined;
      return new Date(clock.now() + SAFETY_MS * (1 + random()));
    },
    success: close,
    failure(name) {
      const circuit = circuits.get(name) ?? { failures: 0, open: false, timer: undefined };
      circuits.set(name, circuit);
      circuit.failures += 1;
      if (circuit.failures < OPENS_AFTER || circuit.open) return;
      circuit.open = true;
      probeLater(name, circuit);
    },
    open: () => [...circuits].filter(([, circuit]) => circuit.open).map(([name]) => name),
    stop() {
      for (const circuit of circuits.values()) clearTimeout(circuit.timer);
      circuits.clear();
    },
  };
}
