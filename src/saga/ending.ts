/** What only a person may end: accounts that have no object any more, and cleanups that are pending and will never be done. */
import { REASON } from "../api/reasons.ts";
import type { Ownerless } from "../api/operator.ts";
import { userEvent, type UserEvent } from "../api/userEvent.ts";
import { remember } from "./advance.ts";
import { type RowPatch, type SagaRow, type StepName, STEPS } from "./row.ts";

/** Whose word it is. */
export interface Order {
  readonly by: string;
  readonly reason: string;
}

export type Ending =
  | { readonly kind: "refused"; readonly message: string }
  | {
      readonly kind: "ends";
      readonly patch: RowPatch;
      /** What is undone from here on (purge), or never (waive). */
      readonly pending: readonly StepName[];
      readonly events: readonly UserEvent[];
    };

/** Why the person's accounts live on though no object stands behind them; undefined: one does, or they do not. */
export function ownerless(row: SagaRow, now: Date): Ownerless | undefined {
  if (!row.confirmed || row.voided) return undefined;
  if (row.state === "orphaned" || row.state === "retained") return row.state;
  return inGrace(row, now) && row.deleting?.released === true ? "grace" : undefined;
}

/** Cleanups that are still pending; empty where the finalizer was not released, or the grace is not over. */
export function pending(row: SagaRow, now: Date): StepName[] {
  if (row.state !== "deleting" || row.deleting?.released !== true || inGrace(row, now)) return [];
  return toUndo(row);
}

/** Everything of the person is undone from now on, as if a deletion had been seen. */
export function purging(
  row: SagaRow,
  place: { readonly clusterID: string; readonly otherCluster: boolean },
  order: Order,
  now: Date,
): Ending {
  if (ownerless(row, now) === undefined) return refused(whyNotPurged(row, now));
  if (row.clusterID !== undefined && row.clusterID !== place.clusterID && !place.otherCluster) {
    return refused(
      "The row was written under another cluster, where the person may still be in use: check there first, then pass --other-cluster.",
    );
  }
  return {
    kind: "ends",
    pending: toUndo(row),
    events: [],
    patch: {
      state: "deleting",
      // What was to stay does not: that is the order.
      deletionPolicy: "Delete",
      clusterID: place.clusterID,
      deleting: {
        since: now.toISOString(),
        // A retained row has forgotten its object; the event's id needs a word that no other purge has.
        objectUID: row.deleting?.objectUID ?? row.objectUID ?? `purge/${now.toISOString()}`,
        undone: row.deleting?.undone ?? [],
        locked: row.deleting?.locked ?? [],
        released: true,
        again: row.deleting?.again,
      },
      run: null,
      rotation: null,
      blockedOn: null,
      backoffUntil: null,
      missingSince: null,
      retryCount: 0,
      dueAt: now,
      history: remember(row, {
        at: now.toISOString(),
        state: "deleting",
        reason: REASON.Deleting,
        message: `Purged by ${order.by}: ${order.reason}`,
      }),
    },
  };
}

/** The cleanup is dropped: what was pending stays as it is at the upstream, and nobody comes back to it. */
export function waiving(row: SagaRow, order: Order, now: Date): Ending {
  const dropped = pending(row, now);
  if (dropped.length === 0) return refused(whyNotWaived(row, now));
  const { uuid, tenantID, email, keycloakUserID, newapiUserID, secretName } = row;
  const event = userEvent(
    {
      type: "sme.user.deleted",
      uuid,
      tenantID,
      email,
      keycloakUserID,
      newapiUserID,
      secretName,
      n: row.deleting?.objectUID ?? "",
      metadata: { waived: dropped.join(",") },
    },
    now,
  );
  return {
    kind: "ends",
    pending: dropped,
    events: [event],
    patch: {
      state: "deleted",
      reached: "pending",
      deleting: null,
      objectUID: null,
      run: null,
      handled: null,
      lastError: null,
      previousKeyUntil: null,
      backoffUntil: null,
      retryCount: 0,
      dueAt: null,
      history: remember(row, {
        at: now.toISOString(),
        state: "deleted",
        reason: REASON.CleanupPending,
        message: `Waived by ${order.by}, never undone: ${dropped.join(", ")}. ${order.reason}`,
      }),
    },
  };
}

function inGrace({ deleting }: SagaRow, now: Date): boolean {
  return deleting?.purgeAt !== undefined && new Date(deleting.purgeAt) > now;
}

function toUndo({ deleting }: SagaRow): StepName[] {
  return STEPS.toReversed().filter((step) => deleting?.undone.includes(step) !== true);
}

function whyNotPurged(row: SagaRow, now: Date): string {
  if (!row.confirmed || row.voided) return "Nothing was ever made for this row, so there is nothing to purge.";
  if (row.state === "deleted") return "Everything of this person is undone already.";
  if (pending(row, now).length > 0)
    return "This is a pending cleanup: it runs automatically when the upstream answers.";
  if (row.deleting !== undefined) return "The object is being deleted, and everything is undone with it.";
  return "A TenantUser owns these accounts: remove it from Git, and they are removed.";
}

function whyNotWaived(row: SagaRow, now: Date): string {
  if (row.state === "deleted") return "No cleanup is pending any more.";
  if (row.deleting === undefined) return "No cleanup is pending: nobody has deleted this person.";
  if (row.state === "orphaned") return "Its deletion stopped when its cluster was lost; purge removes what is left.";
  if (inGrace(row, now)) return "No cleanup is pending before the grace period is over; purge ends it now.";
  return "The finalizer still holds the object. It is released after 10 minutes; only then a cleanup is pending.";
}

function refused(message: string): Ending {
  return { kind: "refused", message };
}
