/** The realm check: whatever would make a user's saga fail is said on the Tenant, before the first user suffers. */
import { groupNames, groupPath } from "../api/names.ts";
import { REASON, type Reason } from "../api/reasons.ts";
import type { MissingPart } from "../api/setupCommands.ts";
import { isSagaError, type SagaError } from "../lib/errors.ts";
import type { Parts } from "./parts.ts";
import { nameAdminRoles } from "./grants.ts";
import { type Group, pathOf } from "./groups.ts";
import { marksProblem, requiredOfPeople } from "./profile.ts";
import { USER_FIELDS } from "./profileFields.ts";
import type { RealmCheck, RealmProblem } from "./realm.ts";
import { identityProvidersAnswer } from "./representations.ts";
import { type LackingRight, rightsOf } from "./rights.ts";
import type { Ask } from "./session.ts";
import type { Tokens } from "./token.ts";
import { raw, shell } from "../lib/shell.ts";

export interface CheckParts extends Parts {
  readonly clientID: string;
  readonly tokens: Tokens;
}

/** Reads everything again. Throws only what passes by itself; whatever a person must fix comes back as a problem. */
export async function checkRealm(
  parts: CheckParts,
  ask: Ask,
  request: RealmCheck,
  signal: AbortSignal,
): Promise<RealmProblem[]> {
  parts.memory.forget();
  try {
    const missing = await missingRoles(parts, ask, signal);
    // With a role missing Keycloak hides things; what it then says of groups or profile would only mislead.
    if (missing.length > 0) return missing;
    return [
      ...(await profileProblems(parts, ask)),
      ...(await groupProblems(parts, ask, request)),
      ...(await roleProblems(parts, ask, request)),
      ...(await loginProblems(parts, ask)),
      ...(await emailProblems(parts, ask)),
      ...(await requiredProblems(parts, ask)),
    ];
  } catch (error) {
    if (isSagaError(error) && error.class === "terminal") return [fromTerminal(error)];
    throw error;
  }
}

/**
 * A role may have been granted after our token was made: with one lacking, a new token is asked. The roles that the
 * account itself lacks come first; of one that it holds the client's scope must let through.
 */
async function missingRoles(parts: CheckParts, ask: Ask, signal: AbortSignal): Promise<RealmProblem[]> {
  const token = await parts.tokens.current(signal);
  let rights = await rightsOf(parts.facts, ask, parts.clientID);
  if (rights.lacking.length > 0) {
    await parts.tokens.after(token, signal);
    parts.memory.forget();
    rights = await rightsOf(parts.facts, ask, parts.clientID);
  }
  const { lacking, username } = rights;
  return lacking.map((right) => missingRole(parts, right, username));
}

function missingRole({ realm, clientID }: CheckParts, { role, held }: LackingRight, username: string): RealmProblem {
  const scope = `switch on "Full scope allowed" of client ${clientID} (Client scopes > ${clientID}-dedicated > Scope)`;
  const grant = shell`kcadm.sh add-roles -r ${realm} --uusername ${username} --cclientid realm-management --rolename ${role}`;
  return problem(
    REASON.MissingRole,
    held
      ? `The service account of client ${clientID} has the role ${role} of realm-management, but its tokens leave it out; ${scope}.`
      : `The service account of client ${clientID} lacks the role ${role} of realm-management; grant it: ${grant}. If it has it already, ${scope}.`,
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
          `The ${kind} group ${path} does not exist in realm ${parts.realm}; create it (${await createGroup(parts, ask, path)}), or take it out of the Tenant.${await otherMeant(parts, ask, path)}`,
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

/** Every group that is missing along the path, from the one that is there. */
async function createGroup(parts: Parts, ask: Ask, path: string): Promise<string> {
  const names = groupNames(path);
  let above: Group | undefined;
  let there = 0;
  for (let depth = names.length - 1; depth > 0 && above === undefined; depth -= 1) {
    above = await parts.groups.find(ask, pathOf(names.slice(0, depth)));
    if (above !== undefined) there = depth;
  }
  let parent = above?.id;
  const commands = names.slice(there).map((name) => {
    const endpoint = raw(parent === undefined ? "groups" : `groups/${parent}/children`);
    parent = "$ID";
    return shell`kcadm.sh create ${endpoint} -r ${parts.realm} -s ${`name=${name}`}`;
  });
  return commands.map((each, index) => (index < commands.length - 1 ? `ID=$(${each} -i)` : each)).join("; ");
}

async function otherMeant(parts: Parts, ask: Ask, path: string): Promise<string> {
  const written = await parts.groups.meantByName(ask, path);
  return written === undefined ? "" : ` A group with that name, slash and all, is there: it is written ${written}.`;
}

async function roleProblems(parts: Parts, ask: Ask, request: RealmCheck): Promise<RealmProblem[]> {
  const problems: RealmProblem[] = [];
  for (const name of new Set(request.allowedRealmRoles)) {
    const role = await parts.roles.find(ask, name);
    if (role === undefined) {
      problems.push(
        problem(
          REASON.MissingRole,
          `The allowed realm role ${name} does not exist in realm ${parts.realm}; create it (${shell`kcadm.sh create roles -r ${parts.realm} -s ${`name=${name}`}`}), or take it out of the Tenant.`,
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

async function emailProblems(parts: Parts, ask: Ask): Promise<RealmProblem[]> {
  if ((await parts.facts.settings(ask)).duplicateEmailsAllowed !== true) return [];
  return [
    {
      reason: REASON.DuplicateEmailsAllowed,
      message: `Realm ${parts.realm} allows several users with one email, so an address does not say whose account it is; switch off "Duplicate emails" there (duplicateEmailsAllowed). A person whose address another user has is not made beside that one.`,
      blocking: false,
    },
  ];
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

const IN_MANIFEST = [...USER_FIELDS, "attributes"].map((field) => `spec.${field}`).join(", ");

/** Whoever lacks a required field is made and is Ready, and must fill it in at the first login; without a browser nobody can. */
async function requiredProblems(parts: Parts, ask: Ask): Promise<RealmProblem[]> {
  const required = requiredOfPeople(await parts.facts.profile(ask));
  if (required.length === 0) return [];
  return [
    {
      reason: REASON.ProfileIncomplete,
      message:
        `Realm ${parts.realm} requires ${required.join(" and ")} of its users: whoever is committed without is asked for it ` +
        `at the first login in a browser, and cannot log in anywhere else until then; give it in the manifest (${IN_MANIFEST}), ` +
        `or make it optional under Realm settings > User profile.`,
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

function problem(reason: Reason, message: string, subject?: MissingPart): RealmProblem {
  return { reason, message, blocking: true, ...(subject === undefined ? {} : { subject }) };
}

function fromTerminal(error: SagaError): RealmProblem {
  return { reason: error.code, message: error.message, blocking: true };
}
