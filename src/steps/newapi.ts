import { REASON } from "../api/reasons.ts";
import { TerminalError } from "../lib/errors.ts";
import type { StepResult } from "../saga/advance.ts";
import type { RowPatch } from "../saga/row.ts";
import { storedKey } from "./secret.ts";
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
  const { account, created } = await gateway.ensure(
    {
      uuid: row.uuid,
      tenantID: row.tenantID,
      email: desired.email,
      tier: desired.tier,
      keycloakUserID,
      keycloakRealm: context.realmName,
    },
    signal,
  );
  if (created) wrote({ action: "created", target: account.userID });
  carry.apiKey = account.apiKey;

  if (desired.enabled && !created && !row.enabled) {
    if (await gateway.enable(account.userID, row.uuid, signal)) wrote({ action: "enabled", target: account.userID });
  }
  if (!desired.enabled && (row.enabled || created)) {
    if (await gateway.disable(account.userID, row.uuid, signal)) wrote({ action: "disabled", target: account.userID });
  }
  if (row.rotation !== undefined && row.run?.rotated !== true && !created) {
    // As long as the gateway's key is the one in the Secret, the rotation has not happened; a key that nobody has
    // been given is as good as new.
    const inSecret = await storedKey(context, desired, signal);
    if (inSecret === undefined || inSecret.equals(account.apiKey)) {
      carry.apiKey = await gateway.rotate(account.userID, row.uuid, signal);
      wrote({ action: "rotated", target: account.userID });
    }
  }
  return {
    learned: { newapiUserID: account.userID, newapiUsername: account.username, enabled: desired.enabled },
    notes: unsupported(context, created),
  };
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

async function down(context: StepContext, _how: "lock" | "remove", signal: AbortSignal): Promise<RowPatch> {
  const { row, wrote } = context;
  const gateway = context.gateway();
  const userID = row.newapiUserID ?? (await gateway.find(row.uuid, row.tenantID, signal))?.userID;
  if (userID === undefined) return {};
  if (await gateway.disable(userID, row.uuid, signal)) wrote({ action: "disabled", target: userID });
  return { newapiUserID: userID, enabled: false };
}
