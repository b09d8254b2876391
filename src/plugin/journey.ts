/** A person's journey as moments in order: what was done, what failed, what was said, what comes next. Pure. */
import type { AuditView, SagaView } from "../api/operator.ts";
import { REASON } from "../api/reasons.ts";
import type { UserView } from "./userView.ts";
import { printable } from "./text.ts";

export interface Moment {
  /** RFC 3339. */
  readonly at: string;
  readonly kind: "did" | "failed" | "said" | "next";
  /** A step, a reason, or one word of ours. */
  readonly what: string;
  readonly text: string;
}

/** An Event of the object. */
export interface SeenEvent {
  readonly at: string;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

export interface Sources {
  /** Undefined: the object is gone. */
  readonly person: UserView | undefined;
  /** Undefined: the state store was not asked, or has nobody. */
  readonly saga: SagaView | undefined;
  readonly audit: readonly AuditView[];
  readonly events: readonly SeenEvent[];
}

/** Two tellings of one thing: an Event comes a moment after what it tells of. */
const SAME_MS = 15_000;

export function journey({ person, saga, audit, events }: Sources, now: Date): Moment[] {
  const told = [...objectMoments(person), ...audit.map(audited), ...historyMoments(person, saga)];
  const failure = lastFailure(person, saga);
  if (failure !== undefined && !told.some((each) => sameTelling(each, failure))) told.push(failure);
  for (const event of events.map(seen)) if (!told.some((each) => sameTelling(each, event))) told.push(event);
  return [...told, ...nextMoments(person, saga, now)]
    .map((each) => ({ ...each, what: printable(each.what), text: printable(each.text) }))
    .toSorted((a, b) => time(a.at) - time(b.at) || Number(a.kind === "next") - Number(b.kind === "next"));
}

/** What will happen, and when, as one sentence; undefined where only the healthOf knows. */
export function nextMoments(person: UserView | undefined, saga: SagaView | undefined, now: Date): Moment[] {
  const next: Moment[] = [];
  const add = (at: string | undefined, what: string, text: string): void => {
    if (at !== undefined && time(at) > now.getTime()) next.push({ at, kind: "next", what, text });
  };
  const attempt = (saga?.retryCount ?? person?.status?.retryCount ?? 0) + 1;
  const retryAt = person?.status?.nextRetryAt ?? (person === undefined ? saga?.dueAt : undefined);
  const step = saga?.lastError?.step ?? person?.status?.lastError?.step;
  const waits = (saga?.purgeAt ?? "") === "";
  if (waits) {
    add(
      retryAt,
      step ?? "poll",
      attempt > 1 ? `attempt ${attempt}, or as soon as the upstream answers` : "checked again",
    );
  }
  add(saga?.purgeAt, "purge", "the time of grace ends, and what is left is undone");
  add(person?.status?.key?.previousUntil, "newapi", "the key before the last rotation is removed");
  return next;
}

function objectMoments(person: UserView | undefined): Moment[] {
  if (person === undefined) return [];
  const { creationTimestamp, deletionTimestamp } = person.metadata;
  const created: Moment = {
    at: creationTimestamp,
    kind: "said",
    what: "committed",
    text: "the object is in the cluster",
  };
  if (deletionTimestamp === undefined) return [created];
  return [created, { at: deletionTimestamp, kind: "said", what: "deleted", text: "somebody deleted the object" }];
}

function audited({ at, step, action, target, detail }: AuditView): Moment {
  if (step !== "operator")
    return { at, kind: "did", what: step, text: target === undefined ? action : `${action} ${target}` };
  const { by, reason } = detail ?? {};
  return { at, kind: "said", what: action, text: `ordered by ${text(by)}: ${text(reason)}` };
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "?";
}

const WELL: ReadonlySet<string> = new Set<string>([REASON.Ready, REASON.Disabled, REASON.Retained, REASON.Deleting]);

function historyMoments(person: UserView | undefined, saga: SagaView | undefined): Moment[] {
  const history = saga?.history ?? person?.status?.history ?? [];
  return history.map(({ at, state, reason, message }) => ({
    at,
    kind: WELL.has(reason) ? "said" : "failed",
    what: reason,
    text: message ?? `state ${state}`,
  }));
}

function lastFailure(person: UserView | undefined, saga: SagaView | undefined): Moment | undefined {
  const error = saga?.lastError ?? person?.status?.lastError;
  if (error?.at === undefined) return undefined;
  const tries = saga?.retryCount ?? person?.status?.retryCount ?? 0;
  const answered = error.upstreamStatus === undefined ? "" : ` (${error.upstreamStatus})`;
  const count = tries > 0 ? `attempt ${tries} failed${answered}: ` : "";
  return {
    at: error.at,
    kind: "failed",
    what: error.step ?? error.code ?? "error",
    text: `${count}${error.message ?? ""}`,
  };
}

function seen({ at, type, reason, message }: SeenEvent): Moment {
  return { at, kind: type === "Normal" ? "said" : "failed", what: reason, text: message };
}

function sameTelling(a: Moment, b: Moment): boolean {
  const near = Math.abs(time(a.at) - time(b.at)) <= SAME_MS;
  return near && (a.text.includes(b.text) || b.text.includes(a.text) || (a.what === b.what && a.what === REASON.Ready));
}

function time(at: string): number {
  const ms = new Date(at).getTime();
  return Number.isNaN(ms) ? 0 : ms;
}
