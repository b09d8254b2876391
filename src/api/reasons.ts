/**
 * The words that conditions, Events and metrics share. They are API: people alert on them, so a word keeps its meaning.
 * "Whose turn" is who has to act for it to go away: the tenant, the platform (its operator), or nobody (it goes by itself).
 */

/** Types of conditions. */
export const CONDITION = {
  /** Both kinds: it is as the spec says, at the observed generation. */
  Ready: "Ready",
  /** Both kinds: True while work is under way or tried again. Absent otherwise. */
  Reconciling: "Reconciling",
  /** Both kinds: True only when a person must act. Absent otherwise. */
  Stalled: "Stalled",
  /** Both kinds: True while `suspend` (its own, or the Tenant's) holds back every outside write. */
  Suspended: "Suspended",
  /** TenantUser: the Keycloak user is as wanted. Tenant: realm, rights, groups and profile are as needed. */
  KeycloakReady: "KeycloakReady",
  /** TenantUser: the gateway account is as wanted. Tenant: the gateway answers and takes our credential. */
  NewAPIReady: "NewAPIReady",
  /** TenantUser: the Secret holds the working key. */
  SecretReady: "SecretReady",
  /** Tenant: namespaces exist, are not claimed by another Tenant, and our Role in each has every verb. */
  KubernetesReady: "KubernetesReady",
  /** Tenant, advice: True when users of any email domain may be committed. */
  EmailDomainsUnrestricted: "EmailDomainsUnrestricted",
  /** Tenant, advice: True when a person created in this realm has no way to log in for the first time. */
  NoLoginPath: "NoLoginPath",
  /** Tenant, advice: True when the gateway was seen to let only so many logins through, so that users wait. */
  GatewayLimited: "GatewayLimited",
} as const;
export type ConditionType = (typeof CONDITION)[keyof typeof CONDITION];

