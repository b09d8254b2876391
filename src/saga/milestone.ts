import { reasonEntry } from "../api/reasons.ts";
import type { Observation } from "./decide.ts";
import type { RowPatch, SagaRow } from "./row.ts";

/** What an objective measures: a user who is Ready for the first time, or whose access is gone. */
export interface Milestone {
  readonly kind: "ready" | "removed";
  readonly seconds: number;
}

/**
 * What recording `patch` for `row` reaches, and how long after the creation or the deletion of the object. Undefined:
 * neither. Also for who was not Ready because the tenant had to act: how long that takes says nothing about the service.
 */
export function milestone(row: SagaRow, observation: Observation, patch: RowPatch, now: Date): Milestone | undefined {
  if (patch.state === "done" && row.handled === undefined && row.objectCreatedAt !== undefined) {
    if (row.lastError !== undefined && reasonEntry(row.lastError.code).actor === "tenant") return undefined;
    return { kind: "ready", seconds: secondsSince(row.objectCreatedAt, now) };
  }
  const { deleting, state } = row;
  if (deleting === undefined || deleting.released || deleting.again === true || state === "orphaned") return undefined;
  if (patch.deleting !== null && patch.deleting?.released !== true) return undefined;
  const deletedAt = observation.kind === "deleting" ? observation.deletedAt : new Date(deleting.since);
  return { kind: "removed", seconds: secondsSince(deletedAt, now) };
}

/** The API server counts whole seconds, by a clock of its own. */
function secondsSince(then: Date, now: Date): number {
  return Math.max(0, (now.getTime() - then.getTime()) / 1000);
}
