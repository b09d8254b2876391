import { reconcilerLogs } from "../setupCommands.ts";
import type { ReasonEntries } from "./entry.ts";

export const IN_PROGRESS = {
  Progressing: {
    meaning: "The reconciler is working on the object, which usually takes a second or two.",
    actor: "nobody",
    check: "`kubectl -n NS get tenantuser NAME -w`",
    fix: "Wait. If it takes longer than a minute, check that a reconciler runs (`kubectl -n OPERATOR get pods`):",
    command: "kubectl tenantuser wait NAME -n NS",
  },
  ProgressingWithRetry: {
    meaning:
      "An attempt failed. The reconciler retries it with growing pauses, and at once when the upstream answers again.",
    detail: "The pauses are 1, 2, 4, 8 and 16 seconds, then up to five minutes.",
    actor: "nobody",
    check: '`kubectl -n NS get tenantuser NAME -o jsonpath=\'{.status.lastError}{"\\n"}{.status.nextRetryAt}{"\\n"}\'`',
    fix: "Fix what the last error names. To retry without waiting for the pause:",
    command: "kubectl tenantuser retry NAME -n NS",
  },
  UpstreamUnavailable: {
    meaning:
      "Keycloak, the gateway or a dependency of the service (Postgres, the API server) does not answer, or answers 5xx or 429. The reconciler probes it every second, and blocked users resume when it answers.",
    detail:
      "Nothing is lost. A response of more than 4 MiB counts as no answer. A request that was answered with an error is retried with pauses of its own.",
    actor: "nobody",
    actorNote: "the platform, if it lasts",
    check:
      "`kubectl get tenants` shows which upstream of which tenant. From inside the cluster: `kubectl -n OPERATOR exec deployment/unified-rbac -c reconciler -- node -e 'fetch(\"https://sso.example.com\").then(r => console.log(r.status), e => console.log(e.cause))'`",
    fix: "Restore the upstream, or correct its address in the Tenant, the NetworkPolicy or the certificate (`spec.keycloak.caBundle`). To see which one it is, and since when:",
    command: "kubectl describe tenant TENANT",
    remediation: () => [reconcilerLogs()],
  },
  Conflict: {
    meaning: "Another client wrote the same thing at the same time. The reconciler reads it again at once.",
    actor: "nobody",
    check: "`kubectl -n NS get tenantuser NAME -o yaml --show-managed-fields` shows who writes.",
    fix: "If it lasts longer than a minute, two programs write the same fields: stop the other one, then retry:",
    command: "kubectl tenantuser retry NAME -n NS",
  },
  AccountGone: {
    meaning: "The gateway lost the user's account. The reconciler creates it again, with a new key in the same Secret.",
    actor: "nobody",
    check: "`kubectl -n NS get events --field-selector involvedObject.name=NAME`",
    fix: "Find out who deletes accounts at the gateway, and wait:",
    command: "kubectl tenantuser wait NAME -n NS",
  },
  Deleting: {
    meaning:
      "The object is being deleted, and the reconciler removes its accounts: Secret, gateway account, Keycloak user. After 10 minutes at most it releases the finalizer; what is left becomes a pending cleanup.",
    detail: "Never remove the finalizer by hand: the accounts would stay, and work.",
    actor: "nobody",
    check: "`kubectl -n NS get tenantuser NAME -o wide`",
    fix: "Wait until the object is gone:",
    command: "kubectl tenantuser wait NAME -n NS --for gone",
  },
  CleanupPending: {
    meaning:
      "The reconciler released the finalizer before an upstream let it remove the accounts. It removes them when that upstream answers; until then an account may still work.",
    detail: "The upstream did not answer for ten minutes, or refused the credential.",
    actor: "nobody",
    actorNote: "the platform, if it lasts",
    check: "`kubectl get tenant TENANT -o jsonpath='{.status.users.byState}'`",
    fix: "Restore the upstream or the credential. To see which cleanups are pending, and why:",
    command: "kubectl tenantuser cleanups",
    alternative:
      "If the upstream is gone for good, `kubectl tenantuser cleanups waive` drops the cleanup and records that in the audit.",
  },
} satisfies ReasonEntries;
