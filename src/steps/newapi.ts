import { REASON } from "../api/reasons.ts";
import { TerminalError } from "../lib/errors.ts";
import type { StepResult } from "../saga/advance.ts";
import { hasOthersKey } from "../saga/decide.ts";
import { patched, type RowPatch, type SagaRow } from "../saga/row.ts";
import type { Account } from "../gateway/gateway.ts";
import { isRotating, leavingHolder, noteWrites, holderOf } from "./accountHolder.ts";
import { holdsKeyOf, readyForNewKey } from "./secretPlace.ts";
import type { Step, StepContext, UpContext } from "./step.ts";

/** The account and its key at the gateway. */
export const newapiStep: Step = { name: "newapi", up, down };

async function up(given: UpContext, signal: AbortSignal): Promise<StepResult> {
  const { desired, wrote, carry } = given;
  const gateway = given.gateway();
  const keycloakUserID = given.row.keycloakUserID;
  if (keycloakUserID === undefined) {
    throw new TerminalError({
      code: REASON.RequestRefused,
      message: "The Keycloak user is not known; the saga has lost a step.",
    });
  }
  const { account, created } = await gateway.ensure(
    {
      ...holderOf(given.row, desired),
      tier: desired.tier,
      quota: desired.quota,
      keycloakUserID,
      keycloakRealm: given.realmName,
    },
    signal,
  );
  if (created) wrote({ action: "created", target: account.userID });
  const context = created ? given : await resetForgotten(given, account, signal);
  const { row } = context;
  const person = holderOf(row, desired);
  noteWrites(context, account);
  carry.account = account;

  const isEnabled = account.enabled ?? (row.enabled || created);
  if (desired.enabled && !isEnabled) {
    if (await gateway.enable(account.userID, row.uuid, signal)) wrote({ action: "enabled", target: account.userID });
  }
  if (desired.enabled !== isEnabled) delete carry.account;
  if (!created && (returns(row) || (await mustReplace(context, account, signal)))) {
    carry.freshKey = await gateway.rotate(person, account.userID, signal);
    wrote({ action: "rotated", target: account.userID });
  }
  if (!desired.enabled && isEnabled) {
    if (await gateway.disable(account.userID, row.uuid, signal)) wrote({ action: "disabled", target: account.userID });
  }
  const overlapIsOver =
    row.previousKeyUntil !== undefined && row.previousKeyUntil.getTime() <= context.now() && !isRotating(row);
  if (overlapIsOver) {
    const died = await gateway.retire(person, signal);
    if (died > 0) wrote({ action: "previous-key-deleted", target: account.userID });
  }
  return {
    learned: {
      newapiUserID: account.userID,
      newapiUsername: account.username,
      enabled: desired.enabled,
      masterKey: account.masterKey ?? null,
      ...(overlapIsOver ? { previousKeyUntil: null } : {}),
    },
    leavesPrevious: gateway.capabilities.overlap,
    notes: unsupported(context, created),
  };
}

/**
 * No row tells of this account (the database was lost, or has forgotten whoever is long gone), it is locked, and no Secret holds
 * its key: it was released, and its key must not open it again. Recorded before anything is unlocked.
 */
async function resetForgotten(context: UpContext, account: Account, signal: AbortSignal): Promise<UpContext> {
  const { row, desired } = context;
  if (row.newapiUserID !== undefined || row.handled !== undefined) return context;
  if (!(await mayBeLocked(context, account, signal)) || (await holdsKeyOf(context, account, signal))) return context;
  const patch: RowPatch = {
    newapiUserID: account.userID,
    enabled: false,
    toReset: [...(row.toReset ?? []).filter((each) => each !== "newapi"), "newapi"],
    rotation: row.rotation ?? {
      toGeneration: Math.max(desired.keyGeneration, row.keyGeneration),
      requestedAt: desired.rotateRequestedAt,
      at: new Date(context.now()).toISOString(),
    },
  };
  await context.note(patch);
  return { ...context, row: patched(row, patch) };
}

/** Where neither the account nor its key can tell, it may be. */
async function mayBeLocked(context: UpContext, account: Account, signal: AbortSignal): Promise<boolean> {
  if (account.enabled !== undefined) return !account.enabled;
  const gateway = context.gateway();
  if (!context.desired.verifyKey || !gateway.capabilities.keyIsFree) return true;
  return (await gateway.verifyKey(await account.apiKey(signal), signal)) === "disabled";
}

/**
 * Back after a finished deletion, or another person: whoever has the key of before shall not have it now. Who returns within the grace, or is
 * merely enabled again, keeps it. One who is locked gets
 * the new key too: it is the one that works later.
 */
function returns(row: SagaRow): boolean {
  return isRotating(row) && ((!row.enabled && row.handled === undefined) || hasOthersKey(row));
}

/** At a gateway without overlap a rotation takes the key before away at once. */
async function mustReplace(context: UpContext, account: Account, signal: AbortSignal): Promise<boolean> {
  if (!isRotating(context.row) || context.gateway().capabilities.overlap) return false;
  return readyForNewKey(context, account, signal);
}

/** What this gateway cannot change, as sentences; the account keeps what it was made with. */
function unsupported(context: UpContext, created: boolean): string[] {
  const { desired, row } = context;
  const { capabilities } = context.gateway();
  const notes: string[] = [];
  if (desired.quota !== undefined && !capabilities.quota)
    notes.push("newapi: This gateway knows no quota; spec.newapi.quota has no effect.");
  if (!created && row.run?.reason !== "create") {
    if (!capabilities.tier && desired.tier !== (row.handled?.tier ?? desired.tier)) {
      notes.push(
        "newapi: This gateway cannot change the tier of an account that exists; it keeps the one it was made with.",
      );
    }
    if (!capabilities.email && desired.email !== (row.handled?.email ?? desired.email)) {
      notes.push(
        "newapi: This gateway cannot change the email of an account that exists; the account, its id and its key stay.",
      );
    }
  }
  return notes;
}

async function down(context: StepContext, how: "lock" | "remove", signal: AbortSignal): Promise<RowPatch> {
  const { row, wrote } = context;
  const gateway = context.gateway();
  if (how === "remove" && context.accountDeletion === "Delete" && gateway.remove !== undefined) {
    const target = row.newapiUserID;
    await gateway.remove(leavingHolder(row), (action) => wrote({ action, target }), signal);
    // The id stays on record, for the event that tells of it; nothing is believed of it without the mark.
    return { enabled: false, masterKey: null };
  }
  let userID = row.newapiUserID;
  if (userID === undefined) {
    const found = await gateway.find(leavingHolder(row), signal);
    if (found === undefined) return {};
    noteWrites(context, found);
    ({ userID } = found);
  }
  if (await gateway.disable(userID, row.uuid, signal)) wrote({ action: "disabled", target: userID });
  return { newapiUserID: userID, enabled: false };
}
