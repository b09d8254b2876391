/** One paragraph: what is wrong, who acts, the command that fixes it. Pure. */
import type { Tenant } from "../api/tenant.ts";
import { type CommandNames, CONDITION, fillCommand, REASON, reasonEntry } from "../api/reasons.ts";
import type { Actor } from "../api/reasons/entry.ts";
import type { SagaView } from "../api/operator.ts";
import { conditionOf, type UserView, type UserHealth, healthOf } from "./userView.ts";
import { fromNow, moment, printable } from "./text.ts";
import { shell } from "../lib/shell.ts";

export interface Explanation {
  readonly name: string;
  readonly namespace: string;
  readonly reason: string;
  readonly actor: Actor;
  readonly paragraph: string;
  readonly command: string;
}

export interface Asked {
  readonly person: UserView;
  /** Undefined: it may not be read, or none claims the namespace. */
  readonly tenant: Tenant | undefined;
  readonly operatorNamespace: string;
}

export function why({ person, tenant, operatorNamespace }: Asked, now: Date): Explanation {
  const { name, namespace } = person.metadata;
  const found = healthOf(person);
  // All is done, but a step has something to say.
  const note = found.phase === "ready" ? stepNote(person) : undefined;
  const reason = note?.reason ?? found.reason;
  const names: CommandNames = {
    NAME: name,
    NS: namespace,
    OPERATOR: operatorNamespace,
    ...(tenant === undefined ? {} : { TENANT: tenant.metadata.name }),
    ...(person.status?.secretName === undefined ? {} : { SECRET: person.status.secretName }),
  };
  const cause = tenantCause(reason, tenant);
  const { actor, fix, command } = reasonEntry(cause?.reason ?? reason);
  const sentences = [
    `${name} (${person.spec.email}) ${phase(found, reason, now)}:`,
    found.message,
    note?.message,
    plain(reasonEntry(reason).meaning),
    cause === undefined ? undefined : `The Tenant ${names.TENANT} says ${cause.reason}: ${cause.message}`,
    cause === undefined ? undefined : plain(reasonEntry(cause.reason).meaning),
    found.behind
      ? "This is about an older version of the file; the reconciler has not observed the newest."
      : undefined,
    whoActs(actor),
    plain(fillCommand(fix, names)),
  ];
  return { name, namespace, reason, actor, paragraph: join(sentences), command: fillCommand(command, names) };
}

/** The same of somebody who has no object any more, from the state store. */
export function whyGone(saga: SagaView, operatorNamespace: string, now: Date): Explanation {
  const { name = "NAME", namespace = "NAMESPACE", email } = saga;
  const reason = goneReason(saga);
  const { actor, meaning, fix, command } = reasonEntry(reason);
  const isDone = saga.state === "deleted";
  const names: CommandNames = { NAME: name, NS: namespace, TENANT: saga.tenantID, OPERATOR: operatorNamespace };
  const since = saga.since === undefined ? "" : ` since ${moment(saga.since)} (${fromNow(saga.since, now)})`;
  const pending = saga.pending.length === 0 ? undefined : `Pending cleanup: ${saga.pending.join(", ")}.`;
  const grace =
    saga.ownerless === "grace" && saga.purgeAt !== undefined
      ? `The Tenant's deletion grace ends at ${moment(saga.purgeAt)}: until then the same user can return.`
      : undefined;
  const sentences = [
    `${name} (${email}) has no TenantUser any more, and its state is ${saga.state}${since}.`,
    isDone ? "All accounts are removed." : plain(meaning),
    pending,
    grace,
    saga.lastError === undefined || isDone ? undefined : `Last failure: ${saga.lastError.message}`,
    whoActs(isDone ? "nobody" : actor),
    isDone ? "To see what was done:" : plain(fillCommand(fix, names)),
  ];
  return {
    name,
    namespace,
    reason,
    actor: isDone ? "nobody" : actor,
    paragraph: join(sentences),
    command: isDone ? shell`kubectl tenantuser audit ${name} -n ${namespace}` : fillCommand(command, names),
  };
}

function goneReason({ state, pending }: SagaView): string {
  if (state === "orphaned") return REASON.Orphaned;
  if (state === "retained") return REASON.Retained;
  return pending.length > 0 ? REASON.CleanupPending : REASON.Deleting;
}

function phase({ phase: kind, since, behind }: UserHealth, reason: string, now: Date): string {
  const when = since === undefined ? "" : ` since ${moment(since)} (${fromNow(since, now)})`;
  switch (kind) {
    case "ready":
      return `is ${behind ? "being changed" : "Ready"}${when}, ${reason}`;
    case "underway":
      return `is not Ready and continues automatically${when}, ${reason}`;
    case "stalled":
      return `is stalled${when}, ${reason}`;
    case "suspended":
      return `is suspended${when}, ${reason}`;
    case "leaving":
      return `is being deleted${when}, ${reason}`;
    case "unseen":
      return `has not been observed yet${when}, ${reason}`;
    default:
      return kind satisfies never;
  }
}

function whoActs(actor: Actor): string {
  return actor === "nobody" ? "Nobody needs to act." : `The ${actor} must act.`;
}

/** The catalogue's Markdown, for a terminal. */
function plain(text: string): string {
  return text.replaceAll("`", "");
}

/** The first step that is True for another reason than that all is well. */
function stepNote(person: UserView) {
  const steps = [CONDITION.KeycloakReady, CONDITION.NewAPIReady, CONDITION.SecretReady];
  return steps
    .flatMap((type) => conditionOf(person, type) ?? [])
    .find(({ reason }) => reason === REASON.NotSupportedByGateway);
}

/** Whoever waits for the Tenant wants to know what the Tenant waits for. */
function tenantCause(reason: string, tenant: Tenant | undefined) {
  if (reason !== REASON.TenantNotReady && reason !== REASON.UpstreamUnavailable) return undefined;
  const ready = tenant?.status?.conditions?.find(({ type }) => type === CONDITION.Ready);
  if (ready === undefined || ready.status === "True" || ready.reason === reason) return undefined;
  return { reason: ready.reason, message: ready.message };
}

/** Each part once, as a sentence; what others wrote cannot leave the line. */
function join(parts: readonly (string | undefined)[]): string {
  const said = parts.flatMap((part) => (part === undefined ? [] : printable(part))).filter((part) => part !== "");
  return [...new Set(said)].map((part) => (/[.!?:…]$/.test(part) ? part : `${part}.`)).join(" ");
}
