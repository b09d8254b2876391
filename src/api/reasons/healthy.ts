import type { ReasonEntries } from "./entry.ts";

export const HEALTHY = {
  Ready: {
    meaning: "The object matches its spec. For a user, the key in the Secret opened the gateway after it was written.",
    actor: "nobody",
    check: "`kubectl -n NS get tenantuser NAME`",
    fix: "To see what was done and when:",
    command: "kubectl tenantuser status NAME -n NS",
  },
  Disabled: {
    meaning: "The spec says `enabled: false`: the login and the gateway account are disabled, and the Secret is kept.",
    actor: "nobody",
    check: "`kubectl -n NS get tenantuser NAME -o jsonpath='{.spec.enabled}'`",
    fix: "To let the user in again, remove that line from the file in Git, then wait:",
    command: "kubectl tenantuser wait NAME -n NS",
  },
  KeyNotVerified: {
    meaning: "Everything is in place, but nobody has tried the key: the Tenant says `verifyKey: false`.",
    actor: "nobody",
    check: "`kubectl get tenant TENANT -o jsonpath='{.spec.newapi.verifyKey}'`",
    fix: "To have keys verified, remove `verifyKey: false` from the Tenant, if the reconciler can reach the gateway. To see its spec:",
    command: "kubectl get tenant TENANT -o yaml",
  },
  LockedByKeycloak: {
    meaning:
      "Keycloak's brute force protection disabled the user after too many failed logins. The key still works, and the service does not lift the lockout.",
    detail:
      "Keycloak sets `enabled=false` with the attribute `disabledReason`. `Ready` stays `True` with this reason, because somebody who mistypes a password, the user or an attacker, must not stop the tenant's Kustomization; `KeycloakReady` is `False`. A temporary lockout ends on its own: no condition shows it, and no write of the service shortens it.",
    actor: "tenant",
    check:
      "`kcadm.sh get attack-detection/brute-force/users/$(kubectl -n NS get tenantuser NAME -o jsonpath='{.status.keycloak.userID}') -r REALM`, and the realm's login events, for who failed.",
    fix: "Make sure that the user caused the failed logins. Commit `enabled: false`, wait until `Ready` says `Disabled`, then commit `enabled: true`:",
    command: "kubectl tenantuser wait NAME -n NS",
    alternative:
      "The platform can enable the user in Keycloak instead; the next drift check sees it. `requestedAt` does not lift a lockout.",
  },
  NotSupportedByGateway: {
    meaning: "The gateway cannot change what the spec asks to change. Everything else is done.",
    detail:
      "What can be changed depends on the dialect: some have no quota, or set the tier only when they create the account.",
    actor: "platform",
    actorNote: "if it matters",
    check: "`kubectl -n NS describe tenantuser NAME`; the message of `NewAPIReady` names the field.",
    fix: "Change it at the gateway by hand, or remove the field from the file in Git. What was not done is in the step's condition:",
    command: "kubectl tenantuser status NAME -n NS",
  },
} satisfies ReasonEntries;
