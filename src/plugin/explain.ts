/** What each reason means to whoever is on call: what is wrong, whose turn it is, the command that mends it. */
import type { Reason } from "../api/reasons.ts";

export type Turn = "nobody" | "tenant" | "platform";

/** Names to put into commands. Where one is not known, a placeholder in capitals stands there. */
export interface Places {
  readonly name: string;
  readonly namespace: string;
  /** Name of the Tenant object. */
  readonly tenant: string;
  readonly secret: string;
  /** The namespace of the service. */
  readonly operator: string;
}

export interface Explanation {
  readonly turn: Turn;
  /** One or two sentences, to be read after the message of the condition. */
  readonly means: string;
  /** What to do, as one sentence without its command. */
  readonly mend: string;
  readonly command: (at: Places) => string;
}

const status = ({ name, namespace }: Places): string => `kubectl tenantuser status ${name} -n ${namespace}`;
const wait = ({ name, namespace }: Places): string => `kubectl tenantuser wait ${name} -n ${namespace}`;
const retry = ({ name, namespace }: Places): string => `kubectl tenantuser retry ${name} -n ${namespace}`;
const purge = ({ name, namespace }: Places): string => `kubectl tenantuser purge ${name} -n ${namespace}`;
const describeTenant = ({ tenant }: Places): string => `kubectl describe tenant ${tenant}`;
const editTenant = ({ tenant }: Places): string => `kubectl get tenant ${tenant} -o yaml`;
const allowed = ({ tenant }: Places): string => `kubectl get tenant ${tenant} -o jsonpath='{.status.accepted.allow}'`;
const colleagues = ({ namespace }: Places): string => `kubectl tenantuser list -n ${namespace}`;
const credentials = ({ operator }: Places): string => `kubectl get secrets -n ${operator}`;
const onboarding = ({ namespace, operator }: Places): string =>
  `kubectl auth can-i --list -n ${namespace} --as system:serviceaccount:${operator}:unified-rbac`;

