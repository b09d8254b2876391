import { type Occurrence, userEvent, type UserEvent } from "../api/userEvent.ts";
import type { LastError, Rotation, Run, SagaRow } from "./row.ts";

/** Life-cycle events for `sme.user.events`, with ids that do not change when they are told again. */

function event(
  type: Occurrence["type"],
  row: SagaRow,
  n: string,
  metadata: Occurrence["metadata"],
  now: Date,
): UserEvent {
  const { uuid, tenantID, email, keycloakUserID, newapiUserID, secretName } = row;
  return userEvent({ type, uuid, tenantID, email, keycloakUserID, newapiUserID, secretName, n, metadata }, now);
}

/** `row` is as it will be recorded; `rotation` is what the run carried out, if it rotated. */
export function finishedEvents(row: SagaRow, run: Run, rotation: Rotation | undefined, now: Date): UserEvent[] {
  const generation = String(run.generation);
  const events = [event("sme.user.created", row, "", { generation }, now)];
  if (run.reason === "edit" || run.reason === "handover") {
    events.push(event("sme.user.updated", row, `${row.objectUID ?? ""}/${generation}`, { generation }, now));
  }
  if (run.rotated === true) {
    const n = [row.keyGeneration, rotation?.requestedAt, rotation?.at].filter((part) => part !== undefined).join("/");
    events.push(event("sme.user.key-rotated", row, n, { key_generation: String(row.keyGeneration) }, now));
  }
  return events;
}

/** The row has just become `failed`. */
export function failedEvent(row: SagaRow, step: LastError["step"], code: string, now: Date): UserEvent {
  const n = [row.objectUID, row.run?.generation, row.failedSince?.toISOString()].map((part) => part ?? "").join("/");
  return event("sme.user.failed", row, n, { step, code }, now);
}

export function deletedEvent(row: SagaRow, now: Date): UserEvent {
  return event("sme.user.deleted", row, row.deleting?.objectUID ?? "", {}, now);
}
