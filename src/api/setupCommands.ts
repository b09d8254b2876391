/**
 * Commands that give a tenant what it needs of its realm, its gateway and its namespaces: lines for a POSIX shell, with
 * kubectl and Keycloak's kcadm.sh. Pure; never a secret in them.
 */
import { pathSegment } from "../lib/ids.ts";
import { raw, shell, shellWord } from "../lib/shell.ts";
import { MARK_TENANT_ID, MARK_USER_UUID, OPERATOR_NAMESPACE } from "./meta.ts";
import { groupNames } from "./names.ts";
import type { TenantSpec } from "./tenant.ts";

/** What is known of one tenant where commands are printed for it. */
export interface TenantSetup {
  /** The name of the Tenant object. */
  readonly tenant: string;
  readonly namespaces: readonly string[];
  readonly keycloak: Pick<TenantSpec["keycloak"], "url" | "realm" | "credentialsSecretName" | "defaultGroups">;
  readonly newapi: GatewayCredentials;
  /** Which of the two refused; undefined: not known. */
  readonly upstream?: "keycloak" | "gateway" | undefined;
  /** The very thing that is missing; undefined: not known. */
  readonly missing?: MissingPart | undefined;
}

export interface MissingPart {
  /** A group by its full path; a role of the realm; a role of client realm-management that the service account needs. */
  readonly kind: "group" | "realmRole" | "serviceAccountRole";
  readonly name: string;
}

export interface GatewayCredentials {
  readonly credentialsSecretName: string;
  /** The entries that the gateway's dialect needs in that Secret. */
  readonly credentialKeys: readonly string[];
}

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
export type ServiceAccountRole = (typeof SERVICE_ACCOUNT_ROLES)[number];

/** Every verb that is used on Secrets in a tenant's namespace; its Role has exactly these. */
export const SECRET_VERBS = ["get", "list", "watch", "create", "update", "delete"] as const;

/** The service's client in the tenant's realm, where onboarding makes it. */
export const CLIENT_ID = "unified-rbac";

export function logIn(keycloakURL: string): string {
  return shell`kcadm.sh config credentials --server ${keycloakURL} --realm master --user admin`;
}

/** A realm with everything that is needed of it, from nothing. What exists already answers 409 and stays. */
export function prepareRealm(url: string, realm: string): string[] {
  return [
    logIn(url),
    shell`kcadm.sh create realms -s realm=${realm} -s enabled=true`,
    // Otherwise an address that was a user name once could never be another person's.
    shell`kcadm.sh update realms/${realm} -s editUsernameAllowed=true`,
    shell`kcadm.sh update users/profile -r ${realm} -s unmanagedAttributePolicy=ADMIN_EDIT`,
    createGroup(realm, "/sme-users"),
    createClient(realm, CLIENT_ID),
    grantRoles(realm, CLIENT_ID, SERVICE_ACCOUNT_ROLES),
  ];
}

/** Also for a realm that declares the marks: there the policy does not count, and the declaration does. */
export function protectMarks(realm: string): string {
  const marks = [MARK_TENANT_ID, MARK_USER_UUID].map((mark) => `.name == "${mark}"`).join(" or ");
  const change = `.unmanagedAttributePolicy = "ADMIN_EDIT" | .attributes |= map(if ${marks} then .permissions.edit = ["admin"] else . end)`;
  return shell`kcadm.sh get users/profile -r ${realm} | jq ${change} | kcadm.sh update users/profile -r ${realm} -f -`;
}

export function createClient(realm: string, clientID: string): string {
  const settings = "-s publicClient=false -s serviceAccountsEnabled=true -s standardFlowEnabled=false";
  return shell`kcadm.sh create clients -r ${realm} -s clientId=${clientID} ${raw(settings)}`;
}

export function grantRoles(realm: string, clientID: string, roles: readonly string[]): string {
  const names = roles.map((role) => shell`--rolename ${role}`).join(" ");
  // Keycloak keeps user names in lower case, whatever the client is called.
  const account = `service-account-${clientID.toLowerCase()}`;
  return shell`kcadm.sh add-roles -r ${realm} --uusername ${account} --cclientid realm-management ${raw(names)}`;
}

/** The groups above it must exist. */
export function createGroup(realm: string, path: string): string {
  const names = groupNames(path);
  const above = names
    .slice(0, -1)
    .map((name) => pathSegment(name))
    .join("/");
  const last = raw(shell`-r ${realm} -s ${`name=${names.at(-1) ?? ""}`}`);
  if (above === "") return shell`kcadm.sh create groups ${last}`;
  const id = shell`$(kcadm.sh get ${`group-by-path/${above}`} -r ${realm} --fields id --format csv --noquotes)`;
  return shell`kcadm.sh create groups/${raw(id)}/children ${last}`;
}

export function createRealmRole(realm: string, name: string): string {
  return shell`kcadm.sh create roles -r ${realm} -s ${`name=${name}`}`;
}

/** The client's secret goes from Keycloak to the cluster, and nobody sees it. */
export function keycloakSecret(spec: Pick<TenantSpec["keycloak"], "realm" | "credentialsSecretName">): string[] {
  const { realm } = spec;
  const id = shell`$(kcadm.sh get clients -r ${realm} -q clientId=${CLIENT_ID} --fields id --format csv --noquotes)`;
  return [
    shell`kcadm.sh get clients/${raw(id)}/client-secret -r ${realm} --fields value --format csv --noquotes | ` +
      replaceSecret(OPERATOR_NAMESPACE, spec.credentialsSecretName, [
        `--from-literal=client-id=${CLIENT_ID}`,
        "--from-file=client-secret=/dev/stdin",
      ]),
  ];
}

/** Each entry is read from a file of its name, so that no shell remembers it. */
export function gatewaySecret({ credentialsSecretName, credentialKeys }: GatewayCredentials): string[] {
  const entries = credentialKeys.map((key) => `--from-file=${key}=./${key}`);
  return [replaceSecret(OPERATOR_NAMESPACE, credentialsSecretName, entries)];
}

/** Creates the Secret, or replaces it. */
export function replaceSecret(namespace: string, name: string, entries: readonly string[]): string {
  return shell`kubectl -n ${namespace} create secret generic ${name} ${raw(entries.map(shellWord).join(" "))} --dry-run=client -o yaml | kubectl apply -f -`;
}

/** The Role and RoleBinding that let the reconciler write Secrets in a tenant's namespace. */
export function grantSecretAccess(namespace: string): string[] {
  const apply = "--dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f -";
  const name = "unified-rbac-secrets";
  return [
    shell`kubectl -n ${namespace} create role ${name} --verb=${SECRET_VERBS.join(",")} --resource=secrets ${raw(apply)}`,
    shell`kubectl -n ${namespace} create rolebinding ${name} --role=${name} --serviceaccount=${OPERATOR_NAMESPACE}:unified-rbac ${raw(apply)}`,
  ];
}

export function reconcilerLogs(): string {
  return shell`kubectl -n ${OPERATOR_NAMESPACE} logs deployment/unified-rbac -c reconciler --since=10m`;
}