/** Every reason has an entry: one that is missing does not compile. */
export const EXPLANATIONS: Readonly<Record<Reason, Explanation>> = {
  Ready: {
    turn: "nobody",
    means: "Everything is as the file says, and the key was tried.",
    mend: "Nothing needs mending; this shows what was done and when:",
    command: status,
  },
  Disabled: {
    turn: "nobody",
    means: "The file says enabled: false, so the person is locked out and the Secret is kept.",
    mend: "To let the person in again, take that line out of the file in Git, then wait:",
    command: wait,
  },
  KeyNotVerified: {
    turn: "nobody",
    means: "Everything is in place, but the Tenant says verifyKey: false, so nobody has tried the key.",
    mend: "If it shall be tried, the platform takes verifyKey: false out of the Tenant:",
    command: editTenant,
  },
  NotSupportedByGateway: {
    turn: "platform",
    means: "The gateway has no way to change what the file asks to change; all the rest is done.",
    mend: "If it matters, change it at the gateway by hand; what was not done stands in the step's condition:",
    command: status,
  },
  Progressing: {
    turn: "nobody",
    means: "The work is under way and usually takes a second or two.",
    mend: "Wait for it; when this stays for minutes, look whether a reconciler runs (kubectl get pods):",
    command: wait,
  },
  ProgressingWithRetry: {
    turn: "nobody",
    means: "An attempt failed and the next one comes by itself, with growing pauses.",
    mend: "When what failed is mended, there is no need to wait for the pause:",
    command: retry,
  },
  NeighbourUnavailable: {
    turn: "nobody",
    means:
      "Keycloak, the gateway or the cluster does not answer or is overwhelmed. It is probed once a second, and everybody who waits goes on when it answers. If it lasts, the platform brings that neighbour back.",
    mend: "Find out which one it is, and since when:",
    command: describeTenant,
  },
  Conflict: {
    turn: "nobody",
    means: "Somebody else wrote at the same moment; it is looked at again at once.",
    mend: "If it does not pass within a minute, ask for another look:",
    command: retry,
  },
  AccountGone: {
    turn: "nobody",
    means: "The gateway has lost the person's account, and it is made again, with a new key in the same Secret.",
    mend: "Wait for it:",
    command: wait,
  },
  Deleting: {
    turn: "nobody",
    means:
      "The accounts are being undone: Secret, gateway account, Keycloak user. The object goes when that is done, or after 10 minutes at the latest; the rest is then a debt.",
    mend: "Wait until it is gone:",
    command: ({ name, namespace }) => `kubectl tenantuser wait ${name} -n ${namespace} --for gone`,
  },
  DebtOwed: {
    turn: "nobody",
    means:
      "The object was let go, and what a neighbour still owes is undone when it answers. If it never will, the platform can waive it.",
    mend: "See what is owed by whom:",
    command: () => "kubectl tenantuser debts",
  },

  EmailInUse: {
    turn: "tenant",
    means:
      "Another person of this tenant holds the address. This one takes its place when that one is deleted or gets another address; if that one is on its way out already, that takes a moment only.",
    mend: "Find who has the address, then remove or change one of the two files in Git:",
    command: colleagues,
  },
  QuotaFull: {
    turn: "tenant",
    means: "The tenant has as many people as the platform allows; the oldest objects come first.",
    mend: "Remove somebody from Git, or ask the platform to raise spec.limits.maxUsers:",
    command: describeTenant,
  },
  NoTenant: {
    turn: "platform",
    means: "No Tenant claims this namespace, so nobody knows which Keycloak and which gateway are meant.",
    mend: "The platform onboards the tenant, or adds the namespace to spec.namespaces of its Tenant:",
    command: () => "kubectl get tenants",
  },
  TenantNotReady: {
    turn: "platform",
    means: "Something that every person of the tenant needs is missing; nothing is lost, and no attempt is spent.",
    mend: "The Tenant says what is missing; when that is mended, everybody goes on:",
    command: describeTenant,
  },
  GatewayLimited: {
    turn: "platform",
    means:
      "The gateway lets only so many logins through, and this person waits for a turn. It passes by itself; the platform can raise the gateway's CRITICAL_RATE_LIMIT.",
    mend: "See until when:",
    command: status,
  },
  Suspended: {
    turn: "tenant",
    means: "Nothing outside is written for this person while suspend is true, on the person or on the Tenant.",
    mend: "Whoever set it ends it:",
    command: ({ name, namespace }) => `kubectl tenantuser resume ${name} -n ${namespace}`,
  },

  NotAllowed: {
    turn: "tenant",
    means: "The file asks for something that the platform has not allowed to this tenant.",
    mend: "Take it out of the file in Git, or ask the platform to add it to spec.allow of the Tenant; what is allowed now:",
    command: allowed,
  },
  UUIDNotYours: {
    turn: "tenant",
    means: "The uuid in the file belongs to somebody else, or is none that this tenant may choose.",
    mend: "Take spec.userUUID out of the file in Git; who has which:",
    command: ({ namespace }) => `kubectl tenantuser list -n ${namespace} -o wide`,
  },
  EmailCycle: {
    turn: "tenant",
    means: "People of this tenant want each other's addresses, so none can begin.",
    mend: "Give one of them a third address in Git, wait until that one is Ready, then change it again:",
    command: colleagues,
  },
  SecretForeign: {
    turn: "tenant",
    means: "A Secret of that name was there before and is left alone.",
    mend: "Remove that Secret if nobody needs it, or name another in spec.secret.name in Git:",
    command: ({ namespace, secret }) => `kubectl get secret ${secret} -n ${namespace}`,
  },
  QuotaExhausted: {
    turn: "tenant",
    means: "The key is good, but what the person may spend at the gateway is spent.",
    mend: "Raise spec.newapi.quota in Git (up to the Tenant's limits.maxQuota), or ask the platform:",
    command: editTenant,
  },

  UserClaimed: {
    turn: "platform",
    means: "Keycloak has a user with this address that is not ours to take over.",
    mend: "See why that user may not be adopted, mend it in Keycloak or set spec.adoption: Unclaimed, then retry:",
    command: ({ tenant }) => `kubectl tenantuser export --tenant ${tenant}`,
  },
  AccountClaimed: {
    turn: "platform",
    means: "The gateway has an account for this uuid that belongs to another tenant.",
    mend: "Find out at the gateway whose it is and remove the wrong one, then retry:",
    command: retry,
  },
  CredentialsRefused: {
    turn: "platform",
    means: "A neighbour refuses the credential that the platform gave us for this tenant, even after a fresh login.",
    mend: "Renew the Secret that the Tenant names, or the rights behind it; it is seen at once when it changes:",
    command: credentials,
  },
  RequestRefused: {
    turn: "tenant",
    means:
      "A neighbour refuses the request itself. If the message names a field, it is mended in the file in Git; else the platform mends it.",
    mend: "After mending it, ask for another attempt:",
    command: retry,
  },
  LoginBlocked: {
    turn: "platform",
    means: "The gateway lets nobody log in with a password, and making a key needs that.",
    mend: "Change the setting that the message names at the gateway, then retry:",
    command: retry,
  },
  MissingTier: {
    turn: "platform",
    means: "The tier is no group of the gateway.",
    mend: "Make that group at the gateway, or name another tier in the Tenant:",
    command: editTenant,
  },
  GatewayUnauthorized: {
    turn: "nobody",
    means:
      "The gateway refuses the key in the Secret, and it is being repaired. If it lasts, something at the gateway keeps taking it away, and the platform looks there.",
    mend: "See what was tried:",
    command: status,
  },
  Orphaned: {
    turn: "platform",
    means:
      "The object went without anybody deleting it, so nothing was undone: the accounts live on, and a commit of the same address gets them back.",
    mend: "Restore the file in Git; only if the person shall really go, purge:",
    command: purge,
  },
  Retained: {
    turn: "nobody",
    means: "The file was removed with deletionPolicy: Retain, so the accounts stay; the same address gets them back.",
    mend: "If they shall go after all:",
    command: purge,
  },

  ChangeRefused: {
    turn: "platform",
    means: "That change of the Tenant is not possible while it has people; the accepted spec stays in force.",
    mend: "Put the old value back, or offboard the people first; what is in force:",
    command: ({ tenant }) => `kubectl get tenant ${tenant} -o jsonpath='{.status.accepted}'`,
  },
  ClaimRefused: {
    turn: "platform",
    means: "Another Tenant has that namespace, realm or tenantID already.",
    mend: "Find which one, and take it out of one of the two:",
    command: () => "kubectl get tenants -o yaml",
  },
  EmailDomainsUnrestricted: {
    turn: "platform",
    means: "Advice: this tenant may commit people of any email domain.",
    mend: "If that is not wanted, name its domains in spec.allow.emailDomains of the Tenant:",
    command: editTenant,
  },
  NoLoginPath: {
    turn: "platform",
    means: "Advice: a new person of this realm has no way to log in for the first time.",
    mend: "Give the realm mail with password reset, or an identity provider; the Tenant says when that is seen:",
    command: describeTenant,
  },
  MarksForgeable: {
    turn: "platform",
    means: "The realm lets people write on themselves the marks by which we know whose an account is.",
    mend: "Let only administrators edit unmanaged attributes in the realm's user profile (ADMIN_EDIT):",
    command: describeTenant,
  },
  AttributesDropped: {
    turn: "platform",
    means: "The realm's user profile throws our marks away, so nobody can be made there.",
    mend: "Set unmanagedAttributePolicy to ADMIN_EDIT in the realm's user profile, or declare the attributes:",
    command: describeTenant,
  },
  MissingGroup: {
    turn: "platform",
    means: "A group that is needed does not exist in the realm.",
    mend: "Create it in Keycloak, or take it out of the Tenant or the file:",
    command: describeTenant,
  },
  MissingRole: {
    turn: "platform",
    means: "A role is missing: one that people are to have, or one of our own service account.",
    mend: "Create or grant what the message names in Keycloak:",
    command: describeTenant,
  },
  PrivilegedGrant: {
    turn: "platform",
    means: "An allowed group or role would make its members administrators of the realm.",
    mend: "Take it out of spec.allow of the Tenant:",
    command: editTenant,
  },
  RealmNotFound: {
    turn: "platform",
    means: "Keycloak has no realm of the name that the Tenant gives.",
    mend: "Create it, or correct spec.keycloak of the Tenant:",
    command: editTenant,
  },
  MissingPermission: {
    turn: "platform",
    means: "Our ServiceAccount may not do in the tenant's namespace what it must.",
    mend: "Apply the Role and RoleBinding of the onboarding; what it may do now:",
    command: onboarding,
  },
  NamespaceNotFound: {
    turn: "platform",
    means: "A namespace of the tenant does not exist.",
    mend: "Create it, or take it out of spec.namespaces of the Tenant:",
    command: describeTenant,
  },
  KeycloakCredentialsMissing: {
    turn: "platform",
    means: "The Secret with Keycloak's credentials is missing, or lacks an entry.",
    mend: "Create it with client-id and client-secret; which Secrets there are:",
    command: credentials,
  },
  NewAPICredentialsMissing: {
    turn: "platform",
    means: "The Secret with the gateway's credentials is missing, or lacks an entry.",
    mend: "Create it with token (new-api: and user-id); which Secrets there are:",
    command: credentials,
  },
  TenantInUse: {
    turn: "tenant",
    means: "The Tenant was deleted while it still has people or debts; it goes when they are gone.",
    mend: "Remove its people from Git; what is left without an object:",
    command: ({ tenant }) => `kubectl tenantuser orphans --tenant ${tenant}`,
  },

  InvalidSpec: {
    turn: "tenant",
    means: "The object was stored under an older schema and does not fit the one of today.",
    mend: "Correct the file in Git as the message says; the object as it is:",
    command: ({ name, namespace }) => `kubectl get tenantuser ${name} -n ${namespace} -o yaml`,
  },
};

/** A reason that this version does not know: the reconciler may be newer. */
export const UNKNOWN: Explanation = {
  turn: "platform",
  means: "This version of the plugin does not know that reason; the message says what to do.",
  mend: "See what was tried:",
  command: status,
};

export function explain(reason: string): Explanation {
  return Object.hasOwn(EXPLANATIONS, reason) ? EXPLANATIONS[reason as Reason] : UNKNOWN;
}
