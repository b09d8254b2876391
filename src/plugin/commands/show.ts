/** Commands that only read: list, status, why, wait. */
import { setTimeout as sleep } from "node:timers/promises";
import { parseDuration } from "../../api/duration.ts";
import type { AuditView, PeopleAnswer, SagaView } from "../../api/operator.ts";
import { CONDITION } from "../../api/reasons.ts";
import { EXIT, type Exit, PluginError } from "../exit.ts";
import { journey } from "../journey.ts";
import { conditionOf, type UserView, healthOf } from "../userView.ts";
import type { CommandSession } from "../session.ts";
import { goneText, nextText, statusText, TONE } from "../status.ts";
import { printable, span, wrapped } from "../text.ts";
import { why, whyGone } from "../why.ts";
import { type Column, listed } from "./listing.ts";
import { shell } from "../../lib/shell.ts";

const POLL_EVERY_MS = 1_000;

export interface ListOptions {
  readonly allNamespaces?: boolean;
  readonly notReady?: boolean;
}

export async function list(session: CommandSession, options: ListOptions): Promise<Exit> {
  const all = options.allNamespaces === true;
  const namespace = all ? undefined : await session.namespace();
  const people = (await (await session.cluster()).people(namespace)).filter(
    (each) => options.notReady !== true || healthOf(each).phase !== "ready",
  );
  const now = session.now();
  const which = options.notReady === true ? "Everybody is Ready" : "There are no TenantUsers";
  const rows = people.map((each) => ({ ...each, health: healthOf(each) }));
  type Row = (typeof rows)[number];
  const namespaceColumn: Column<Row> = ["NAMESPACE", ({ metadata }) => metadata.namespace];
  const wideColumns: Column<Row>[] = [
    ["UUID", ({ status: known }) => known?.userUUID ?? ""],
    ["MESSAGE", ({ health }) => health.message],
  ];
  return listed(session, people.map(summary), {
    rows,
    columns: [
      ...(all ? [namespaceColumn] : []),
      ["NAME", ({ metadata }) => ({ text: metadata.name, tone: "strong" })],
      ["EMAIL", ({ spec }) => spec.email],
      ["STATE", ({ status: known }) => known?.state ?? ""],
      ["STANDING", ({ health: { phase } }) => ({ text: phase, tone: TONE[phase] })],
      ["REASON", ({ health: { phase, reason } }) => ({ text: reason, tone: TONE[phase] })],
      [
        "SINCE",
        ({ health: { since } }) => (since === undefined ? "" : span(now.getTime() - new Date(since).getTime())),
      ],
      ["TRIES", ({ status: known }) => String(known?.retryCount ?? 0)],
      ...(session.format === "wide" ? wideColumns : []),
    ],
    none: `${which} in ${namespace === undefined ? "this cluster" : `namespace ${namespace}`}.`,
  });
}

function summary(each: UserView) {
  const { phase, reason, message, since, behind } = healthOf(each);
  const { metadata, spec, status } = each;
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    email: spec.email,
    uuid: status?.userUUID,
    state: status?.state,
    phase,
    reason,
    message,
    since,
    behind,
    retryCount: status?.retryCount,
    nextRetryAt: status?.nextRetryAt,
  };
}

export interface StatusOptions {
  readonly last: number;
}

export async function status(session: CommandSession, name: string, { last }: StatusOptions): Promise<Exit> {
  const namespace = await session.namespace();
  const cluster = await session.cluster();
  const person = await cluster.person(namespace, name);
  const told = await fromStore(session, { namespace, name }, person === undefined);
  const { saga, audit } = about(person, told.answer);
  const now = session.now();
  if (person === undefined) {
    if (saga === undefined) throw nobody(namespace, name);
    const moments = journey({ person, saga, audit, events: [] }, now).slice(-last);
    if (!session.data({ saga, journey: moments })) session.out(goneText(saga, moments, session.paint));
    return EXIT.done;
  }
  const moments = journey({ person, saga, audit, events: await cluster.events(person) }, now).slice(-last);
  const found = healthOf(person);
  const next = nextText(person, saga, found, now);
  const data = { ...summary(person), health: found, next, journey: moments, saga, note: told.without };
  if (session.data(data)) return EXIT.done;
  session.out(statusText({ person, saga, journey: moments, withoutStore: told.without }, now, session.paint));
  return EXIT.done;
}

export async function explainWhy(session: CommandSession, name: string): Promise<Exit> {
  const namespace = await session.namespace();
  const cluster = await session.cluster();
  const person = await cluster.person(namespace, name);
  const { operatorNamespace } = session;
  if (person === undefined) {
    const { answer } = await fromStore(session, { namespace, name }, true);
    const [saga] = answer?.sagas ?? [];
    if (saga === undefined) throw nobody(namespace, name);
    return tell(session, whyGone(saga, operatorNamespace, session.now()));
  }
  const tenant = await cluster.tenantOf(namespace);
  return tell(session, why({ person, tenant, operatorNamespace }, session.now()));
}

