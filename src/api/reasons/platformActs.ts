import { keycloakSecret, gatewaySecret, logIn } from "../setupCommands.ts";
import type { ReasonEntries } from "./entry.ts";

/** The platform must act: something stands in the way that a tenant's repository cannot change. */
export const PLATFORM_ACTS = {
  UserClaimed: {
    meaning: "A Keycloak user with this address exists, and the service may not take it over.",
    detail: "It has no ownership marks, or those of another tenant.",
    actor: "platform",
    check:
      "`kcadm.sh get users -r REALM -q email=ADDRESS -q exact=true --fields id,username,email,attributes,federationLink`",
    fix: "Delete that user if nobody needs it. If it is this user, set `spec.adoption: Unclaimed` on the Tenant (only in a realm of one Tenant, and only for accounts without rights of their own), then retry. To see why it may not be adopted:",
    command: "kubectl tenantuser export --tenant TENANT",
  },
  AccountClaimed: {
    meaning:
      "The gateway has an account for this user under another tenant, or an account with the name that this one needs.",
    actor: "platform",
    check: "The message names the account; look it up at the gateway.",
    fix: "Remove or rename that account at the gateway, then retry:",
    command: "kubectl tenantuser retry NAME -n NS",
    alternative: "See [what the service creates there](newapi.md#what-is-made-there).",
  },
  CredentialsRefused: {
    meaning: "Keycloak or the gateway refuses the service's credential for this tenant, even after a fresh login.",
    actor: "platform",
    check: "`kubectl get tenant TENANT` names which; `kubectl -n OPERATOR get secrets`",
    fix: "Renew the Secret that the Tenant names, or the rights behind it. The reconciler notices the change at once, and blocked users resume. To see the Secrets:",
    command: "kubectl get secrets -n OPERATOR",
    remediation: ({ upstream, keycloak, newapi }) => [
      ...(upstream === "gateway" ? [] : [logIn(keycloak.url), ...keycloakSecret(keycloak)]),
      ...(upstream === "keycloak" ? [] : gatewaySecret(newapi)),
    ],
  },
  LoginBlocked: {
    meaning:
      "The gateway does not let anybody log in with a password, and creating a key needs that. The message names the setting.",
    detail: "The setting is captcha, password login, or two-factor login of this account.",
    actor: "platform",
    check: "The message of the condition `NewAPIReady`.",
    fix: "Change that setting at the gateway. The reconciler notices it within a minute; to retry at once:",
    command: "kubectl tenantuser retry NAME -n NS",
    alternative: "See [the settings of the gateway](newapi.md#the-settings-that-matter).",
  },
  MissingTier: {
    meaning: "The Tenant's tier, or one that it allows, is not a group of the gateway.",
    actor: "platform",
    check: "`kubectl get tenant TENANT -o jsonpath='{.spec.newapi.tier}'`",
    fix: "Add that group to the gateway's group ratios, or name another tier in the Tenant. To see its spec:",
    command: "kubectl get tenant TENANT -o yaml",
    alternative:
      'To use the default tier: `kubectl patch tenant TENANT --type merge -p \'{"spec":{"newapi":{"tier":"default"}}}\'`',
  },
  GatewayUnauthorized: {
    meaning: "The gateway refuses the key in the Secret (401 or 403), and the reconciler repairs it.",
    actor: "nobody",
    actorNote: "the platform, if it lasts",
    check: "`kubectl -n NS get tenantuser NAME -w`",
    fix: "Wait a minute. If it lasts, check whether somebody disables the account at the gateway, and whether `publicBaseURL` names the same gateway as `url`. To see what was tried:",
    command: "kubectl tenantuser status NAME -n NS",
  },
  Orphaned: {
    meaning:
      "The object disappeared without a deletion that the reconciler saw, so it undoes nothing: accounts, key and Secret remain.",
    detail:
      "Causes are a restored etcd, a deleted CustomResourceDefinition, or a namespace emptied while no reconciler ran. A deletion that was under way when its cluster was lost stops as well: what it had not yet removed remains.",
    actor: "platform",
    check:
      "`kubectl get tenants -o custom-columns=NAME:.metadata.name,USERS:.status.users.byState`; `kubectl tenantuser orphans`",
    fix: "Restore the file in Git: the same user returns with the same IDs and key. Only to remove the accounts for good:",
    command: "kubectl tenantuser purge NAME -n NS",
    alternative:
      'To have Flux apply the file now: `kubectl -n NS annotate kustomization users --overwrite reconcile.fluxcd.io/requestedAt="$(date +%s)"`',
  },
  InvitationSent: {
    meaning: "Keycloak accepted the invitation for sending. The service sends one mail per Keycloak user.",
    actor: "nobody",
    check: "`kubectl -n NS get tenantuser NAME -o jsonpath='{.status.conditions[?(@.type==\"InvitationSent\")]}'`",
    fix: 'To send another, use "Credential reset" in Keycloak\'s console. To see what was done and when:',
    command: "kubectl tenantuser status NAME -n NS",
  },
  InvitationRefused: {
    meaning: "Keycloak refused to send the invitation. The user is ready, and the reconciler retries.",
    detail:
      "The mail server does not answer (5xx), or a required action does not exist (4xx). The pauses grow to an hour at most; a change of the file, of the Tenant or of `requestedAt` sends it at once. A response that never came counts as sent.",
    actor: "platform",
    actorNote: "or the tenant, if `spec.requiredActions` is wrong",
    check: 'The message of the condition `InvitationSent`; in Keycloak: Realm settings, Email, "Test connection".',
    fix: "Correct the realm's mail settings or `spec.requiredActions`, then send it at once:",
    command: "kubectl tenantuser retry NAME -n NS",
  },
  Retained: {
    meaning:
      "The file was removed with `deletionPolicy: Retain`, so accounts and Secret stay. A commit of the same address restores the user.",
    actor: "nobody",
    check: "`kubectl get tenant TENANT -o jsonpath='{.status.users.byState}'`",
    fix: "To remove the accounts after all:",
    command: "kubectl tenantuser purge NAME -n NS",
  },
} satisfies ReasonEntries;
