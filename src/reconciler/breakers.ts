import { RETRIES } from "../lib/backoff.ts";
import type { Clock, Random } from "../lib/clock.ts";

/** Consecutive failures after which an upstream counts as down. */
const OPENS_AFTER = 5;
/** Those who wait are called when the upstream is back; this is for the call that is lost. */
const SAFETY_MS = 30_000;

interface Circuit {
  failures: number;
  open: boolean;
  /** The probe before it opens is under way. */
  confirming: boolean;
  /** When somebody was answered last. */
  answeredAt: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Circuit breakers by name (an origin: scheme, host and port). Five failures in a row, and a probe that is not answered
 * either, open one: nobody goes there any more but one probe a second, until one is answered. Somebody who answers the
 * probe is there: then it is a tenant's own realm that is silent (see tenantBreakers). Knows nothing of what stands
 * behind a name.
 */
export interface Breakers {
  /** Undefined: continue. A moment: wait until then, or until called. */
  ask(name: string): Date | undefined;
  success(name: string): void;
  /** No answer. `begunAt`: when the call began; one that began before the last answer tells nothing new. */
  failure(name: string, begunAt?: number): void;
  /** Names of the open ones. */
  open(): readonly string[];
  stop(): void;
}

export interface BreakerDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** One cheap question whether anybody answers there. Must end by itself; a rejection counts as no. */
  readonly probe: (name: string) => Promise<boolean>;
  /** Those who wait may resume. */
  readonly recovered: (name: string) => void;
}

export function makeBreakers({ clock, random, probe, recovered }: BreakerDeps): Breakers {
  const circuits = new Map<string, Circuit>();

  function at(name: string): Circuit {
    const known = circuits.get(name);
    if (known !== undefined) return known;
    const fresh = {
      failures: 0,
      open: false,
      confirming: false,
      answeredAt: Number.NEGATIVE_INFINITY,
      timer: undefined,
    };
    circuits.set(name, fresh);
    return fresh;
  }

  function close(name: string): void {
    const circuit = at(name);
    const wasOpen = circuit.open;
    clearTimeout(circuit.timer);
    Object.assign(circuit, { failures: 0, open: false, answeredAt: clock.now(), timer: undefined });
    if (wasOpen) recovered(name);
  }

  async function confirm(name: string, circuit: Circuit): Promise<void> {
    circuit.confirming = true;
    const answers = await probe(name).catch(() => false);
    circuit.confirming = false;
    if (circuits.get(name) !== circuit || circuit.open) return;
    if (answers) circuit.failures = 0;
    if (circuit.failures < OPENS_AFTER) return;
    circuit.open = true;
    probeLater(name, circuit);
  }

  function probeLater(name: string, circuit: Circuit): void {
    circuit.timer = setTimeout(() => {
      void probe(name)
        .catch(() => false)
        .then((answers) => {
          if (circuits.get(name) !== circuit || !circuit.open) return;
          if (answers) close(name);
          else probeLater(name, circuit);
        });
    }, RETRIES.probe.firstMs);
    circuit.timer.unref();
  }

  return {
    ask(name) {
      if (circuits.get(name)?.open !== true) return undefined;
      return new Date(clock.now() + SAFETY_MS * (1 + random()));
    },
    success: close,
    failure(name, begunAt = clock.now()) {
      const circuit = at(name);
      if (begunAt < circuit.answeredAt) return;
      circuit.failures += 1;
      if (circuit.failures >= OPENS_AFTER && !circuit.open && !circuit.confirming) void confirm(name, circuit);
    },
    open: () => [...circuits].filter(([, circuit]) => circuit.open).map(([name]) => name),
    stop() {
      for (const circuit of circuits.values()) clearTimeout(circuit.timer);
      circuits.clear();
    },
  };
}
