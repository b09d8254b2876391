/** Commands about those who have no object any more: pending cleanups, orphans, purge, waive. What cannot be taken back asks twice. */
import type { SagasAnswer, SagaView } from "../../api/operator.ts";
import { EXIT, type Exit, failure, PluginError } from "../exit.ts";
import type { CommandSession } from "../session.ts";
import { fromNow, moment, printable, wrapped } from "../text.ts";
import { type Column, listed, moreOf } from "./listing.ts";
import { unknownUser, whoIsMeant } from "./show.ts";
import { shell } from "../../lib/shell.ts";

export interface StoreOptions {
  readonly tenant?: string;
}

export interface EndOptions {
  readonly uuid?: string;
  readonly reason?: string;
  readonly yes?: boolean;
  readonly confirm?: string;
  readonly otherCluster?: boolean;
}

export async function cleanups(session: CommandSession, { tenant }: StoreOptions): Promise<Exit> {
  const answer = await (await session.operator()).cleanups(tenant);
  const ago = (at: string | undefined): string => (at === undefined ? "" : fromNow(at, session.now()));
  return listedSagas(session, answer, "No cleanup is pending.", [
    ["PENDING", ({ pending }) => ({ text: pending.join(","), tone: "busy" })],
    ["SINCE", ({ since }) => ago(since)],
    ["TRIES", ({ retryCount }) => String(retryCount)],
    ["NEXT", ({ dueAt }) => ago(dueAt)],
    ["LAST FAILURE", ({ lastError }) => lastError?.message ?? ""],
  ]);
}

export async function orphans(session: CommandSession, { tenant }: StoreOptions): Promise<Exit> {
  const answer = await (await session.operator()).ownerless(tenant);
  const ago = (at: string | undefined): string => (at === undefined ? "" : fromNow(at, session.now()));
  return listedSagas(session, answer, "No accounts live on without an object.", [
    ["WHY", ({ ownerless = "" }) => ({ text: ownerless, tone: ownerless === "orphaned" ? "bad" : "plain" })],
    ["SINCE", ({ since }) => ago(since)],
    ["PURGED", ({ purgeAt }) => ago(purgeAt)],
    ["CLUSTER", ({ thisCluster }) => (thisCluster ? "this" : { text: "another", tone: "busy" })],
    ["UUID", ({ uuid }) => uuid],
  ]);
}

/** Whose rows these are, and what the columns say of each. */
function listedSagas(session: CommandSession, answer: SagasAnswer, none: string, columns: Column<SagaView>[]): Exit {
  const whose: Column<SagaView>[] = [
    ["TENANT", ({ tenantID }) => tenantID],
    ["PERSON", ({ namespace = "?", name = "?" }) => ({ text: `${namespace}/${name}`, tone: "strong" })],
    ["EMAIL", ({ email }) => email],
  ];
  return listed(session, answer, { rows: answer.sagas, columns: [...whose, ...columns], none, more: moreOf(answer) });
}

export async function purge(session: CommandSession, name: string | undefined, options: EndOptions): Promise<Exit> {
  const { operator, saga } = await meant(session, name, options, "purged", ({ ownerless }) => ownerless !== undefined);
  const kept = saga.adopted ? "The Keycloak user was there before us and stays; what we gave it is taken away." : "";
  const elsewhere = saga.thisCluster
    ? ""
    : "The row was written under another cluster, where the person may be living.";
  const reason = await confirmed(session, saga, options, [
    `Purge ${saga.email} of tenant ${saga.tenantID} (${saga.ownerless ?? saga.state}): the Secret is removed, the key opens nothing from then on, the Keycloak user goes.`,
    accounts(saga),
    kept,
    elsewhere,
    "You cannot undo this.",
  ]);
  const answer = await operator.purge(saga.uuid, {
    email: saga.email,
    reason,
    otherCluster: options.otherCluster === true,
  });
  if (!session.data(answer)) session.out(`${saga.email} is being purged: ${answer.pending.join(", ")}\n`);
  return EXIT.done;
}

export async function waive(session: CommandSession, name: string | undefined, options: EndOptions): Promise<Exit> {
  const { operator, saga } = await meant(session, name, options, "waived", ({ pending }) => pending.length > 0);
  const stays = saga.pending.includes("newapi")
    ? "The gateway account may still be enabled, and then its key still works."
    : "";
  const reason = await confirmed(session, saga, options, [
    `Waive the pending cleanup for ${saga.email} of tenant ${saga.tenantID}: the service will never remove ${saga.pending.join(", ")}.`,
    accounts(saga),
    stays,
    "Do it only when the upstream is gone for good, or was cleaned up by hand. You cannot undo this.",
  ]);
  const answer = await operator.waive(saga.uuid, { email: saga.email, reason, otherCluster: false });
  if (!session.data(answer))
    session.out(`${saga.email} is waived; the service never removes: ${answer.pending.join(", ")}\n`);
  return EXIT.done;
}

/** The one row that a name or uuid means. */
async function meant(
  session: CommandSession,
  name: string | undefined,
  { uuid }: EndOptions,
  verb: string,
  fits: (saga: SagaView) => boolean,
) {
  const who = await whoIsMeant(session, name, uuid);
  const operator = await session.operator();
  const { sagas } = await operator.people(who);
  if (sagas.length === 0) throw unknownUser(who);
  const [saga, ...others] = sagas.filter(fits);
  if (saga === undefined) {
    const states = sagas.map((each) => `${each.email} is ${each.state}`).join(", ");
    throw failure(`Nothing here can be ${verb}: ${states}.`);
  }
  if (others.length > 0) {
    const uuids = [saga, ...others].map((each) => `${each.uuid} (${each.email})`).join(", ");
    throw new PluginError(EXIT.usage, `That name stands for several rows, say which with --uuid: ${uuids}.`);
  }
  return { operator, saga };
}

/** Asks twice: whether, and for the very email. Gives the reason. */
async function confirmed(
  session: CommandSession,
  saga: SagaView,
  options: EndOptions,
  what: readonly string[],
): Promise<string> {
  const { yes = false, confirm } = options;
  if (!session.interactive && (!yes || confirm === undefined || options.reason === undefined)) {
    throw new PluginError(
      EXIT.usage,
      `This cannot be taken back, and nobody is there to ask: say --yes, ${shell`--confirm=${saga.email}`} and --reason TEXT.`,
    );
  }
  const stopped = failure("Nothing was changed.");
  if (!yes) {
    const told = what.filter((line) => line !== "").map((line) => wrapped(printable(line), 100));
    session.out(`${told.join("\n")}\n`);
    if (!/^y(es)?$/i.test((await session.ask("Continue? [y/N] ")).trim())) throw stopped;
  }
  const typed = confirm ?? (await session.ask("Type the email address to confirm: "));
  if (typed.trim().toLowerCase() !== saga.email) {
    throw confirm === undefined
      ? stopped
      : new PluginError(EXIT.usage, "--confirm is another email address: nothing was changed.");
  }
  const reason = (options.reason ?? (await session.ask("Why? (goes into the audit) "))).trim();
  if (reason === "") throw new PluginError(EXIT.usage, "A reason is needed: nothing was changed.");
  return reason;
}

function accounts({ keycloakUserID = "none", newapiUserID = "none", secret = "none", since }: SagaView): string {
  const when = since === undefined ? "" : `, as it is since ${moment(since)}`;
  return `Keycloak user ${keycloakUserID}, gateway account ${newapiUserID}, Secret ${secret}${when}.`;
}
