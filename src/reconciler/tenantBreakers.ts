import { exactPauseMs, RETRIES } from "../lib/backoff.ts";
import type { Clock } from "../lib/clock.ts";
import type { Closed, TenantUpstream } from "../saga/decide.ts";

/** Refusals, or calls without an answer, in a row after which nobody of the tenant goes there any more. */
const OPENS_AFTER = 5;
/** Those who wait are called when the check is green; this is for the call that is lost. */
const SAFETY_MS = 30_000;
/** Whoever was refused while the check stays green is tried once more after this: what refused them may have passed. */
const ONCE_MORE_MS = 60_000;
/** And so again for refusals that come this long after. */
const ONCE_MORE_EACH_MS = 60 * 60_000;

interface Circuit {
  readonly upstream: TenantUpstream;
  refusals: number;
  silences: number;
  /** Who got no answer: one person's failure is not the tenant's. */
  readonly unanswered: Set<string>;
  open: boolean;
  why: Closed["why"];
  /** How often it opened since the last call that was let in. */
  openings: number;
  /** A green check before this is not believed. */
  believeFrom: number;
  /** Whether the check was red since it opened: then its green is news. */
  red: boolean;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Breakers of one tenant at one upstream: its credential is refused, its realm is gone, or its realm alone does not answer
 * (its user directory is away) while the upstream does. Their probe is the Tenant's own check, which is asked for at the
 * first refusal; while one is open, the tenant's people wait, and nobody else's.
 */
export interface TenantBreakers {
  /** Undefined: nothing is in the way. Else wait until then, or until called. */
  ask(tenantID: string, upstream: TenantUpstream): Closed | undefined;
  /** A call of the tenant was let in. */
  recordAccepted(tenantID: string, upstream: TenantUpstream): void;
  recordAuthFailure(tenantID: string, upstream: TenantUpstream): void;
  /** A call for `person`, begun at `begunAt`, was not answered. */
  recordSilence(tenantID: string, upstream: TenantUpstream, person: string, begunAt: number): void;
  /** What the Tenant's check found there. */
  recordCheck(tenantID: string, upstream: TenantUpstream, isWell: boolean): void;
  /** Those that are open. */
  open(): readonly { readonly upstream: TenantUpstream; readonly why: Closed["why"] }[];
  stop(): void;
}

export interface TenantBreakerDeps {
  readonly clock: Clock;
  /** Asks for the Tenant's check at once. */
  readonly requestRecheck: (tenantID: string) => void;
  /** Those who wait for this upstream may resume; `resume`: also those whom the refusal had stopped. */
  readonly recovered: (tenantID: string, upstream: TenantUpstream, resume: boolean) => void;
}

export function makeTenantBreakers({ clock, requestRecheck, recovered }: TenantBreakerDeps): TenantBreakers {
  const circuits = new Map<string, Circuit>();
  /** By circuit: when those whom a refusal had stopped are, or were last, tried once more. */
  const onceMore = new Map<string, { readonly at: number; readonly timer: NodeJS.Timeout }>();
  /** When a call of the tenant was answered last; one that began before tells nothing new by its silence. */
  const answeredAt = new Map<string, number>();
  const keyOf = (tenantID: string, upstream: TenantUpstream): string => `${upstream}/${tenantID}`;

  function at(tenantID: string, upstream: TenantUpstream): Circuit {
    const key = keyOf(tenantID, upstream);
    const known = circuits.get(key);
    if (known !== undefined) return known;
    const fresh: Circuit = {
      upstream,
      refusals: 0,
      silences: 0,
      unanswered: new Set(),
      open: false,
      why: "refuses",
      openings: 0,
      believeFrom: 0,
      red: false,
      timer: undefined,
    };
    circuits.set(key, fresh);
    return fresh;
  }

  function openUp(tenantID: string, circuit: Circuit, why: Closed["why"]): void {
    circuit.open = true;
    circuit.why = why;
    circuit.red = false;
    circuit.openings += 1;
    // A check that is green while the calls are refused is believed ever later.
    const distrustMs = circuit.openings === 1 ? 0 : exactPauseMs(RETRIES.credential, circuit.openings - 1);
    circuit.believeFrom = clock.now() + distrustMs;
    requestRecheck(tenantID);
  }

  /** A circuit may close, or be forgotten at a colleague's next call, and those whom it had stopped would stay stopped. */
  function tryOnceMore(tenantID: string, upstream: TenantUpstream): void {
    const key = keyOf(tenantID, upstream);
    const now = clock.now();
    if (now < (onceMore.get(key)?.at ?? -ONCE_MORE_EACH_MS) + ONCE_MORE_EACH_MS) return;
    const timer = setTimeout(() => {
      // While it is open nobody is let there; they are called when it closes.
      if (circuits.get(key)?.open !== true) recovered(tenantID, upstream, true);
    }, ONCE_MORE_MS);
    timer.unref();
    onceMore.set(key, { at: now + ONCE_MORE_MS, timer });
  }

  return {
    ask(tenantID, upstream) {
      const circuit = circuits.get(keyOf(tenantID, upstream));
      return circuit?.open === true ? { why: circuit.why, until: new Date(clock.now() + SAFETY_MS) } : undefined;
    },
    recordAccepted(tenantID, upstream) {
      const key = keyOf(tenantID, upstream);
      answeredAt.set(key, clock.now());
      const circuit = circuits.get(key);
      if (circuit === undefined) return;
      clearTimeout(circuit.timer);
      circuits.delete(key);
      if (circuit.open) recovered(tenantID, upstream, true);
    },
    recordAuthFailure(tenantID, upstream) {
      const circuit = at(tenantID, upstream);
      circuit.refusals += 1;
      tryOnceMore(tenantID, upstream);
      if (circuit.open) return;
      if (circuit.refusals >= OPENS_AFTER) openUp(tenantID, circuit, "refuses");
      else if (circuit.refusals === 1) requestRecheck(tenantID);
    },
    recordSilence(tenantID, upstream, person, begunAt) {
      const key = keyOf(tenantID, upstream);
      if (begunAt < (answeredAt.get(key) ?? Number.NEGATIVE_INFINITY)) return;
      const circuit = at(tenantID, upstream);
      circuit.silences += 1;
      if (circuit.unanswered.size < OPENS_AFTER) circuit.unanswered.add(person);
      if (circuit.open || circuit.silences < OPENS_AFTER || circuit.unanswered.size < 2) return;
      openUp(tenantID, circuit, "silent");
    },
    recordCheck(tenantID, upstream, isWell) {
      const circuit = circuits.get(keyOf(tenantID, upstream));
      if (circuit?.open !== true) return;
      if (!isWell) {
        circuit.red = true;
        return;
      }
      clearTimeout(circuit.timer);
      const doubt = circuit.red ? 0 : circuit.believeFrom - clock.now();
      if (doubt > 0) {
        circuit.timer = setTimeout(() => requestRecheck(tenantID), doubt);
        circuit.timer.unref();
        return;
      }
      circuit.open = false;
      circuit.refusals = 0;
      circuit.silences = 0;
      circuit.unanswered.clear();
      // Whoever is refused again and again under a green check stays with what he was told: it is his own matter.
      recovered(tenantID, upstream, circuit.red || circuit.openings === 1);
    },
    open: () => [...circuits.values()].filter((circuit) => circuit.open),
    stop() {
      for (const circuit of circuits.values()) clearTimeout(circuit.timer);
      for (const { timer } of onceMore.values()) clearTimeout(timer);
      circuits.clear();
      onceMore.clear();
      answeredAt.clear();
    },
  };
}
