/** What an entry of the reason catalogue holds. Conditions, `why`, `tenant check`, runbook and reference follow from it. */
import type { TenantSetup } from "../setupCommands.ts";

/** Who must act for it to go away: the tenant (its repository), the platform (its operator), or nobody: it passes. */
export const ACTORS = ["nobody", "tenant", "platform"] as const;
export type Actor = (typeof ACTORS)[number];

export interface ReasonEntry {
  /** One or two sentences. A reason never changes its meaning: people alert on it. */
  readonly meaning: string;
  /** More of it, for the runbook. Markdown. */
  readonly detail?: string;
  readonly actor: Actor;
  /** Who else acts, or when: continues the actor's name. */
  readonly actorNote?: string;
  /** Where the cause is visible, for the runbook. Markdown. */
  readonly check: string;
  /** What to do. Ends with a colon, for the command follows. */
  readonly fix: string;
  /** One line for a shell; {@link fillCommand} puts names in place of the words in capitals. */
  readonly command: string;
  /** Other ways to fix it, for the runbook. Markdown. */
  readonly alternative?: string;
  /** What `tenant check` prints. Where several things may be the cause, commands for all of them. */
  readonly remediation?: (setup: TenantSetup) => readonly string[];
}

export type ReasonEntries = Readonly<Record<string, ReasonEntry>>;
