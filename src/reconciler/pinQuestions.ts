import type { Clock } from "../lib/clock.ts";
import { makeNotifier, type Notifier } from "../lib/notifier.ts";
import type { PendingUser } from "../store/waiting.ts";

/** How long an answer counts. Whoever asked reads it at once; it is for those who come soon after. */
const FRESH_MS = 5 * 60_000;
/** Answers that are kept, of all tenants together. */
const MOST_ANSWERS = 10_000;

/** What is known of a pin: a user of this tenant carries it in Keycloak, none does, or Keycloak was asked and said nothing. */
export type PinAnswer = "carried" | "free" | "unanswered";

/** A pin whose owner only Keycloak knows, and the object that has it. */
export interface PinQuestion {
  readonly tenantID: string;
  readonly pin: string;
  readonly object: PendingUser;
}

/** What the intake sees of it. */
export interface Pins {
  /** Never asks anybody; undefined: not known. */
  known(tenantID: string, pin: string): PinAnswer | undefined;
  /** Is asked until there is an answer; then, and once when there is none, the object is considered again. */
  ask(question: PinQuestion): void;
}

/** Which pins Keycloak is to be asked about, and what it said. Plain data: the intake asks, the lookups answer. */
export interface PinQuestions extends Pins {
  /** Given when a tenant without questions has one. */
  readonly asked: Notifier;
  /** The tenants that `asked` was given for since this was called last. */
  takeAsked(): readonly string[];
  /** The objects with each pin that is asked about. */
  open(tenantID: string): Map<string, Map<string, PendingUser>> | undefined;
  /** All its questions are answered. */
  close(tenantID: string): void;
  note(tenantID: string, pin: string, answer: PinAnswer): void;
}

export function makePinQuestions(clock: Clock): PinQuestions {
  const open = new Map<string, Map<string, Map<string, PendingUser>>>();
  const answers = new Map<string, { readonly answer: PinAnswer; readonly until: number }>();
  const asked = makeNotifier();
  let tenants = new Set<string>();

  const nameOf = (tenantID: string, pin: string): string => `${tenantID}/${pin}`;

  return {
    asked,
    known(tenantID, pin) {
      const found = answers.get(nameOf(tenantID, pin));
      return found === undefined || found.until <= clock.now() ? undefined : found.answer;
    },
    ask({ tenantID, pin, object }) {
      const mine = open.get(tenantID) ?? new Map<string, Map<string, PendingUser>>();
      const objects = mine.get(pin) ?? new Map<string, PendingUser>();
      const isAsked = mine.size > 0;
      open.set(tenantID, mine);
      mine.set(pin, objects.set(object.uid, object));
      // While there are questions, the tenant's job runs, or its next try waits.
      if (isAsked) return;
      tenants.add(tenantID);
      asked.notify();
    },
    takeAsked() {
      const taken = [...tenants];
      tenants = new Set();
      return taken;
    },
    open: (tenantID) => open.get(tenantID),
    close: (tenantID) => void open.delete(tenantID),
    note(tenantID, pin, answer) {
      const name = nameOf(tenantID, pin);
      // The one that was noted first is the first to go.
      answers.delete(name);
      answers.set(name, { answer, until: clock.now() + FRESH_MS });
      for (const [oldest, { until }] of answers) {
        if (answers.size <= MOST_ANSWERS && until > clock.now()) break;
        answers.delete(oldest);
      }
    },
  };
}
