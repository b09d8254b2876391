/**
 * The words that conditions, Events and metrics share. They are API: people alert on them, so a word keeps its meaning.
 * Each has one entry, here or in reasons/; everything that is said about it elsewhere is generated from that entry.
 */
import { shellWord } from "../lib/shell.ts";
import { DNS_SUBDOMAIN } from "./rules/patterns.ts";
import type { ReasonEntry } from "./reasons/entry.ts";
import { HEALTHY } from "./reasons/healthy.ts";
import { PLATFORM_ACTS } from "./reasons/platformActs.ts";
import { IN_PROGRESS } from "./reasons/progress.ts";
import { TENANT_ACTS } from "./reasons/tenantActs.ts";
import { TENANT_SETUP } from "./reasons/tenantSetup.ts";
import { WAITING } from "./reasons/waiting.ts";

/** Types of conditions, with what each tells. */
export const CONDITION_MEANINGS = {
  Ready: "Both kinds: True when the object matches its spec, at the observed generation.",
  Reconciling: "Both kinds: True while the reconciler works on the object or retries. Absent otherwise.",
  Stalled: "Both kinds: True only when somebody must act. Absent otherwise.",
  Suspended: "Both kinds: True while `suspend`, on the object or on its Tenant, holds back every outside write.",
  KeycloakReady:
    "TenantUser: the Keycloak user matches the spec. Tenant: realm, rights, groups and user profile meet the requirements.",
  NewAPIReady:
    "TenantUser: the gateway account matches the spec. Tenant: the gateway answers and accepts the credential.",
  SecretReady: "TenantUser: the Secret holds the working key.",
  KubernetesReady:
    "Tenant: its namespaces exist, no other Tenant claims them, and the service's Role in each has every verb.",
  InvitationSent:
    "TenantUser with `invitation: Email`: False with the reason while it could not be sent. It never affects Ready.",
  EmailDomainsUnrestricted: "Tenant, advice: True when users of any email domain may be committed.",
  DuplicateEmailsAllowed: "Tenant, advice: True when the realm lets several users have one email.",
  NoLoginPath: "Tenant, advice: True when a new user of this realm has no way to log in for the first time.",
  ProfileIncomplete:
    "Tenant, advice: True when the realm requires what a TenantUser may leave out, so that such users cannot log in.",
  GatewayLimited: "Tenant, advice: True when the gateway limits logins, so that users wait.",
} as const;
export type ConditionType = keyof typeof CONDITION_MEANINGS;
export const CONDITION = wordsOf(CONDITION_MEANINGS);

/** In the order of the runbook. */
export const REASON_SECTIONS = [
  { title: "Healthy", entries: HEALTHY },
  { title: "In progress", entries: IN_PROGRESS },
  { title: "Waiting", entries: WAITING },
  { title: "The tenant must act", entries: TENANT_ACTS },
  { title: "The platform must act", entries: PLATFORM_ACTS },
  { title: "The Tenant and what it needs", entries: TENANT_SETUP },
] as const;

/** What a TenantUser can show. */
export const USER_REASONS = REASON_SECTIONS.filter(({ entries }) => entries !== TENANT_SETUP).flatMap(
  ({ entries }): [string, ReasonEntry][] => Object.entries(entries),
);

const ENTRIES = { ...HEALTHY, ...IN_PROGRESS, ...WAITING, ...TENANT_ACTS, ...PLATFORM_ACTS, ...TENANT_SETUP };

/** Reasons of conditions and Events; label values of metrics. */
export type Reason = keyof typeof ENTRIES;
export const REASON = wordsOf(ENTRIES);
export const REASONS: Readonly<Record<Reason, ReasonEntry>> = ENTRIES;

/** The reconciler may be newer than the program that asks. */
const UNKNOWN_REASON: ReasonEntry = {
  meaning: "This version of the program does not know that reason; the message says what to do.",
  actor: "platform",
  check: "",
  fix: "To see what was tried:",
  command: "kubectl tenantuser status NAME -n NS",
};

export function reasonEntry(reason: string): ReasonEntry {
  return Object.hasOwn(REASONS, reason) ? REASONS[reason as Reason] : UNKNOWN_REASON;
}

export type CommandNames = Readonly<Partial<Record<"NAME" | "NS" | "TENANT" | "SECRET" | "OPERATOR", string>>>;

const NAME = new RegExp(DNS_SUBDOMAIN, "u");
const LONGEST_NAME = 253;

/** Puts each name in place of its word, as one word of a shell. What is not known stays as it is, to be filled in. */
export function fillCommand(text: string, names: CommandNames): string {
  return text.replaceAll(/\b(?:NAME|NS|TENANT|SECRET|OPERATOR)\b/g, (word) => {
    const name = names[word as keyof CommandNames];
    // A status may hold anything: what is no name of Kubernetes' could be an option of the command.
    return name === undefined || name.length > LONGEST_NAME || !NAME.test(name) ? word : shellWord(name);
  });
}

function wordsOf<Words extends object>(entries: Words): { readonly [Word in keyof Words]: Word } {
  return Object.fromEntries(Object.keys(entries).map((word) => [word, word])) as { [Word in keyof Words]: Word };
}
