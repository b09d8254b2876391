/** The realm check: whatever would make a user's saga fail is said on the Tenant, before the first user suffers. */
import { REASON, type Reason } from "../api/reasons.ts";
import { isSagaError, type SagaError } from "../lib/errors.ts";
import type { Parts } from "./ensure.ts";
import { nameAdminRoles } from "./grants.ts";
import { groupPath } from "./groups.ts";
import { marksProblem } from "./profile.ts";
import type { RealmCheck, RealmProblem, RealmSubject } from "./realm.ts";
import { identityProvidersAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";
import type { Tokens } from "./token.ts";

/**
 * What the service account needs of client realm-management. `view-clients` is for the guard: without it Keycloak hides
 * client roles, and every administrator would look harmless.
 */
export const SERVICE_ACCOUNT_ROLES = [
  "manage-users",
  "view-users",
  "query-users",
  "query-groups",
  "view-realm",
  "view-clients",
] as const;

export interface CheckParts extends Parts {
  readonly clientID: string;
  readonly tokens: Tokens;
}

/** Reads everything anew. Throws only what passes by itself; whatever a person must mend comes back as a problem. */
export async function checkRealm(
  parts: CheckParts,
  ask: Ask,
  request: RealmCheck,
  signal: AbortSignal,
): Promise<RealmProblem[]> {
  parts.facts.forget();
  parts.groups.forget();
  parts.roles.forget();
  try {
    const missing = await missingRoles(parts, signal);
    // With a role missing Keycloak hides things; what it then says of groups or profile would only mislead.
    if (missing.length > 0) {
      await parts.facts.settings(ask);
      return missing.map((role) => missingRole(parts, role));
    }
    return [
      ...(await profileProblems(parts, ask)),
      ...(await groupProblems(parts, ask, request)),
      ...(await roleProblems(parts, ask, request)),
      ...(await loginProblems(parts, ask)),
    ];
  } catch (error) {
    if (isSagaError(error) && error.class === "terminal") return [fromTerminal(error)];
    throw error;
  }
}

/** From the token itself; one that lacks a role is renewed first, since the role may have been granted after it. */
async function missingRoles(parts: CheckParts, signal: AbortSignal): Promise<string[]> {
  const token = await parts.tokens.current(signal);
  if (lacks(token.realmManagementRoles).length === 0) return [];
  return lacks((await parts.tokens.after(token, signal)).realmManagementRoles);
}

function lacks(held: readonly string[]): string[] {
  return SERVICE_ACCOUNT_ROLES.filter((role) => !held.includes(role));
}

function missingRole({ realm, clientID }: CheckParts, role: string): RealmProblem {
  return problem(
    REASON.MissingRole,
    `The service account of client ${clientID} lacks the role ${role} of realm-management; grant it: kcadm.sh add-roles -r ${realm} --uusername service-account-${clientID} --cclientid realm-management --rolename ${role}`,
    { kind: "serviceAccountRole", name: role },
  );
}

async function profileProblems(parts: Parts, ask: Ask): Promise<RealmProblem[]> {
  const found = marksProblem(await parts.facts.profile(ask), parts.realm);
  return found === undefined ? [] : [problem(found.reason, found.message)];
}

async function groupProblems(parts: Parts, ask: Ask, request: RealmCheck): Promise<RealmProblem[]> {
  const problems: RealmProblem[] = [];
  const defaults = new Set(request.defaultGroups.map(groupPath));
  for (const path of new Set([...defaults, ...request.allowedGroups.map(groupPath)])) {
    const kind = defaults.has(path) ? "default" : "allowed";
    const group = await parts.groups.find(ask, path);
    if (group === undefined) {
      problems.push(
        problem(
          REASON.MissingGroup,
          `The ${kind} group ${path} does not exist in realm ${parts.realm}; create it (${createGroup(parts.realm, path)}), or take it out of the Tenant.`,
          { kind: "group", name: path },
        ),
      );
      continue;
    }
    const adminRoles = await parts.groups.adminRoles(ask, group);
    if (adminRoles.length > 0) {
      problems.push(
        problem(
          REASON.PrivilegedGrant,
          `The ${kind} group ${path} makes its members administrators of realm ${parts.realm} (${nameAdminRoles(adminRoles)}); take the role from the group, or the group out of the Tenant.`,
          { kind: "group", name: path },
        ),
      );
    }
  }
  return problems;
}

function createGroup(realm: string, path: string): string {
  const names = path.split("/").filter((name) => name !== "");
  return names.length === 1
    ? `kcadm.sh create groups -r ${realm} -s name=${names[0]}`
    : `kcadm.sh create groups/<id of the group above>/children -r ${realm} -s name=${names.at(-1)}`;
}

async function roleProblems(parts: Parts, ask: Ask, request: RealmCheck): Promise<RealmProblem[]> {
  const problems: RealmProblem[] = [];
  for (const name of new Set(request.allowedRealmRoles)) {
    const role = await parts.roles.find(ask, name);
    if (role === undefined) {
      problems.push(
        problem(
          REASON.MissingRole,
          `The allowed realm role ${name} does not exist in realm ${parts.realm}; create it (kcadm.sh create roles -r ${parts.realm} -s name=${name}), or take it out of the Tenant.`,
          { kind: "realmRole", name },
        ),
      );
      continue;
    }
    const adminRoles = await parts.roles.adminRoles(ask, role);
    if (adminRoles.length > 0) {
      problems.push(
        problem(
          REASON.PrivilegedGrant,
          `The allowed realm role ${name} makes its holders administrators of realm ${parts.realm} (${nameAdminRoles(adminRoles)}); take it out of the Tenant.`,
          { kind: "realmRole", name },
        ),
      );
    }
  }
  return problems;
}

async function loginProblems(parts: Parts, ask: Ask): Promise<RealmProblem[]> {
  const settings = await parts.facts.settings(ask);
  const byMail = settings.resetPasswordAllowed === true && (settings.smtpServer?.host ?? "") !== "";
  if (byMail) return [];
  const providers = await identityProviders(ask);
  if (providers === "some") return [];
  const unseen =
    providers === "unseen"
      ? " (identity providers cannot be seen without the role view-identity-providers; grant it if there is one)"
      : "";
  return [
    {
      reason: REASON.NoLoginPath,
      message: `A person created in realm ${parts.realm} has no way to log in for the first time; set up mail and switch on "Forgot password", or add an identity provider${unseen}.`,
      blocking: false,
    },
  ];
}

/** Listing them needs view-identity-providers, which nothing else here needs: without it they are unseen. */
async function identityProviders(ask: Ask): Promise<"some" | "none" | "unseen"> {
  try {
    const providers = await ask("listing identity providers", identityProvidersAnswer, (client) =>
      client.identityProviders.find(),
    );
    return providers.some(({ enabled }) => enabled !== false) ? "some" : "none";
  } catch (error) {
    if (isSagaError(error) && error.upstreamStatus === 403) return "unseen";
    throw error;
  }
}

function problem(reason: Reason, message: string, subject?: RealmSubject): RealmProblem {
  return { reason, message, blocking: true, ...(subject === undefined ? {} : { subject }) };
}

function fromTerminal(error: SagaError): RealmProblem {
  return { reason: error.code, message: error.message, blocking: true };
}
