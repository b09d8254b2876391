/** What only a person may end: accounts that have no object any more, and undoing that is owed and will never be done. */
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
      readonly owed: readonly StepName[];
      readonly events: readonly UserEvent[];
    };

/** Why the person's accounts live on though no object stands behind them; undefined: one does, or they do not. */
export function ownerless(row: SagaRow, now: Date): Ownerless | undefined {
  if (!row.confirmed || row.voided) return undefined;
  if (row.state === "orphaned" || row.state === "retained") return row.state;
  return inGrace(row, now) && row.deleting?.released === true ? "grace" : undefined;
}

/** Undoing that the row still owes; empty where nothing was let go, or the grace is not over. */
export function owed(row: SagaRow, now: Date): StepName[] {
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
      "The row was written under another cluster, where the person may be living: look there first, then say --other-cluster.",
    );
  }
  return {
    kind: "ends",
    owed: toUndo(row),
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

/** The debt is dropped: what is owed stays as it is at the neighbour, and nobody comes back to it. */
export function waiving(row: SagaRow, order: Order, now: Date): Ending {
  const dropped = owed(row, now);
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
    owed: dropped,
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
        reason: REASON.DebtOwed,
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
  if (owed(row, now).length > 0) return "This is a debt: it is undone by itself when the neighbour answers.";
  if (row.deleting !== undefined) return "The object is being deleted, and everything is undone with it.";
  return "A TenantUser stands behind these accounts: remove it from Git, and they go.";
}

function whyNotWaived(row: SagaRow, now: Date): string {
  if (row.state === "deleted") return "Nothing is owed any more.";
  if (row.deleting === undefined) return "Nothing is owed: nobody has deleted this person.";
  if (inGrace(row, now)) return "Nothing is owed before the grace is over; purge ends it now.";
  return "The object is still held; it is let go after 10 minutes, and only then there is a debt.";
}

function refused(message: string): Ending {
  return { kind: "refused", message };
}
