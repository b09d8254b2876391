/** What both kinds' statuses say in conditions, and when it changed. */
import type { Condition } from "../api/meta.ts";
import { CONDITION } from "../api/reasons.ts";

export type ConditionState = Pick<Condition, "status" | "reason" | "message">;

export interface WithConditions {
  readonly conditions?: readonly Condition[] | undefined;
}

export function isTrue(reason: string, message: string): ConditionState {
  return { status: "True", reason, message };
}

export function isFalse(reason: string, message: string): ConditionState {
  return { status: "False", reason, message };
}

export function conditionOf(status: WithConditions | undefined, type: string): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

/** The condition as it is written; `before`: as it was. */
export function conditionAfter(
  before: Condition | undefined,
  now: ConditionState & { readonly type: string; readonly observedGeneration: number },
  at: Date,
): Condition {
  const isSame = before?.status === now.status;
  return { ...now, lastTransitionTime: isSame ? before.lastTransitionTime : at.toISOString().replace(/\.\d+Z$/, "Z") };
}

/** The Ready condition, when it says something else than before: worth an Event. */
export function changedReadiness(before: WithConditions | undefined, after: WithConditions): Condition | undefined {
  const was = conditionOf(before, CONDITION.Ready);
  const is = conditionOf(after, CONDITION.Ready);
  return is === undefined || (was?.status === is.status && was.reason === is.reason) ? undefined : is;
}
