/** What our service account may do, as Keycloak decides it: asked, never read from a token. */
import { REASON } from "../api/reasons.ts";
import { SERVICE_ACCOUNT_ROLES, type ServiceAccountRole } from "../api/setupCommands.ts";
import { isSagaError } from "../lib/errors.ts";
import type { Facts } from "./facts.ts";
import { effectiveAdminRoles } from "./grants.ts";
import { groupTreesAnswer, usersAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";

export interface LackingRight {
  readonly role: ServiceAccountRole;
  /** The account holds the role, and Keycloak does not let it act by it: the client's scope leaves it out. */
  readonly held: boolean;
}

export interface Rights {
  readonly lacking: readonly LackingRight[];
  /** The service account's user name, as Keycloak writes it. */
  readonly username: string;
}

/**
 * Tries what each role is for, with reads alone, and asks which roles the account holds. A token tells neither: a lightweight
 * one carries no roles and has all rights, and a client without full scope holds roles that its tokens leave out.
 */
export async function rightsOf(facts: Facts, ask: Ask, clientID: string): Promise<Rights> {
  const username = `service-account-${clientID.toLowerCase()}`;
  const realmSeen = await permitted(facts.settings(ask));
  const clientsSeen = await permitted(facts.realmManagementID(ask));
  const groupsSeen = await permitted(
    ask("listing groups", groupTreesAnswer, (client) => client.groups.find({ first: 0, max: 1 })),
  );
  const usersSeen = await permitted(
    ask("reading our own service account", usersAnswer, (client) =>
      client.users.find({ username, exact: true, briefRepresentation: false }),
    ),
  );
  const account =
    usersSeen?.find(({ serviceAccountClientId }) => serviceAccountClientId === clientID) ?? usersSeen?.[0];
  const held =
    account === undefined || clientsSeen === undefined
      ? undefined
      : await permitted(effectiveAdminRoles(ask, facts, account.id));

  const may: Readonly<Record<ServiceAccountRole, boolean>> = {
    // Keycloak says with each user whether the one who asks may manage it.
    "manage-users": account?.access?.["manage"] === true,
    "view-users": account !== undefined,
    "query-users": usersSeen !== undefined,
    "query-groups": groupsSeen !== undefined,
    // With less Keycloak answers, and leaves most of it out.
    "view-realm": realmSeen?.editUsernameAllowed !== undefined,
    "view-clients": clientsSeen !== undefined,
  };
  const lacking = SERVICE_ACCOUNT_ROLES.filter((role) => !may[role] || held?.includes(role) === false);
  return { lacking: lacking.map((role) => ({ role, held: held?.includes(role) === true })), username };
}

/** Undefined: Keycloak does not let us. Anything else that goes wrong is thrown. */
async function permitted<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    // Without a status it is not Keycloak's refusal: it answered, and left out what we may not see.
    const hidden = isSagaError(error) && error.code === REASON.CredentialsRefused && error.upstreamStatus === undefined;
    if (hidden || (isSagaError(error) && error.upstreamStatus === 403)) return undefined;
    throw error;
  }
}
