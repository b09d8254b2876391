import type { ReasonEntries } from "./entry.ts";

/** The tenant must act: its repository asks for something that it cannot have. */
export const TENANT_ACTS = {
  NotAllowed: {
    meaning: "The file asks for something that the platform has not allowed to this tenant.",
    detail:
      "It may be a group, role, attribute, tier, domain, quota, deletion policy or Secret name. If a file with a `deletionPolicy: Retain` that is not allowed is removed, the Secret goes and the accounts are locked for 30 days (longer if `deletionGrace` is), then removed. Until then a commit of the same address restores the user.",
    actor: "tenant",
    actorNote: "or the platform, which can allow it",
    check: "The message names it; `kubectl get tenant TENANT -o jsonpath='{.spec.allow}'`",
    fix: "Remove it from the file in Git, or ask the platform to add it to `spec.allow` of the Tenant. To see what is allowed:",
    command: "kubectl get tenant TENANT -o jsonpath='{.status.accepted.allow}'",
    alternative:
      'To allow a group, after checking what it grants: `kubectl patch tenant TENANT --type merge -p \'{"spec":{"allow":{"groups":["/developers"]}}}\'`',
  },
  UUIDNotYours: {
    meaning:
      "The `spec.userUUID` in the file belongs to another user, was changed, or is neither the tenant's own nor a new version-4 UUID.",
    actor: "tenant",
    check: "`kubectl -n NS get tenantuser NAME -o jsonpath='{.spec.userUUID} {.status.userUUID}'`",
    fix: "Remove `spec.userUUID` from the file in Git. To see who has which:",
    command: "kubectl tenantuser list -n NS -o wide",
    alternative: "For a new user on an old address, use the output of `uuidgen -r` in lower case.",
  },
  EmailCycle: {
    meaning: "Users of this tenant want each other's addresses, so none of them can start. The message names them.",
    actor: "tenant",
    check: "`kubectl -n NS get tenantusers`",
    fix: "Give one of them a third address in Git, wait until that one is Ready, then change it again:",
    command: "kubectl tenantuser list -n NS",
  },
  SecretForeign: {
    meaning: "A Secret of that name exists and belongs to somebody else. The reconciler does not touch it.",
    actor: "tenant",
    actorNote: "or the platform, if the tenant cannot delete Secrets",
    check:
      "`kubectl -n NS get secret SECRET -o yaml --show-managed-fields` shows who made it (not on a shared screen).",
    fix: "Delete that Secret if nobody needs it, or set another `spec.secret.name` in Git. The user resumes within seconds. To see that Secret:",
    command: "kubectl get secret SECRET -n NS",
  },
  QuotaExhausted: {
    meaning: "The key is valid, but the user's quota at the gateway is used up.",
    actor: "tenant",
    check: "`kubectl -n NS get tenantuser NAME -o jsonpath='{.spec.newapi.quota}'`",
    fix: "Raise `spec.newapi.quota` in Git, up to the Tenant's `limits.maxQuota`, or ask the platform for more. To see the Tenant's limits:",
    command: "kubectl get tenant TENANT -o yaml",
  },
  RequestRefused: {
    meaning: "An upstream refuses the request itself, with a 4xx that no other reason covers.",
    actor: "tenant",
    actorNote: "if the message names a field of the file; otherwise the platform",
    check: "`kubectl -n NS get tenantuser NAME -o jsonpath='{.status.lastError}'`",
    fix: "Correct the field, or what the upstream names (a password policy, a required attribute of the realm's user profile, an admission policy), then retry:",
    command: "kubectl tenantuser retry NAME -n NS",
  },
  InvalidSpec: {
    meaning: "The object was stored under an older schema and does not fit the current one.",
    actor: "tenant",
    actorNote: "or whoever wrote the object",
    check: "The message names the field; `kubectl explain tenantuser.spec`",
    fix: "Correct the file in Git as the message says (for a Tenant, `kubectl edit tenant TENANT`). The object as it is:",
    command: "kubectl get tenantuser NAME -n NS -o yaml",
  },
} satisfies ReasonEntries;
