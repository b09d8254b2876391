/** What to run against a finding. Pure. */
import { REASON } from "../../api/reasons.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import { SERVICE_ACCOUNT_ROLES } from "../../keycloak/check.ts";
import type { RealmSubject } from "../../keycloak/realm.ts";
import {
  CLIENT_ID,
  createClient,
  createGroup,
  createRealmRole,
  grantRoles,
  keepMarks,
  keycloakSecret,
  logIn,
  newapiSecret,
  openSecrets,
  prepareRealm,
  word,
} from "./commands.ts";
import { OPERATOR_NAMESPACE } from "./values.ts";

/** Where several things may be the cause, all of them; what is there already stays. Empty: nothing to run. */
export function mendingOf(name: string, spec: TenantSpec, reason: string, subject?: RealmSubject): string[] {
  const { keycloak, newapi, namespaces } = spec;
  const { realm } = keycloak;
  switch (reason) {
    case REASON.AttributesDropped:
    case REASON.MarksForgeable:
      return [keepMarks(realm)];
    case REASON.MissingGroup:
      return (subject === undefined ? keycloak.defaultGroups : [subject.name]).map((path) => createGroup(realm, path));
    case REASON.MissingRole:
      if (subject?.kind === "realmRole") return [createRealmRole(realm, subject.name)];
      return [grantRoles(realm, CLIENT_ID, subject === undefined ? SERVICE_ACCOUNT_ROLES : [subject.name])];
    case REASON.PrivilegedGrant:
      return [`kubectl edit tenant ${name}`];
    case REASON.RealmNotFound:
      return prepareRealm(keycloak.url, realm);
    case REASON.KeycloakCredentialsMissing:
      return [logIn(keycloak.url), createClient(realm, CLIENT_ID), ...keycloakSecret(keycloak)];
    case REASON.NewAPICredentialsMissing:
      return newapiSecret(newapi);
    case REASON.NoLoginPath:
      return [
        `kcadm.sh update realms/${word(realm)} -s resetPasswordAllowed=true -s smtpServer.host=... -s smtpServer.from=...`,
      ];
    case REASON.EmailDomainsUnrestricted:
      return [`kubectl patch tenant ${name} --type merge -p '{"spec":{"allow":{"emailDomains":["..."]}}}'`];
    case REASON.MissingPermission:
      return namespaces.flatMap((namespace) => openSecrets(namespace));
    case REASON.NamespaceNotFound:
      return namespaces.map((namespace) => `kubectl create namespace ${namespace}`);
    case REASON.NeighbourUnavailable:
      return [`kubectl -n ${OPERATOR_NAMESPACE} logs deployment/unified-rbac -c reconciler --since=10m`];
    case REASON.Suspended:
      return [`kubectl patch tenant ${name} --type merge -p '{"spec":{"suspend":false}}'`];
    default:
      return [];
  }
}

/** Which of the two credentials a neighbour refuses. */
export function renewCredential(spec: TenantSpec, neighbour: "keycloak" | "newapi"): string[] {
  return neighbour === "keycloak"
    ? [logIn(spec.keycloak.url), ...keycloakSecret(spec.keycloak)]
    : newapiSecret(spec.newapi);
}