/** Reasons of conditions and Events; label values of metrics. */
export const REASON = {
  // Well
  /** All is as the spec says. Nobody's turn. */
  Ready: "Ready",
  /** As the spec says, and the spec says `enabled: false`. Nobody's turn. */
  Disabled: "Disabled",
  /** Done, but the Tenant's `verifyKey: false` forbids to try the key. Nobody's turn. */
  KeyNotVerified: "KeyNotVerified",
  /** The gateway cannot change what the spec asks to change; the rest is done. The platform's turn, if it matters. */
  NotSupportedByGateway: "NotSupportedByGateway",

  // Under way
  /** Work is under way. Nobody's turn. */
  Progressing: "Progressing",
  /** It failed and is tried again with pauses. Nobody's turn. */
  ProgressingWithRetry: "ProgressingWithRetry",
  /** A neighbour does not answer, or answers 5xx or 429; tried again by itself. The platform's turn, if it lasts. */
  NeighbourUnavailable: "NeighbourUnavailable",
  /** Somebody else wrote at the same time; looked at again at once. Nobody's turn. */
  Conflict: "Conflict",
  /** The gateway has lost the person's account; it is made again. Nobody's turn. */
  AccountGone: "AccountGone",
  /** The object is being deleted, its accounts are being undone. Nobody's turn. */
  Deleting: "Deleting",
  /** The object was let go, a neighbour still owes the rollback. Nobody's turn; the platform's, if it lasts. */
  DebtOwed: "DebtOwed",

  // Waiting
  /** Another object of the tenant holds this email; this one waits. The tenant's turn, unless that one is on its way out. */
  EmailInUse: "EmailInUse",
  /** The Tenant's maxUsers is reached; this one waits. The tenant's turn (remove one), or the platform's (raise it). */
  QuotaFull: "QuotaFull",
  /** No Tenant claims the namespace. The platform's turn. */
  NoTenant: "NoTenant",
  /** The Tenant's own checks are not green yet. The platform's turn. */
  TenantNotReady: "TenantNotReady",
  /** The gateway lets only so many logins through; this waits until there is room. The platform's turn, to raise the limit. */
  GatewayLimited: "GatewayLimited",
  /** `suspend` holds it back. The turn of whoever set it. */
  Suspended: "Suspended",

  // A person must act: the tenant
  /** The spec asks for something that the Tenant does not allow. The tenant's turn (or the platform's, to allow it). */
  NotAllowed: "NotAllowed",
  /** The pinned uuid belongs to somebody else, or is neither this tenant's nor a fresh version-4 one. The tenant's turn. */
  UUIDNotYours: "UUIDNotYours",
  /** Living objects want each other's emails, two or more in a ring. The tenant's turn: go through a third address. */
  EmailCycle: "EmailCycle",
  /** A Secret of that name is there and is not ours; it is left alone. The tenant's turn: remove it, or name another. */
  SecretForeign: "SecretForeign",
  /** The person's quota at the gateway is used up. The tenant's turn: ask for more. */
  QuotaExhausted: "QuotaExhausted",

  // A person must act: the platform
  /** A Keycloak user with this email is there and may not be taken over. The platform's turn. */
  UserClaimed: "UserClaimed",
  /** The gateway has an account for this uuid under another tenant. The platform's turn. */
  AccountClaimed: "AccountClaimed",
  /** A neighbour refuses our credential, even after a fresh token. The platform's turn. */
  CredentialsRefused: "CredentialsRefused",
  /** A neighbour refuses the request itself (another 4xx). The tenant's turn, if the message names a field; else the platform's. */
  RequestRefused: "RequestRefused",
  /** The gateway lets nobody log in with a password, which its keys need. The platform's turn: the message names the setting. */
  LoginBlocked: "LoginBlocked",
  /** The Tenant's tier, or one that it allows, is no group of the gateway. The platform's turn. */
  MissingTier: "MissingTier",
  /** The gateway refuses the key in the Secret (401 or 403); it is being repaired. Nobody's turn; the platform's, if it lasts. */
  GatewayUnauthorized: "GatewayUnauthorized",
  /** The object is gone without its deletion having been seen; nothing is undone. The platform's turn: restore it, or purge. */
  Orphaned: "Orphaned",
  /** Deleted with `deletionPolicy: Retain`; the accounts stay. Nobody's turn. */
  Retained: "Retained",

  // Tenant
  /** The change is not possible while the tenant has users; the accepted spec stays in force. The platform's turn. */
  ChangeRefused: "ChangeRefused",
  /** Another Tenant claims this namespace, realm or tenantID already. The platform's turn. */
  ClaimRefused: "ClaimRefused",
  /** Users of any email domain may be committed. The platform's turn, if that is not wanted. */
  EmailDomainsUnrestricted: "EmailDomainsUnrestricted",
  /** The realm has neither mail with password reset nor an identity provider. The platform's turn. */
  NoLoginPath: "NoLoginPath",
  /** The realm lets people write our marks on themselves. The platform's turn: declare both, admin-edit only. */
  MarksForgeable: "MarksForgeable",
  /** The realm's user profile drops our marks. The platform's turn: unmanaged attributes ADMIN_EDIT, or declare both. */
  AttributesDropped: "AttributesDropped",
  /** A default or allowed group does not exist. The platform's turn. */
  MissingGroup: "MissingGroup",
  /** An allowed realm role does not exist, or our service account lacks a role. The platform's turn. */
  MissingRole: "MissingRole",
  /** An allowed group or role would make its members administrators. The platform's turn: take it out of allow. */
  PrivilegedGrant: "PrivilegedGrant",
  /** There is no such realm. The platform's turn. */
  RealmNotFound: "RealmNotFound",
  /** Our ServiceAccount lacks a verb in a namespace of the tenant. The platform's turn: apply the onboarding Role. */
  MissingPermission: "MissingPermission",
  /** A namespace of the tenant does not exist. The platform's turn. */
  NamespaceNotFound: "NamespaceNotFound",
  /** The Secret with Keycloak's credentials is missing or lacks an entry. The platform's turn. */
  KeycloakCredentialsMissing: "KeycloakCredentialsMissing",
  /** The Secret with the gateway's credentials is missing or lacks an entry. The platform's turn. */
  NewAPICredentialsMissing: "NewAPICredentialsMissing",
  /** The Tenant was deleted while it still has users or debts. The tenant's turn: remove them; nobody's, if they are going. */
  TenantInUse: "TenantInUse",

  // The object itself
  /** The object does not fit its schema (it was stored under an older one). The turn of whoever wrote it. */
  InvalidSpec: "InvalidSpec",
} as const;
export type Reason = (typeof REASON)[keyof typeof REASON];