function tell(session: CommandSession, told: ReturnType<typeof why>): Exit {
  if (session.data(told)) return EXIT.done;
  session.out(`${wrapped(told.paragraph, 100)}\n\n  ${session.paint("strong", printable(told.command))}\n`);
  return EXIT.done;
}

export interface WaitOptions {
  readonly for: "ready" | "gone";
  readonly timeout: string;
}

export async function wait(session: CommandSession, name: string, options: WaitOptions): Promise<Exit> {
  const namespace = await session.namespace();
  const cluster = await session.cluster();
  const came = await until(session, options.timeout, async () => {
    const person = await cluster.person(namespace, name);
    if (options.for === "gone") return { done: person === undefined, person };
    if (person === undefined) throw nobody(namespace, name);
    const { phase, behind } = healthOf(person);
    if (phase === "leaving") throw new PluginError(EXIT.notYet, `${name} is being deleted, and will not be Ready.`);
    const ready = conditionOf(person, CONDITION.Ready)?.status === "True";
    if (!ready && !behind && (phase === "stalled" || phase === "suspended")) throw stalled(person);
    return { done: ready && !behind, person };
  });
  const { person } = came;
  if (!session.data({ namespace, name, for: options.for, ...(person === undefined ? {} : summary(person)) })) {
    session.out(`${name} is ${options.for === "gone" ? "gone" : `Ready: ${healthOf(person as UserView).reason}`}\n`);
  }
  return EXIT.done;
}

/** Polls once a second until it is done; throws when the time is over. */
export async function until<T extends { readonly done: boolean; readonly person: UserView | undefined }>(
  session: CommandSession,
  timeout: string,
  observe: () => Promise<T>,
): Promise<T> {
  const deadline = session.now().getTime() + parseDuration(timeout);
  for (;;) {
    const seen = await observe();
    if (seen.done) return seen;
    if (session.now().getTime() >= deadline) throw late(seen.person, timeout);
    await sleep(POLL_EVERY_MS, undefined, { signal: session.signal });
  }
}

function late(person: UserView | undefined, timeout: string): PluginError {
  const said = person === undefined ? "" : ` ${healthOf(person).reason}: ${printable(healthOf(person).message)}`;
  return new PluginError(EXIT.notYet, `It did not happen within ${timeout}.${said}`);
}

export function stalled(person: UserView): PluginError {
  const { reason, message, phase } = healthOf(person);
  const { name, namespace } = person.metadata;
  return new PluginError(
    EXIT.notYet,
    `${name} is ${phase}, ${reason}: ${printable(message)} It does not pass by itself: ${shell`kubectl tenantuser why ${name} -n ${namespace}`}`,
  );
}

export async function whoIsMeant(session: CommandSession, name: string | undefined, uuid: string | undefined) {
  if (uuid !== undefined) return { uuid };
  if (name !== undefined) return { namespace: await session.namespace(), name };
  throw new PluginError(EXIT.usage, "Name somebody, or say --uuid.");
}

/** What the state store holds; where it cannot be asked, `needed` decides whether that is an error. */
async function fromStore(
  session: CommandSession,
  who: { readonly namespace: string; readonly name: string },
  needed: boolean,
): Promise<{ readonly answer?: PeopleAnswer; readonly without?: string }> {
  try {
    return { answer: await (await session.operator()).people(who) };
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    if (needed) {
      const { namespace, name } = who;
      throw new PluginError(
        EXIT.notFound,
        `There is no TenantUser ${name} in namespace ${namespace}, and the state store cannot be asked: ${error.message}`,
        error,
      );
    }
    return { without: `Only what stands on the object is shown. ${error.message}` };
  }
}

/** The row of this very object, and what was written for it. */
function about(
  person: UserView | undefined,
  answer: PeopleAnswer | undefined,
): { readonly saga: SagaView | undefined; readonly audit: readonly AuditView[] } {
  const sagas = answer?.sagas ?? [];
  const saga =
    person === undefined
      ? sagas[0]
      : sagas.find(({ objectUID, uuid }) => objectUID === person.metadata.uid || uuid === person.status?.userUUID);
  return { saga, audit: answer?.audit.filter(({ uuid }) => uuid === saga?.uuid) ?? [] };
}

export function nobody(namespace: string, name: string): PluginError {
  return new PluginError(
    EXIT.notFound,
    `There is no TenantUser ${name} in namespace ${namespace}: kubectl tenantuser list -A shows who there is.`,
  );
}

export function unknownUser(who: { readonly uuid: string } | { readonly namespace: string; readonly name: string }) {
  const meant = "uuid" in who ? who.uuid : `${who.namespace}/${who.name}`;
  return new PluginError(EXIT.notFound, `The state store has nobody under ${meant}.`);
}

/** Whether this very request was carried out. */
export function acknowledged({ status }: UserView, field: "requestedAt" | "rotateRequestedAt", value: string): boolean {
  return (
    value === (field === "requestedAt" ? status?.lastHandledRequestedAt : status?.key?.lastHandledRotateRequestedAt)
  );
}
