/** Commands for people to run: lines for a POSIX shell, with kubectl and Keycloak's kcadm.sh. Pure; never a secret in them. */
import type { TenantSpec } from "../../api/tenant.ts";
import { SERVICE_ACCOUNT_ROLES } from "../../keycloak/check.ts";
import { SECRET_VERBS } from "../../kube/secrets.ts";
import { OPERATOR_NAMESPACE, secretNames, type TenantValues } from "./values.ts";

/** Our client in the tenant's realm, where onboarding makes it. */
export const CLIENT_ID = "unified-rbac";

/** One word of a shell's line. */
export function word(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function logIn(keycloakURL: string): string {
  return `kcadm.sh config credentials --server ${word(keycloakURL)} --realm master --user admin`;
}

/** A realm with everything that is needed of it, from nothing. What is there already answers 409 and stays. */
export function prepareRealm(url: string, realm: string): string[] {
  return [
    logIn(url),
    `kcadm.sh create realms -s realm=${word(realm)} -s enabled=true`,
    // Else an address that was a user name once could never be another person's.
    `kcadm.sh update realms/${word(realm)} -s editUsernameAllowed=true`,
    keepMarks(realm),
    createGroup(realm, "/sme-users"),
    createClient(realm, CLIENT_ID),
    grantRoles(realm, CLIENT_ID, SERVICE_ACCOUNT_ROLES),
  ];
}

export function keepMarks(realm: string): string {
  return `kcadm.sh update users/profile -r ${word(realm)} -s unmanagedAttributePolicy=ADMIN_EDIT`;
}

export function createClient(realm: string, clientID: string): string {
  const settings = "publicClient=false serviceAccountsEnabled=true standardFlowEnabled=false".split(" ");
  return `kcadm.sh create clients -r ${word(realm)} -s clientId=${word(clientID)} ${settings.map((each) => `-s ${each}`).join(" ")}`;
}

export function grantRoles(realm: string, clientID: string, roles: readonly string[]): string {
  const names = roles.map((role) => `--rolename ${role}`).join(" ");
  return `kcadm.sh add-roles -r ${word(realm)} --uusername service-account-${word(clientID)} --cclientid realm-management ${names}`;
}

/** Groups above it must be there. */
export function createGroup(realm: string, path: string): string {
  const names = path.split("/").filter((name) => name !== "");
  const above = names
    .slice(0, -1)
    .map((name) => encodeURIComponent(name))
    .join("/");
  const last = `-r ${word(realm)} -s ${word(`name=${names.at(-1) ?? ""}`)}`;
  if (above === "") return `kcadm.sh create groups ${last}`;
  const id = `$(kcadm.sh get group-by-path/${above} -r ${word(realm)} --fields id --format csv --noquotes)`;
  return `kcadm.sh create groups/${id}/children ${last}`;
}

export function createRealmRole(realm: string, name: string): string {
  return `kcadm.sh create roles -r ${word(realm)} -s ${word(`name=${name}`)}`;
}

/** The client's secret goes from Keycloak to the cluster and is seen by nobody. */
export function keycloakSecret(spec: Pick<TenantSpec["keycloak"], "realm" | "credentialsSecretName">): string[] {
  const realm = word(spec.realm);
  return [
    `client=$(kcadm.sh get clients -r ${realm} -q clientId=${CLIENT_ID} --fields id --format csv --noquotes)`,
    `kcadm.sh get clients/$client/client-secret -r ${realm} --fields value --format csv --noquotes | ` +
      replaceSecret(OPERATOR_NAMESPACE, spec.credentialsSecretName, [
        `--from-literal=client-id=${CLIENT_ID}`,
        "--from-file=client-secret=/dev/stdin",
      ]),
  ];
}

/** The token is read from a file that the person names, so that no shell remembers it. */
export function newapiSecret(spec: Pick<TenantSpec["newapi"], "dialect" | "credentialsSecretName">): string[] {
  const entries = [
    "--from-file=token=./token",
    ...(spec.dialect === "new-api" ? ["--from-file=user-id=./user-id"] : []),
  ];
  return [replaceSecret(OPERATOR_NAMESPACE, spec.credentialsSecretName, entries)];
}

export function gitSecret(namespace: string, name: string): string {
  return replaceSecret(namespace, name, ["--from-file=username=./username", "--from-file=password=./password"]);
}

/** Whether it is there or not. */
function replaceSecret(namespace: string, name: string, entries: readonly string[]): string {
  return `kubectl -n ${namespace} create secret generic ${name} ${entries.join(" ")} --dry-run=client -o yaml | kubectl apply -f -`;
}

/** Every Secret of a tenant that is about to be onboarded. */
export function credentialSecrets(values: TenantValues): string[] {
  const names = secretNames(values);
  return [
    ...keycloakSecret({ realm: values.KEYCLOAK_REALM, credentialsSecretName: names.keycloak }),
    ...newapiSecret({ dialect: values.NEWAPI_DIALECT ?? "admin-v1", credentialsSecretName: names.newapi }),
    `kubectl create namespace ${values.NAMESPACE}`,
    gitSecret(values.NAMESPACE, names.git),
  ];
}

/** The Role and RoleBinding that let the reconciler write Secrets in a tenant's namespace. */
export function openSecrets(namespace: string): string[] {
  const apply = "--dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f -";
  const name = "unified-rbac-secrets";
  return [
    `kubectl -n ${namespace} create role ${name} --verb=${SECRET_VERBS.join(",")} --resource=secrets ${apply}`,
    `kubectl -n ${namespace} create rolebinding ${name} --role=${name} --serviceaccount=${OPERATOR_NAMESPACE}:unified-rbac ${apply}`,
  ];
}
