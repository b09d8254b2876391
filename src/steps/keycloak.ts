import { derivedUUIDs } from "../api/names.ts";
import { REASON } from "../api/reasons.ts";
import { profileFields } from "../api/tenantUser.ts";
import { WaitingError } from "../lib/errors.ts";
import type { StepResult } from "../saga/advance.ts";
import { type Adoption, type DesiredUser, type EnsuredUser, MarkedUser } from "../keycloak/realm.ts";
import type { Desired } from "../saga/desired.ts";
import type { RowPatch, SagaRow } from "../saga/row.ts";
import { inviteAgain, invite, isAboutTheMail, mayInvite } from "./invitation.ts";
import { CarriesUUID, type Step, type StepContext, type UpContext } from "./step.ts";

/** The user in the tenant's realm: ours by both marks, adopted only by the Tenant's leave. */
export const keycloakStep: Step = { name: "keycloak", up, down, invite: inviteAgain };

async function up(context: UpContext, signal: AbortSignal): Promise<StepResult> {
  const { row } = context;
  const ensured = await ensure(context, signal);
  if (mayInvite(context, ensured.userID)) {
    const failure = await invite(context, ensured.userID, signal);
    if (failure !== undefined && !isAboutTheMail(failure)) throw failure;
  }
  return {
    learned: {
      keycloakUserID: ensured.userID,
      // One that we made in the place of an adopted one that is gone is ours to delete.
      adopted: !ensured.created && (row.adopted || ensured.adopted),
      managed: { ...row.managed, ...ensured.managed },
      ...resetsLeft(row, ensured),
    },
    lockedOut: ensured.lockedOut,
    notes: ensured.usernameKept
      ? ["keycloak: The realm keeps user names (editUsernameAllowed is off), so the user name stayed as it was."]
      : [],
  };
}

/** The account is the new person's alone from here on; its key may still be the old person's. */
function resetsLeft({ toReset = [] }: SagaRow, { succeeded }: EnsuredUser): RowPatch {
  if (succeeded === true) return { toReset: ["newapi"] };
  if (!toReset.includes("keycloak")) return {};
  const left = toReset.filter((account) => account !== "keycloak");
  return { toReset: left.length === 0 ? null : left };
}

async function ensure(
  { row, desired, realm, adoption, allowedGroups, newIn, wrote, note, vouched }: UpContext,
  signal: AbortSignal,
): Promise<EnsuredUser> {
  const policy: Adoption = adoption === "Never" ? { policy: "Never" } : { policy: "Unclaimed", allowedGroups };
  try {
    const how = {
      ...policy,
      newIn,
      wrote: (action: string, target: string) => wrote({ action, target }),
      succeeding: () => note({ toReset: ["keycloak", "newapi"] }),
    };
    return await realm().ensureUser(desiredUser(row, desired, vouched), row.keycloakUserID, how, signal);
  } catch (error) {
    const [next, ...others] = error instanceof MarkedUser && error.wrongAddress ? nextUUIDs(row) : [];
    // The uuid was made of an address that somebody else had before, or claims to have had.
    if (error instanceof MarkedUser && next !== undefined) throw new CarriesUUID(next, error, others);
    if (!(error instanceof WaitingError) || error.code !== REASON.EmailInUse || row.keycloakUserID !== undefined)
      throw error;
    // Somebody of this tenant has the address under another uuid: it may be this very person, from before the
    // database was lost.
    const uuid = await realm().uuidByEmail(desired.email, row.tenantID, signal);
    throw uuid === undefined || uuid === row.uuid ? error : new CarriesUUID(uuid, error);
  }
}

/** The uuids that a new user on this address may get after this one; none: this one was not made of the address. */
function nextUUIDs({ uuid, tenantID, email }: SagaRow): string[] {
  const all = derivedUUIDs(tenantID, email);
  const at = all.indexOf(uuid);
  return at < 0 ? [] : all.slice(at + 1);
}

/** What the object asks for, in Keycloak's words. */
export function desiredUser(
  row: Pick<SagaRow, "uuid" | "tenantID" | "managed" | "adopted" | "toReset" | "handled">,
  desired: Desired,
  vouched?: boolean,
): DesiredUser {
  return {
    uuid: row.uuid,
    tenantID: row.tenantID,
    email: desired.email,
    enabled: desired.enabled,
    ...profileFields((field) => desired[field]),
    groups: desired.groups,
    defaultGroups: desired.defaultGroups,
    realmRoles: desired.realmRoles,
    attributes: desired.attributes,
    requiredActions: desired.requiredActions,
    managedBefore: row.managed,
    adopted: row.adopted,
    ...(vouched === undefined ? {} : { vouched }),
    ...(row.toReset?.includes("keycloak") === true ? { reset: true } : {}),
    saidLockedOut: row.handled?.lockedOut,
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
