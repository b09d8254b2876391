import type { Clock } from "../lib/clock.ts";

/** Consecutive failures after which a neighbour counts as down. */
const OPENS_AFTER = 5;
/** One probe a second per process, whatever the number of sagas that wait. */
const PROBE_EVERY_MS = 1000;

interface Circuit {
  failures: number;
  /** When the next probe may go; undefined while closed. */
  probeAt: number | undefined;
}

/**
 * Circuit breakers by name: an origin (scheme, host, port) for network errors, 5xx and 429; a tenant's realm or gateway
 * for refused credentials. Knows nothing of what stands behind a name.
 */
export interface Breakers {
  /** Undefined: go on. A moment: wait until then. An open circuit lets one caller a second through, as its probe. */
  ask(name: string): Date | undefined;
  /** True when this success closed an open circuit: those who wait may go on. */
  success(name: string): boolean;
  failure(name: string): void;
  isOpen(name: string): boolean;
}

export function makeBreakers(clock: Clock): Breakers {
  const circuits = new Map<string, Circuit>();
  return {
    ask(name) {
      const circuit = circuits.get(name);
      if (circuit?.probeAt === undefined) return undefined;
      const now = clock.now();
      if (now < circuit.probeAt) return new Date(circuit.probeAt);
      circuit.probeAt = now + PROBE_EVERY_MS;
      return undefined;
    },
    success(name) {
      const circuit = circuits.get(name);
      if (circuit === undefined) return false;
      circuits.delete(name);
      return circuit.probeAt !== undefined;
    },
    failure(name) {
      const circuit = circuits.get(name) ?? { failures: 0, probeAt: undefined };
      circuit.failures += 1;
      if (circuit.failures >= OPENS_AFTER) circuit.probeAt = clock.now() + PROBE_EVERY_MS;
      circuits.set(name, circuit);
    },
    isOpen(name) {
      return circuits.get(name)?.probeAt !== undefined;
    },
  };
}
