import { REASON } from "../api/reasons.ts";
import { WaitingError } from "../lib/errors.ts";
import type { StepResult } from "../saga/advance.ts";
import { namesakes } from "../keycloak/adopt.ts";
import { type Adoption, type DesiredUser, type EnsuredUser, MarkedStranger } from "../keycloak/realm.ts";
import type { Desired } from "../saga/desired.ts";
import type { RowPatch, SagaRow } from "../saga/row.ts";
import { CarriesUUID, type Step, type StepContext, type UpContext } from "./step.ts";

/** The user in the tenant's realm: ours by both marks, adopted only by the Tenant's leave. */
export const keycloakStep: Step = { name: "keycloak", up, down };

async function up(context: UpContext, signal: AbortSignal): Promise<StepResult> {
  const { row, desired, wrote } = context;
  const realm = context.realm();
  const ensured = await ensure(context, signal);
  if (desired.invitation === "Email" && row.invitedKeycloakUserID !== ensured.userID) {
    // At most one mail per Keycloak user: noted before it is sent, so a lost reply counts as sent.
    await context.note({ keycloakUserID: ensured.userID, invitedKeycloakUserID: ensured.userID });
    await realm.invite(ensured.userID, desired.requiredActions ?? ["UPDATE_PASSWORD"], signal);
    wrote({ action: "invited", target: ensured.userID });
  }
  return {
    learned: {
      keycloakUserID: ensured.userID,
      // One that we made in the place of an adopted one that is gone is ours to delete.
      adopted: !ensured.created && (row.adopted || ensured.adopted),
      managed: { ...row.managed, ...ensured.managed },
    },
    notes: ensured.usernameKept
      ? ["keycloak: The realm keeps user names (editUsernameAllowed is off), so the user name stayed as it was."]
      : [],
  };
}

async function ensure(
  { row, desired, realm, adoption, allowedGroups, newIn, wrote }: UpContext,
  signal: AbortSignal,
): Promise<EnsuredUser> {
  const policy: Adoption = adoption === "Never" ? { policy: "Never" } : { policy: "Unclaimed", allowedGroups };
  try {
    const how = { ...policy, newIn, wrote: (action: string, target: string) => wrote({ action, target }) };
    return await realm().ensureUser(desiredUser(row, desired), row.keycloakUserID, how, signal);
  } catch (error) {
    const next = error instanceof MarkedStranger && error.wrongAddress ? nextUUID(row) : undefined;
    // The uuid was made of an address that somebody else had before, or claims to have had.
    if (error instanceof MarkedStranger && next !== undefined) throw new CarriesUUID(next, error);
    if (!(error instanceof WaitingError) || error.code !== REASON.EmailInUse || row.keycloakUserID !== undefined)
      throw error;
    // Somebody of this tenant has the address under another uuid: it may be this very person, from before the
    // database was lost.
    const uuid = await realm().uuidByEmail(desired.email, row.tenantID, signal);
    throw uuid === undefined || uuid === row.uuid ? error : new CarriesUUID(uuid, error);
  }
}

/** The uuid that a newcomer on this address gets after this one; undefined: this one was not made of the address. */
function nextUUID({ uuid, tenantID, email }: SagaRow): string | undefined {
  const all = namesakes(tenantID, email);
  const at = all.indexOf(uuid);
  return at < 0 ? undefined : all[at + 1];
}

/** What the object asks for, in Keycloak's words. */
export function desiredUser(
  row: Pick<SagaRow, "uuid" | "tenantID" | "managed" | "adopted">,
  desired: Desired,
): DesiredUser {
  return {
    uuid: row.uuid,
    tenantID: row.tenantID,
    email: desired.email,
    enabled: desired.enabled,
    firstName: desired.firstName,
    lastName: desired.lastName,
    displayName: desired.displayName,
    groups: desired.groups,
    defaultGroups: desired.defaultGroups,
    realmRoles: desired.realmRoles,
    attributes: desired.attributes,
    requiredActions: desired.requiredActions,
    managedBefore: row.managed,
    adopted: row.adopted,
  };
}

async function down(context: StepContext, how: "lock" | "remove", signal: AbortSignal): Promise<RowPatch> {
  const { row, wrote } = context;
  const realm = context.realm();
  // The id is a hint; without one (the reply to our create was lost) the marks find the user, and one that came late.
  const recorded = row.deleting?.again === true ? undefined : row.keycloakUserID;
  const userID = recorded ?? (await realm.findUser(row.uuid, row.tenantID, signal));
  if (userID === undefined) return {};
  if (row.adopted) {
    if (how === "lock") return {};
    await realm.releaseUser(row.uuid, row.tenantID, userID, row.managed, signal);
    wrote({ action: "released", target: userID });
    return { keycloakUserID: userID };
  }
  if (how === "lock") {
    if (await realm.setEnabled(row.uuid, row.tenantID, userID, false, signal))
      wrote({ action: "disabled", target: userID });
    return { keycloakUserID: userID };
  }
  await realm.deleteUser(row.uuid, row.tenantID, userID, signal);
  wrote({ action: "deleted", target: userID });
  return { keycloakUserID: userID };
}
