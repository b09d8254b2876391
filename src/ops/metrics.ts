import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { StoreStanding } from "../store/standing.ts";

/**
 * Every metric of both processes. Label values come from closed sets (states, steps, reasons, neighbours): never a
 * person's, an object's or a tenant's name.
 */
export interface Metrics {
  readonly registry: Registry;
  /** One answer of the webhook; `outcome` is one of admission's own few words. */
  admission(answer: { readonly webhook: "mutate" | "validate"; readonly outcome: string; readonly ms: number }): void;
  /** One attempt of a step. `outcome`: done, or the class of the error. */
  step(attempt: { step: string; direction: "up" | "down"; outcome: string; seconds: number }): void;
  /** One more object has become Ready for the first time; seconds since its creation. */
  becameReady(seconds: number): void;
  /** "Look now", and where it came from. */
  look(source: "heartbeat" | "local" | "timer" | "watch"): void;
  /** What stands in the store, read from it now and then; each call replaces all earlier values. */
  standing(now: StoreStanding): void;
  breakers(open: Readonly<Record<string, number>>): void;
  certificateExpires(secondsSinceEpoch: number): void;
  /** A password at a gateway was set anew: its master key is lost or renewed, or somebody else had changed it. */
  passwordReset(why: "master-key" | "refused"): void;
}

const PREFIX = "unified_rbac_";
const FAST = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2];
const ATTEMPTS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const JOURNEY = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600];

/** Its own registry, so that two can live in one test. */
export function makeMetrics(role: "webhook" | "reconciler", options: { runtime?: boolean } = {}): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ role });
  if (options.runtime !== false) collectDefaultMetrics({ register: registry });
  const registers = [registry];

  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `${PREFIX}${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge({ name: `${PREFIX}${name}`, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, buckets: number[], labelNames: L[] = []) =>
    new Histogram({ name: `${PREFIX}${name}`, help, buckets, labelNames, registers });

  const expiry = gauge("certificate_expiry_timestamp_seconds", "When the webhook's certificate ends.");
  if (role === "webhook") {
    const answers = counter("admission_total", "Answers of the webhook.", ["webhook", "outcome"]);
    const seconds = histogram("admission_duration_seconds", "Time to answer.", FAST, ["webhook"]);
    return {
      ...nothing(registry),
      admission({ webhook, outcome, ms }) {
        answers.inc({ webhook, outcome });
        seconds.observe({ webhook }, ms / 1000);
      },
      certificateExpires: (at) => expiry.set(at),
    };
  }

  const steps = counter("step_total", "Attempts of steps.", ["step", "direction", "outcome"]);
  const stepSeconds = histogram("step_duration_seconds", "Time of an attempt.", ATTEMPTS, ["step", "direction"]);
  const ready = histogram("time_to_ready_seconds", "From creation of an object to its first Ready.", JOURNEY);
  const looks = counter("looks_total", "Looks for due work.", ["source"]);
  const users = gauge("users", "Rows by state.", ["state"]);
  const errors = gauge("users_in_error", "Rows by the code of their error.", ["code"]);
  const waiting = gauge("objects_waiting", "Objects that wait for a row.", ["reason"]);
  const due = gauge("sagas_due", "Sagas that are due now.");
  const oldestDue = gauge("oldest_due_seconds", "How long the oldest of them has been due.");
  const debts = gauge("debts", "Objects let go whose rollback is still owed.");
  const outbox = gauge("outbox_events", "Events not yet taken by NATS.");
  const oldestOutbox = gauge("oldest_outbox_seconds", "Age of the oldest of them.");
  const open = gauge("breakers_open", "Breakers that hold back calls.", ["neighbour"]);

  const resets = counter("gateway_password_resets_total", "Passwords set anew at gateways.", ["why"]);

  return {
    ...nothing(registry),
    step(attempt) {
      steps.inc({ step: attempt.step, direction: attempt.direction, outcome: attempt.outcome });
      stepSeconds.observe({ step: attempt.step, direction: attempt.direction }, attempt.seconds);
    },
    becameReady: (seconds) => ready.observe(seconds),
    look: (source) => looks.inc({ source }),
    standing(now) {
      replace(users, "state", now.users);
      replace(errors, "code", now.errors);
      replace(waiting, "reason", now.waiting);
      due.set(now.due);
      oldestDue.set(now.oldestDueSeconds);
      debts.set(now.debts);
      outbox.set(now.outbox);
      oldestOutbox.set(now.oldestOutboxSeconds);
    },
    breakers: (counts) => replace(open, "neighbour", counts),
    passwordReset: (why) => resets.inc({ why }),
    certificateExpires: (at) => expiry.set(at),
  };
}

function ignore(): void {}

/** What a role does not measure costs nothing and shows nothing. */
function nothing(registry: Registry): Metrics {
  return {
    registry,
    admission: ignore,
    step: ignore,
    becameReady: ignore,
    look: ignore,
    standing: ignore,
    breakers: ignore,
    certificateExpires: ignore,
    passwordReset: ignore,
  };
}

/** A state that nobody is in any more must not stand there with its last number. */
function replace<L extends string>(gauge: Gauge<L>, label: L, values: Readonly<Record<string, number>>): void {
  gauge.reset();
  for (const [value, count] of Object.entries(values)) {
    const labels: Partial<Record<L, string>> = {};
    labels[label] = value;
    gauge.set(labels, count);
  }
}
