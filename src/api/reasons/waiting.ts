import { shell } from "../../lib/shell.ts";
import type { ReasonEntries } from "./entry.ts";

export const WAITING = {
  EmailInUse: {
    meaning:
      "Another user of the tenant, or another Keycloak user, has this address. This user continues when the address is free.",
    detail: "A renamed file keeps its accounts and its key.",
    actor: "tenant",
    actorNote: "unless the other user is being deleted",
    check: "The message names the holder; `kubectl get tenantusers -A | grep ADDRESS`",
    fix: "Remove one of the two files in Git, or change an address. To see who has which:",
    command: "kubectl tenantuser list -n NS",
    alternative:
      "If the message says that the address is somebody's old user name: `kcadm.sh update realms/REALM -s editUsernameAllowed=true`.",
  },
  QuotaFull: {
    meaning: "The tenant has as many users as the Tenant's `limits.maxUsers` allows. The oldest objects come first.",
    detail:
      "Every user whose accounts are alive counts, retained and orphaned ones too. A user who is locked during the deletion grace does not.",
    actor: "tenant",
    actorNote: "or the platform, which can raise the limit",
    check: "`kubectl get tenant TENANT -o jsonpath='{.spec.limits.maxUsers} {.status.users.total}'`",
    fix: "Remove a user from Git, or ask the platform to raise `spec.limits.maxUsers` or to purge retained and orphaned users. To see limit and users:",
    command: "kubectl describe tenant TENANT",
    alternative:
      'To raise the limit: `kubectl patch tenant TENANT --type merge -p \'{"spec":{"limits":{"maxUsers":100}}}\'`',
  },
  NamespaceTerminating: {
    meaning: "The namespace is being deleted, and its users with it. Nothing can be created in it.",
    detail: "The Role goes before the users do; do not apply it again.",
    actor: "nobody",
    check: "`kubectl get namespace NS -o jsonpath='{.status.conditions}'` names what holds a namespace that stays.",
    fix: "To see which users are still there:",
    command: "kubectl tenantuser list -n NS",
  },
  NoTenant: {
    meaning:
      "No Tenant claims this namespace, so the reconciler does not know which Keycloak and which gateway to use.",
    actor: "platform",
    check: "`kubectl get tenants -o custom-columns=NAME:.metadata.name,NAMESPACES:.status.accepted.namespaces`",
    fix: "Onboard the tenant, or add the namespace to `spec.namespaces` of its Tenant. To see the Tenants:",
    command: "kubectl get tenants",
    alternative: "See [Onboard a tenant](platform-guide.md#onboard-a-tenant).",
  },
  TenantNotReady: {
    meaning: "Something that every user of the tenant needs is missing. No attempt is spent while users wait for it.",
    actor: "platform",
    check: "`kubectl get tenant TENANT`",
    fix: "Fix what the Tenant reports (`unified-rbac tenant check TENANT` prints the commands); all its users resume. To see what it reports:",
    command: "kubectl describe tenant TENANT",
  },
  GatewayLimited: {
    meaning:
      "The gateway lets only a limited number of logins through, and each new key needs one. This user waits until there is room; on a Tenant, the limit was seen and users will wait again.",
    actor: "platform",
    actorNote: "to raise the limit; otherwise it passes",
    check: "The message says until when: `kubectl -n NS get tenantuser NAME -o wide`",
    fix: "Raise the gateway's `CRITICAL_RATE_LIMIT`, or wait. To see until when:",
    command: "kubectl tenantuser status NAME -n NS",
    alternative: "The [settings of the gateway](newapi.md#the-settings-that-matter) explain the two limits.",
  },
  SecretTerminating: {
    meaning: "The user's Secret is being deleted, and a finalizer of another program holds it.",
    detail: "The key in it still opens the gateway. A rotation waits until the new key can be written.",
    actor: "tenant",
    actorNote: "or whoever set that finalizer",
    check: "`kubectl -n NS get secret SECRET -o jsonpath='{.metadata.finalizers}'`",
    fix: "Let the owner of the finalizer finish, or remove it. The reconciler creates the Secret again within seconds. To see the finalizers:",
    command: "kubectl get secret SECRET -n NS -o jsonpath={.metadata.finalizers}",
  },
  SecretRefused: {
    meaning:
      "The namespace refuses the user's Secret: a ResourceQuota, an admission policy, a webhook, or metadata that is too large. The message quotes what refused it.",
    detail: "The reconciler neither removes nor creates a key meanwhile: the one in the Secret still works.",
    actor: "tenant",
    actorNote: "or whoever set up what the message names",
    check: "`kubectl -n NS describe resourcequota`; a webhook is named in the message.",
    fix: "Make room, or correct what refuses it. The reconciler retries at most two and a half minutes later. To see the quotas:",
    command: "kubectl describe resourcequota -n NS",
    alternative:
      "Exempt Secrets with the label `catalyst.openova.io/managed-by=unified-rbac`. A new `requestedAt` retries at once.",
  },
  Suspended: {
    meaning:
      "`suspend: true`, on the user or on the Tenant, holds back every write outside the cluster. A deletion still runs.",
    actor: "tenant",
    actorNote: "or the platform: whoever set it",
    check:
      "`kubectl -n NS get tenantuser NAME -o jsonpath='{.spec.suspend}'; kubectl get tenant TENANT -o jsonpath='{.spec.suspend}'`",
    fix: "Remove `suspend` from the file in Git. If the plugin set it:",
    command: "kubectl tenantuser resume NAME -n NS",
    alternative:
      'For a Tenant that is not in Git: `kubectl patch tenant TENANT --type merge -p \'{"spec":{"suspend":false}}\'`',
    remediation: ({ tenant }) => [shell`kubectl patch tenant ${tenant} --type merge -p '{"spec":{"suspend":false}}'`],
  },
} satisfies ReasonEntries;
