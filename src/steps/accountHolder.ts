import { createHash } from "node:crypto";

import type { Account, AccountHolder, WantedAccount } from "../gateway/gateway.ts";
import type { Desired } from "../saga/desired.ts";
import type { SagaRow } from "../saga/row.ts";
import type { StepContext } from "./step.ts";

/** Whom the gateway is asked about. */
export function holderOf(row: SagaRow, desired: Desired): AccountHolder {
  return {
    uuid: row.uuid,
    tenantID: row.tenantID,
    email: desired.email,
    userID: row.newapiUserID,
    enabled: desired.enabled,
    keyVersion: keyVersion(row, desired),
    rotating: isRotating(row),
    overlapping: row.previousKeyUntil !== undefined,
    masterKey: row.masterKey,
  };
}

/** What of the account can be compared from outside. */
export function wantedAccount(row: SagaRow, desired: Desired): WantedAccount {
  const { enabled, email, tier, quota } = desired;
  return { uuid: row.uuid, tenantID: row.tenantID, userID: row.newapiUserID, enabled, email, tier, quota };
}

/** The same on the way down, when the object may no longer tell: only enough to be found. */
export function leavingHolder(row: SagaRow): AccountHolder {
  const { uuid, tenantID, email, newapiUserID: userID } = row;
  return {
    uuid,
    tenantID,
    email,
    userID,
    enabled: false,
    keyVersion: String(row.keyGeneration),
    rotating: false,
    overlapping: row.previousKeyUntil !== undefined,
    masterKey: row.masterKey,
  };
}

/** The key in the Secret is still the one before the rotation, as far as is recorded. */
export function isRotating(row: SagaRow): boolean {
  return row.rotation !== undefined && row.run?.rotated !== true;
}

/**
 * The name of the key that is wanted: by the generation and the request it belongs to, so that it is the same for every
 * attempt at one rotation, and, because both stand in Git, also after the loss of the row.
 */
export function keyVersion(row: SagaRow, desired: Desired): string {
  const { rotation, handled } = row;
  const [generation, requestedAt] =
    rotation !== undefined
      ? [rotation.toGeneration, rotation.requestedAt ?? handled?.rotateRequestedAt]
      : handled === undefined
        ? [Math.max(desired.keyGeneration, row.keyGeneration), desired.rotateRequestedAt]
        : [row.keyGeneration, handled.rotateRequestedAt];
  if (requestedAt === undefined) return String(generation);
  return `${generation}-${createHash("sha256").update(requestedAt).digest("hex").slice(0, 8)}`;
}

/** What a Secret says of the key in it: its version, and whether the one before may still be alive. */
export function keyState(row: SagaRow, desired: Desired): string {
  const beside = isRotating(row) || row.previousKeyUntil !== undefined;
  return `${keyVersion(row, desired)}${beside ? "+" : ""}`;
}

/** Puts what the gateway wrote of its own into the audit. */
export function noteWrites(context: StepContext, account: Account): void {
  for (const action of account.takeWrites()) context.wrote({ action, target: account.userID });
}
