import { shell } from "../../lib/shell.ts";
import {
  CLIENT_ID,
  createClient,
  createGroup,
  createRealmRole,
  gatewaySecret,
  grantRoles,
  grantSecretAccess,
  keycloakSecret,
  logIn,
  prepareRealm,
  protectMarks,
  SERVICE_ACCOUNT_ROLES,
} from "../setupCommands.ts";
import type { ReasonEntries } from "./entry.ts";

const POLICY_CHECK = "`kcadm.sh get users/profile -r REALM --fields unmanagedAttributePolicy`";
const POLICY_FIX =
  "The policy covers only undeclared attributes. If the realm declares `sme_tenant_id` and `sme_user_uuid`, let only Admin edit both under Realm settings > User profile. The command does both, and needs `jq`.";

/** About a Tenant, or about what it needs of its realm, its gateway and its namespaces. */
export const TENANT_SETUP = {
  ChangeRefused: {
    meaning: "The Tenant cannot change that way while it has users. The accepted spec stays in force.",
    detail: "This concerns realm, addresses, dialect, and a namespace that has users.",
    actor: "platform",
    check: '`kubectl get tenant TENANT -o jsonpath=\'{.spec}{"\\n"}{.status.accepted}{"\\n"}\'`',
    fix: "Restore the old value, or move the users first (a second Tenant, or remove them and commit them again after the grace). To see what is in force:",
    command: "kubectl get tenant TENANT -o jsonpath='{.status.accepted}'",
  },
  ClaimRefused: {
    meaning: "Another Tenant already claims this namespace, realm or `tenantID`. The older claim wins.",
    detail:
      "Tenants can share a realm only if all of them name their domains in `allow.emailDomains`, none of them twice. A realm is told by what it says of itself, so that another address of the same Keycloak makes no other realm. Two Tenants that shared a realm before keep their users, and the younger one reports this reason.",
    actor: "platform",
    check: "`kubectl get tenants -o custom-columns=NAME:.metadata.name,ID:.spec.tenantID,NAMESPACES:.spec.namespaces`",
    fix: "Remove the claim from one of the two Tenants, or give each its own `allow.emailDomains`. To find the other one:",
    command: "kubectl get tenants -o yaml",
  },
  EmailDomainsUnrestricted: {
    meaning: "Advice: this tenant may commit users of any email domain.",
    actor: "platform",
    actorNote: "if that is not wanted",
    check: "`kubectl get tenant TENANT -o jsonpath='{.spec.allow.emailDomains}'`",
    fix: "Name the tenant's domains in `spec.allow.emailDomains` of the Tenant. To see its spec:",
    command: "kubectl get tenant TENANT -o yaml",
    remediation: ({ tenant }) => [
      shell`kubectl patch tenant ${tenant} --type merge -p '{"spec":{"allow":{"emailDomains":["acme.example"]}}}'`,
    ],
  },
  DuplicateEmailsAllowed: {
    meaning: "Advice: the realm lets several users have one email, so an address does not say whose account it is.",
    detail:
      "The reconciler does not create a user beside another one with the same address: [UserClaimed](#userclaimed), or [EmailInUse](#emailinuse) if that one is managed.",
    actor: "platform",
    check: "`kcadm.sh get realms/REALM --fields duplicateEmailsAllowed`",
    fix: "Give each of those users an address of its own, then disable `duplicateEmailsAllowed` in the realm. The Tenant shows when that is done:",
    command: "kubectl describe tenant TENANT",
    alternative: "`kcadm.sh update realms/REALM -s duplicateEmailsAllowed=false`",
  },
  NoLoginPath: {
    meaning:
      "Advice: the realm has neither mail with password reset nor an identity provider, so a new user cannot log in for the first time.",
    actor: "platform",
    check:
      "`kcadm.sh get realms/REALM --fields resetPasswordAllowed,smtpServer; kcadm.sh get identity-provider/instances -r REALM --fields alias,enabled`",
    fix: "Set up mail with password reset, or add an identity provider. The Tenant shows when the reconciler sees it:",
    command: "kubectl describe tenant TENANT",
    alternative:
      "If the realm has an identity provider that the reconciler does not see, grant its service account `view-identity-providers`.",
    remediation: ({ keycloak: { realm } }) => [
      shell`kcadm.sh update realms/${realm} -s resetPasswordAllowed=true -s smtpServer.host=mail.example.com -s smtpServer.from=no-reply@example.com`,
    ],
  },
  ProfileIncomplete: {
    meaning:
      "Advice: the realm's user profile requires what a file may leave out, such as a first and a last name. Such a user is Ready, and cannot log in before giving it.",
    detail:
      'Keycloak asks for it at the first login in a browser; every other login fails until then ("Account is not fully set up").',
    actor: "platform",
    actorNote: "or the tenant, which can set `spec.firstName` and `spec.lastName`",
    check: "`kcadm.sh get users/profile -r REALM` (`required`)",
    fix: "Give it in the files, or make it optional under Realm settings > User profile. The Tenant names it:",
    command: "kubectl describe tenant TENANT",
  },
  MarksForgeable: {
    meaning: "The realm lets people write the ownership marks on themselves, and so pass for somebody else.",
    actor: "platform",
    check: POLICY_CHECK,
    fix: "Let only administrators edit the marks in the realm's user profile. The Tenant says whether the policy or their declaration allows it:",
    command: "kubectl describe tenant TENANT",
    alternative: POLICY_FIX,
    remediation: ({ keycloak: { realm } }) => [protectMarks(realm)],
  },
  AttributesDropped: {
    meaning:
      "The realm's user profile drops the ownership marks without an error, so the reconciler creates no users: it could not recognize them again.",
    actor: "platform",
    check: POLICY_CHECK,
    fix: "Let the realm's user profile keep the marks. The Tenant says whether the policy or their declaration drops them:",
    command: "kubectl describe tenant TENANT",
    alternative: POLICY_FIX,
    remediation: ({ keycloak: { realm } }) => [protectMarks(realm)],
  },
  MissingGroup: {
    meaning: "A default or allowed group does not exist in the realm.",
    actor: "platform",
    check: "`kcadm.sh get groups -r REALM --fields path`",
    fix: "Create it in Keycloak, or remove it from the Tenant or the file. To see which one it is:",
    command: "kubectl describe tenant TENANT",
    remediation: ({ keycloak: { realm, defaultGroups }, missing }) =>
      (missing === undefined ? defaultGroups : [missing.name]).map((path) => createGroup(realm, path)),
  },
  MissingRole: {
    meaning:
      "An allowed realm role does not exist, or the reconciler's service account lacks a role of `realm-management`.",
    actor: "platform",
    check:
      "`kcadm.sh get-roles -r REALM --uusername service-account-unified-rbac --cclientid realm-management --fields name`",
    fix: "Create or grant in Keycloak what the message names. To see it on the Tenant:",
    command: "kubectl describe tenant TENANT",
    alternative: "For an allowed role: `kcadm.sh create roles -r REALM -s name=ROLE`.",
    remediation: ({ keycloak: { realm }, missing }) => [
      missing?.kind === "realmRole"
        ? createRealmRole(realm, missing.name)
        : grantRoles(realm, CLIENT_ID, missing === undefined ? SERVICE_ACCOUNT_ROLES : [missing.name]),
    ],
  },
  PrivilegedGrant: {
    meaning: "An allowed or default group or role would make its members administrators of the realm. It is refused.",
    actor: "platform",
    check: "`kcadm.sh get-roles -r REALM --gname GROUP --cclientid realm-management --effective`",
    fix: "Remove it from `spec.allow` of the Tenant, or the role from the group. To see the Tenant's spec:",
    command: "kubectl get tenant TENANT -o yaml",
    remediation: ({ tenant }) => [shell`kubectl edit tenant ${tenant}`],
  },
  RealmNotFound: {
    meaning: "Keycloak has no realm of the name that the Tenant gives.",
    actor: "platform",
    check: "`kcadm.sh get realms --fields realm`",
    fix: "Create it, or correct `spec.keycloak` of the Tenant. To see its spec:",
    command: "kubectl get tenant TENANT -o yaml",
    remediation: ({ keycloak: { url, realm } }) => prepareRealm(url, realm),
  },
  MissingPermission: {
    meaning: "The reconciler's ServiceAccount lacks a verb on Secrets in a namespace of the tenant.",
    detail:
      "The reconciler notices it at once when a user is affected, otherwise within an hour. Blocked users resume when the permission is restored.",
    actor: "platform",
    check: "`kubectl auth can-i --list -n NS --as system:serviceaccount:OPERATOR:unified-rbac`",
    fix: "Apply the Role and RoleBinding of the onboarding. To see what it may do now:",
    command: "kubectl auth can-i --list -n NS --as system:serviceaccount:OPERATOR:unified-rbac",
    remediation: ({ namespaces }) => namespaces.flatMap(grantSecretAccess),
  },
  NamespaceNotFound: {
    meaning: "A namespace of the tenant does not exist, or is being deleted.",
    actor: "platform",
    check: "`kubectl get namespaces -l catalyst.openova.io/sme-tenant=TENANT`",
    fix: "Create it, or remove it from `spec.namespaces` of the Tenant. To see which one it is:",
    command: "kubectl describe tenant TENANT",
    remediation: ({ namespaces }) => namespaces.map((namespace) => shell`kubectl create namespace ${namespace}`),
  },
  KeycloakCredentialsMissing: {
    meaning: "The Secret with Keycloak's credentials is missing, or lacks `client-id` or `client-secret`.",
    actor: "platform",
    check: "`kubectl -n OPERATOR describe secret TENANT-keycloak`",
    fix: "Create it with `client-id` and `client-secret`. To see which Secrets exist:",
    command: "kubectl get secrets -n OPERATOR",
    alternative: "With External Secrets: `kubectl -n OPERATOR describe externalsecret TENANT-keycloak`.",
    remediation: ({ keycloak }) => [
      logIn(keycloak.url),
      createClient(keycloak.realm, CLIENT_ID),
      ...keycloakSecret(keycloak),
    ],
  },
  NewAPICredentialsMissing: {
    meaning:
      "The Secret with the gateway's credentials is missing, or lacks an entry that its dialect needs; or the dialect needs master keys and none are configured.",
    actor: "platform",
    check: "`kubectl -n OPERATOR describe secret TENANT-newapi`",
    fix: "Create it with the entries that the message names. To see which Secrets exist:",
    command: "kubectl get secrets -n OPERATOR",
    alternative: "Master keys: [connect the gateway](newapi.md#connect-it).",
    remediation: ({ newapi }) => gatewaySecret(newapi),
  },
  TenantInUse: {
    meaning:
      "The Tenant was deleted while it still has users, pending cleanups, or users in their deletion grace. It goes when they are gone.",
    actor: "tenant",
    actorNote: "unless they are being deleted already",
    check: "`kubectl get tenant TENANT -o jsonpath='{.status.users.byState}'; kubectl get tenantusers -n NS`",
    fix: "Remove its users from Git (`unified-rbac tenant offboard TENANT` does it in the right order). To see who is left without an object:",
    command: "kubectl tenantuser orphans --tenant TENANT",
  },
} satisfies ReasonEntries;
