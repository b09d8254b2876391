import type { Clock } from "../lib/clock.ts";
import { withDeadline } from "../lib/deadline.ts";
import { isOverload, isSilence, type SagaError, TransientError } from "../lib/errors.ts";
import { CALL_DEADLINE_MS } from "../lib/http.ts";
import type { Jobs } from "../lib/jobs.ts";
import type { LoopPart } from "../lib/lifecycle.ts";
import type { PendingUser } from "../store/waiting.ts";
import { REASON } from "../api/reasons.ts";
import { originAt, type TenantRegistry } from "./access.ts";
import type { Breakers } from "./breakers.ts";
import { asSagaError, closedTo, judgeCall } from "./judge.ts";
import { loopPart } from "./loops.ts";
import type { OriginLimits } from "./originLimits.ts";
import type { PendingUsers } from "./pending.ts";
import type { PinAnswer, PinQuestions } from "./pinQuestions.ts";
import type { TenantBreakers } from "./tenantBreakers.ts";

/** Pins that one job of a tenant asks about before the next one has its turn. */
const AT_ONCE = 10;
const IDLE_MS = 30_000;

export interface PinLookupDeps {
  readonly questions: PinQuestions;
  readonly tenants: Pick<TenantRegistry, "get">;
  /** Of their own: what runs here may take as long as a call does. */
  readonly jobs: Pick<Jobs, "run">;
  readonly breakers: Pick<Breakers, "ask" | "success" | "failure">;
  readonly tenantBreakers: Pick<TenantBreakers, "ask" | "recordAccepted" | "recordAuthFailure" | "recordSilence">;
  readonly originLimits: Pick<OriginLimits, "run">;
  readonly pending: Pick<PendingUsers, "missed">;
  readonly clock: Clock;
  readonly deadlineMs?: number;
}

/**
 * Asks Keycloak whether a user of the tenant carries a pinned uuid, beside the intake: a Keycloak that never answers keeps
 * its own tenant's questions waiting, and nothing else.
 */
export function makePinLookups(deps: PinLookupDeps): LoopPart {
  const { questions, tenants, pending, clock, breakers, tenantBreakers } = deps;
  let progress = clock.now();

  async function run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      progress = clock.now();
      for (const tenantID of questions.takeAsked()) runFor(tenantID);
      await questions.asked.wait(IDLE_MS, stop);
    }
  }

  /** One after the other, the tenant's alone: what has no answer is asked again by the job. */
  async function answerAll(tenantID: string, signal: AbortSignal): Promise<void> {
    const mine = questions.open(tenantID);
    if (mine === undefined) return;
    let failed: SagaError | undefined;
    for (const [pin, objects] of [...mine].slice(0, AT_ONCE)) {
      try {
        const answer = await lookUp(tenantID, pin, signal);
        mine.delete(pin);
        if (answer !== undefined) noteAnswer(tenantID, pin, answer, objects);
      } catch (error) {
        failed = asSagaError(error, "keycloak");
        if (signal.aborted) throw failed;
        // What one pin is refused for is its own matter, and the others have their turn before it is asked again.
        if (mine.delete(pin)) mine.set(pin, objects);
        // Behind a silence nobody would be answered.
        const others = isSilence(failed) ? [...mine] : [[pin, objects] as const];
        for (const [other, those] of others) {
          if (questions.known(tenantID, other) === undefined) noteAnswer(tenantID, other, "unanswered", those);
        }
        if (isSilence(failed)) throw failed;
      }
    }
    if (failed !== undefined) throw failed;
    if (mine.size === 0) questions.close(tenantID);
    else runFor(tenantID);
  }

  function runFor(tenantID: string): void {
    deps.jobs.run({ queue: tenantID, key: "pins" }, (signal) => answerAll(tenantID, signal));
  }

  function noteAnswer(
    tenantID: string,
    pin: string,
    answer: PinAnswer,
    objects: ReadonlyMap<string, PendingUser>,
  ): void {
    questions.note(tenantID, pin, answer);
    for (const object of objects.values()) pending.missed(object);
  }

  /** Undefined: the Tenant is not worked with, and calls its people when it is. */
  async function lookUp(tenantID: string, pin: string, signal: AbortSignal): Promise<PinAnswer | undefined> {
    const tenant = tenants.get(tenantID);
    const realm = tenant?.realm;
    if (tenant?.ready !== true || realm === undefined) return undefined;
    const origin = originAt(tenant.spec, "keycloak");
    if (closedTo(deps, tenant, "keycloak") !== undefined) {
      throw new TransientError({
        code: REASON.UpstreamUnavailable,
        upstream: "keycloak",
        message: `Keycloak at ${origin} does not answer; it is not asked until it does.`,
      });
    }
    const find = (cut: AbortSignal): Promise<string | undefined> => realm.findUser(pin, tenantID, cut);
    const found = await deps.originLimits.run(
      {
        origin,
        tenantID,
        whileWaiting: () => Promise.resolve(),
        act: async () => {
          const began = clock.now();
          try {
            const userID = await withDeadline(signal, deps.deadlineMs ?? CALL_DEADLINE_MS, find);
            breakers.success(origin);
            tenantBreakers.recordAccepted(tenantID, "keycloak");
            return userID;
          } catch (error) {
            const failure = asSagaError(error, "keycloak");
            if (!signal.aborted) judgeCall(deps, { origin, tenantID, person: pin, failure, began });
            throw failure;
          }
        },
        judge: (error) => (!signal.aborted && isOverload(asSagaError(error, "keycloak")) ? "overloaded" : "neither"),
      },
      signal,
    );
    return found === undefined ? "free" : "carried";
  }

  return loopPart({ name: "pin lookups", run, lastProgress: () => progress });
}
