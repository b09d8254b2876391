import { REASON } from "../api/reasons.ts";
import type { Random } from "../lib/clock.ts";
import { type SagaError, TerminalError } from "../lib/errors.ts";
import type { Action, DecisionInput } from "../saga/decide.ts";
import type { Desired } from "../saga/desired.ts";
import { type ActionOutcome, conclude, failed, outcomeLog, type OutcomeLog } from "../saga/outcome.ts";
import { type LastError, type SagaRow, STEPS } from "../saga/row.ts";
import type { Binding } from "../store/bindings.ts";
import type { Claim } from "../store/claims.ts";
import type { PendingUser } from "../store/waiting.ts";
import { makeStepCalls, type StepDeps, type StepEnd } from "./callStep.ts";
import { asSagaError } from "./judge.ts";
import { type Lease, LeaseLost } from "./lease.ts";
import type { Observed } from "./observe.ts";
import type { Held } from "./pending.ts";
import { heldBack, recordEvent } from "./writeStatus.ts";

export interface PerformDeps extends StepDeps {
  /** Undefined: the lease is lost. */
  readonly moveEmail: (row: SagaRow, email: string) => Promise<Binding | undefined>;
  readonly handOver: (claim: Claim, to: PendingUser) => Promise<boolean>;
  /** The row gave up something that others of this tenant may wait for. */
  readonly released: (held: Held) => void;
  readonly random: Random;
}

/** Carries out one action. What goes wrong outside is an outcome; throws what Postgres throws, and that the lease is lost. */
export type Perform = (observed: Observed, action: Action) => Promise<ActionOutcome>;

export function makePerform(deps: PerformDeps, lease: Lease, signal: AbortSignal): Perform {
  const { cluster, clock, random } = deps;
  const steps = makeStepCalls(deps, lease, signal);
  const now = (): Date => new Date(clock.now());

  function fail(input: DecisionInput, step: LastError["step"], error: SagaError): ActionOutcome {
    // Told to stop: the failure is ours, not the upstream's. The row is due again for whoever comes next.
    if (signal.aborted) return { patch: {}, next: { dueAt: now() } };
    return failed({ ...input, row: lease.row() }, step, error, now(), random);
  }

  function afterStep(input: DecisionInput, end: StepEnd): ActionOutcome {
    if (end.kind === "failed") return fail(input, end.step, end.failure);
    if (end.kind === "done") return { patch: end.patch, next: "continue" };
    return given(
      outcomeLog("info", "taken-over", "took over the uuid that the person's account carries", { to: end.uuid }),
    );
  }

  async function moveEmail(row: SagaRow, email: string): Promise<ActionOutcome> {
    const binding = await deps.moveEmail(row, email);
    if (binding === undefined) throw new LeaseLost();
    if (binding.kind === "bound") {
      const log = outcomeLog("info", "email-moved", "moved the person to another email");
      return { patch: { email }, isRecorded: true, next: "continue", frees: true, log };
    }
    return { patch: {}, next: { dueAt: null }, situation: heldBack(binding) };
  }

  async function addFinalizer({ object, input }: Observed): Promise<ActionOutcome> {
    if (object === undefined) throw new Error("a finalizer was to be added to no object");
    try {
      const held = await cluster.addFinalizer(object, signal);
      return { patch: {}, isRecorded: true, next: "continue", object: held };
    } catch (error) {
      return fail(input, "finalizer", asSagaError(error, "kubernetes"));
    }
  }

  /**
   * The deleted holder gives its saga to its successor; from then on the row is the successor's. Should the release of the
   * old object fail, it stands among those who wait, and is released when they are looked at.
   */
  async function handOver({ object, input }: Observed, to: PendingUser): Promise<ActionOutcome> {
    const isGiven = await deps.handOver(lease.claim(), to).catch((error: unknown) => {
      // Perhaps only the answer was lost.
      deps.released(lease.row());
      throw error;
    });
    if (!isGiven) throw new LeaseLost();
    if (object !== undefined && input.observation.kind === "deleting") {
      await cluster.removeFinalizer(object, signal).catch(() => undefined);
    }
    const fields = { successor: `${to.namespace}/${to.name}` };
    return { ...given(outcomeLog("info", "handed-over", "handed the saga over", fields)), frees: true };
  }

  async function release({ object, input }: Observed, action: Release): Promise<ActionOutcome> {
    const { row, observation } = input;
    const isHeld = action.kind === "orphan" ? action.release : observation.kind === "deleting";
    try {
      if (isHeld && object !== undefined) {
        if (action.kind === "release" && action.cleanupPending) {
          const event = { type: "Warning", reason: REASON.CleanupPending, note: cleanupSentence(row) } as const;
          await recordEvent(deps, object, event, signal);
        }
        await cluster.removeFinalizer(object, signal);
      }
    } catch (error) {
      return fail(input, "release", asSagaError(error, "kubernetes"));
    }
    return conclude(action, input, now());
  }

  return async (observed, action) => {
    const { input } = observed;
    switch (action.kind) {
      case "refuse": {
        const { reason: code, message } = action.refusal;
        return fail(input, "admission", new TerminalError({ code, message }));
      }
      case "move-email":
        return moveEmail(input.row, action.email);
      case "add-finalizer":
        return addFinalizer(observed);
      case "up":
        return afterStep(input, await steps.up(action.run, desiredOf(input)));
      case "invite":
        await steps.invite(desiredOf(input));
        return { patch: {}, next: "continue" };
      case "down":
        return afterStep(input, await steps.down(action.step, action.how));
      case "hand-over":
        return handOver(observed, action.to);
      case "orphan":
      case "release":
        return release(observed, action);
      case "idle":
      case "sleep":
      case "wait":
      case "suspend":
      case "await-deletion":
      case "begin-down":
      case "retain":
      case "deleted":
      case "finish":
        return conclude(action, input, now());
      default:
        return action satisfies never;
    }
  };
}

type Release = Extract<Action, { kind: "orphan" | "release" }>;

function desiredOf({ observation }: DecisionInput): Desired {
  if (observation.kind !== "present") throw new Error("a step went up without its object");
  return observation.desired;
}

/** The row belongs to another object or uuid from here on, and nothing of this claim can come late. */
function given(log: OutcomeLog): ActionOutcome {
  return { patch: {}, isRecorded: true, next: "given-away", log };
}

function cleanupSentence({ deleting }: SagaRow): string {
  const pending = STEPS.toReversed().filter((step) => deleting?.undone.includes(step) !== true);
  return `The reconciler released the object after 10 minutes and completes its cleanup later: ${pending.join(", ")}.`;
}
