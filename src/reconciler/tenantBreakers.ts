import type { Clock } from "../lib/clock.ts";
import type { TenantNeighbour } from "../saga/decide.ts";

/** Refusals in a row after which nobody of the tenant goes there any more. */
const OPENS_AFTER = 5;
/** Those who wait are called when the check is green; this is for the call that is lost. */
const SAFETY_MS = 30_000;
/** A check that is green while the calls are refused is believed after this, then after twice as long, and so on. */
const DOUBT_MS = 10_000;
const LONGEST_DOUBT_MS = 5 * 60_000;

interface Circuit {
  refusals: number;
  open: boolean;
  /** How often it opened since the last call that was let in. */
  openings: number;
  /** A green check before this is not believed. */
  believeFrom: number;
  /** Whether the check was red since it opened: then its green is news. */
  red: boolean;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Breakers of one tenant at one neighbour: its credential is refused, or its realm is gone. Their probe is the Tenant's
 * own check, which is asked for at the first refusal; while one is open, the tenant's people wait.
 */
export interface TenantBreakers {
  /** Undefined: go on. A moment: wait until then, or until called. */
  ask(tenantID: string, neighbour: TenantNeighbour): Date | undefined;
  /** A call of the tenant was let in. */
  letIn(tenantID: string, neighbour: TenantNeighbour): void;
  refused(tenantID: string, neighbour: TenantNeighbour): void;
  /** What the Tenant's check found there. */
  checked(tenantID: string, neighbour: TenantNeighbour, isWell: boolean): void;
  /** How many are open. */
  open(): number;
  stop(): void;
}

export interface TenantBreakerDeps {
  readonly clock: Clock;
  /** Asks for the Tenant's check at once. */
  readonly suspect: (tenantID: string) => void;
  /** Those who wait may go on; `resume`: also those whom the refusal had stopped. */
  readonly recovered: (tenantID: string, resume: boolean) => void;
}

export function makeTenantBreakers({ clock, suspect, recovered }: TenantBreakerDeps): TenantBreakers {
  const circuits = new Map<string, Circuit>();
  const keyOf = (tenantID: string, neighbour: TenantNeighbour): string => `${neighbour}/${tenantID}`;

  function openUp(tenantID: string, circuit: Circuit): void {
    circuit.open = true;
    circuit.red = false;
    circuit.openings += 1;
    const doubt = circuit.openings === 1 ? 0 : DOUBT_MS * 2 ** Math.min(10, circuit.openings - 2);
    circuit.believeFrom = clock.now() + Math.min(LONGEST_DOUBT_MS, doubt);
    suspect(tenantID);
  }

  return {
    ask(tenantID, neighbour) {
      if (circuits.get(keyOf(tenantID, neighbour))?.open !== true) return undefined;
      return new Date(clock.now() + SAFETY_MS);
    },
    letIn(tenantID, neighbour) {
      const key = keyOf(tenantID, neighbour);
      const circuit = circuits.get(key);
      if (circuit === undefined) return;
      clearTimeout(circuit.timer);
      circuits.delete(key);
      if (circuit.open) recovered(tenantID, true);
    },
    refused(tenantID, neighbour) {
      const key = keyOf(tenantID, neighbour);
      const fresh = { refusals: 0, open: false, openings: 0, believeFrom: 0, red: false, timer: undefined };
      const circuit: Circuit = circuits.get(key) ?? fresh;
      circuits.set(key, circuit);
      circuit.refusals += 1;
      if (circuit.open) return;
      if (circuit.refusals >= OPENS_AFTER) openUp(tenantID, circuit);
      else if (circuit.refusals === 1) suspect(tenantID);
    },
    checked(tenantID, neighbour, isWell) {
      const circuit = circuits.get(keyOf(tenantID, neighbour));
      if (circuit?.open !== true) return;
      if (!isWell) {
        circuit.red = true;
        return;
      }
      clearTimeout(circuit.timer);
      const doubt = circuit.red ? 0 : circuit.believeFrom - clock.now();
      if (doubt > 0) {
        circuit.timer = setTimeout(() => suspect(tenantID), doubt);
        circuit.timer.unref();
        return;
      }
      circuit.open = false;
      circuit.refusals = 0;
      // Whoever is refused again and again under a green check stays with what he was told: it is his own matter.
      recovered(tenantID, circuit.red || circuit.openings === 1);
    },
    open: () => [...circuits.values()].filter((circuit) => circuit.open).length,
    stop() {
      for (const circuit of circuits.values()) clearTimeout(circuit.timer);
      circuits.clear();
    },
  };
}
