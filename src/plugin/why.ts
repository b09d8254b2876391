/** One paragraph: what is wrong, whose turn it is, the command that mends it. Pure. */
import type { Tenant } from "../api/tenant.ts";
import { CONDITION, REASON } from "../api/reasons.ts";
import type { SagaView } from "../api/operator.ts";
import { explain, type Places, type Turn } from "./explain.ts";
import { conditionOf, type Person, type Verdict, verdict } from "./person.ts";
import { fromNow, moment, printable } from "./text.ts";

export interface Why {
  readonly name: string;
  readonly namespace: string;
  readonly reason: string;
  readonly turn: Turn;
  readonly paragraph: string;
  readonly command: string;
}

export interface Asked {
  readonly person: Person;
  /** Undefined: it may not be read, or none claims the namespace. */
  readonly tenant: Tenant | undefined;
  readonly operatorNamespace: string;
}

export function why({ person, tenant, operatorNamespace }: Asked, now: Date): Why {
  const { name, namespace } = person.metadata;
  const found = verdict(person);
  // All is done, but a step has something to say.
  const note = found.standing === "ready" ? stepNote(person) : undefined;
  const reason = note?.reason ?? found.reason;
  const at: Places = {
    name,
    namespace,
    tenant: tenant?.metadata.name ?? "TENANT",
    secret: person.status?.secretName ?? "SECRET",
    operator: operatorNamespace,
  };
  const cause = tenantCause(reason, tenant);
  const { turn, mend, command } = explain(cause?.reason ?? reason);
  const sentences = [
    `${name} (${person.spec.email}) ${standing(found, reason, now)}:`,
    found.message,
    note?.message,
    explain(reason).means,
    cause === undefined ? undefined : `The Tenant ${at.tenant} says ${cause.reason}: ${cause.message}`,
    cause === undefined ? undefined : explain(cause.reason).means,
    found.behind ? "This is about an older version of the file; the newest was not looked at yet." : undefined,
    whose(turn),
    mend,
  ];
  return { name, namespace, reason, turn, paragraph: join(sentences), command: command(at) };
}

/** The same of somebody who has no object any more, from the books. */
export function whyGone(saga: SagaView, operatorNamespace: string, now: Date): Why {
  const { name = "NAME", namespace = "NAMESPACE", email } = saga;
  const reason = goneReason(saga);
  const { turn, means, mend, command } = explain(reason);
  const since = saga.since === undefined ? "" : ` since ${moment(saga.since)} (${fromNow(saga.since, now)})`;
  const owes = saga.owed.length === 0 ? undefined : `Still owed: ${saga.owed.join(", ")}.`;
  const grace =
    saga.ownerless === "grace" && saga.purgeAt !== undefined
      ? `The Tenant gives a time of grace, until ${moment(saga.purgeAt)}: until then the same person can come back.`
      : undefined;
  const said = [
    `${name} (${email}) has no TenantUser any more, and its row says ${saga.state}${since}.`,
    saga.state === "deleted" ? "Everything is undone, and nothing is left to do." : means,
    owes,
    grace,
    saga.lastError === undefined || saga.state === "deleted" ? undefined : `Last failure: ${saga.lastError.message}`,
    saga.state === "deleted" ? whose("nobody") : whose(turn),
    saga.state === "deleted" ? "What was done:" : mend,
  ];
  const at: Places = { name, namespace, tenant: saga.tenantID, secret: "SECRET", operator: operatorNamespace };
  return {
    name,
    namespace,
    reason,
    turn: saga.state === "deleted" ? "nobody" : turn,
    paragraph: join(said),
    command: saga.state === "deleted" ? `kubectl tenantuser audit ${name} -n ${namespace}` : command(at),
  };
}

function goneReason({ state, owed }: SagaView): string {
  if (state === "orphaned") return REASON.Orphaned;
  if (state === "retained") return REASON.Retained;
  return owed.length > 0 ? REASON.DebtOwed : REASON.Deleting;
}

function standing({ standing: kind, since, behind }: Verdict, reason: string, now: Date): string {
  const when = since === undefined ? "" : ` since ${moment(since)} (${fromNow(since, now)})`;
  switch (kind) {
    case "ready":
      return `is ${behind ? "being changed" : "Ready"}${when}, ${reason}`;
    case "underway":
      return `is not Ready and goes on by itself${when}, ${reason}`;
    case "stalled":
      return `is stalled${when}, ${reason}`;
    case "suspended":
      return `is suspended${when}, ${reason}`;
    case "leaving":
      return `is on the way out${when}, ${reason}`;
    case "unseen":
      return `was not looked at yet${when}, ${reason}`;
    default:
      return kind satisfies never;
  }
}

function whose(turn: Turn): string {
  switch (turn) {
    case "nobody":
      return "It is nobody's turn.";
    case "tenant":
      return "It is the tenant's turn.";
    case "platform":
      return "It is the platform's turn.";
    default:
      return turn satisfies never;
  }
}

/** The first step that is True for another reason than that all is well. */
function stepNote(person: Person) {
  const steps = [CONDITION.KeycloakReady, CONDITION.NewAPIReady, CONDITION.SecretReady];
  return steps
    .flatMap((type) => conditionOf(person, type) ?? [])
    .find(({ reason }) => reason === REASON.NotSupportedByGateway);
}

/** Who waits for the Tenant wants to know what the Tenant waits for. */
function tenantCause(reason: string, tenant: Tenant | undefined) {
  if (reason !== REASON.TenantNotReady && reason !== REASON.NeighbourUnavailable) return undefined;
  const ready = tenant?.status?.conditions?.find(({ type }) => type === CONDITION.Ready);
  if (ready === undefined || ready.status === "True" || ready.reason === reason) return undefined;
  return { reason: ready.reason, message: ready.message };
}

/** Each part once, as a sentence; what others wrote cannot leave the line. */
function join(parts: readonly (string | undefined)[]): string {
  const said = parts.flatMap((part) => (part === undefined ? [] : printable(part))).filter((part) => part !== "");
  return [...new Set(said)].map((part) => (/[.!?:…]$/.test(part) ? part : `${part}.`)).join(" ");
}
