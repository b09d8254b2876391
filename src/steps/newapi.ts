import { REASON } from "../api/reasons.ts";
import { TerminalError } from "../lib/errors.ts";
import type { StepResult } from "../saga/advance.ts";
import type { RowPatch, SagaRow } from "../saga/row.ts";
import type { Account } from "../newapi/gateway.ts";
import { isRotating, leaving, noteWrites, personOf } from "./person.ts";
import { storedKey } from "./key.ts";
import type { Step, StepContext, UpContext } from "./step.ts";

/** The account and its key at the gateway. */
export const newapiStep: Step = { name: "newapi", up, down };

async function up(context: UpContext, signal: AbortSignal): Promise<StepResult> {
  const { row, desired, wrote, carry } = context;
  const gateway = context.gateway();
  const keycloakUserID = row.keycloakUserID;
  if (keycloakUserID === undefined) {
    throw new TerminalError({
      code: REASON.RequestRefused,
      message: "The Keycloak user is not known; the saga has lost a step.",
    });
  }
  const person = personOf(row, desired);
  const { account, created } = await gateway.ensure(
    { ...person, tier: desired.tier, quota: desired.quota, keycloakUserID, keycloakRealm: context.realmName },
    signal,
  );
  if (created) wrote({ action: "created", target: account.userID });
  noteWrites(context, account);
  carry.account = account;

  const isEnabled = account.enabled ?? (row.enabled || created);
  if (desired.enabled && !isEnabled) {
    if (await gateway.enable(account.userID, row.uuid, signal)) wrote({ action: "enabled", target: account.userID });
  }
  if (desired.enabled !== isEnabled) delete carry.account;
  if (!created && ((desired.enabled && returns(row)) || (await mustReplace(context, account, signal)))) {
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
 * Back after a finished deletion: whoever has the key of before shall not have it now. Who returns within the grace, or is
 * merely enabled again, keeps it.
 */
function returns(row: SagaRow): boolean {
  return !row.enabled && row.handled === undefined && isRotating(row);
}

/**
 * A rotation at a gateway without overlap. As long as the gateway's key is the one in the Secret, it has not happened; a
 * key that nobody has been given is as good as new.
 */
async function mustReplace(context: UpContext, account: Account, signal: AbortSignal): Promise<boolean> {
  if (!isRotating(context.row) || context.gateway().capabilities.overlap) return false;
  const inSecret = await storedKey(context, context.desired, signal);
  return inSecret === undefined || inSecret.equals(await account.apiKey(signal));
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
    await gateway.remove(leaving(row), (action) => wrote({ action, target }), signal);
    // The id stays on record, for the event that tells of it; nothing is believed of it without the mark.
    return { enabled: false, masterKey: null };
  }
  let userID = row.newapiUserID;
  if (userID === undefined) {
    const found = await gateway.find(leaving(row), signal);
    if (found === undefined) return {};
    noteWrites(context, found);
    ({ userID } = found);
  }
  if (await gateway.disable(userID, row.uuid, signal)) wrote({ action: "disabled", target: userID });
  return { newapiUserID: userID, enabled: false };
}
