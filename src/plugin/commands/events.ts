/** Commands about events that NATS does not take: which and why, and once more. */
import { EXIT, type Exit } from "../exit.ts";
import type { CommandSession } from "../session.ts";
import { fromNow } from "../text.ts";
import { listed, moreOf } from "./listing.ts";

export interface EventsOptions {
  readonly tenant?: string;
}

export async function parkedEvents(session: CommandSession, { tenant }: EventsOptions): Promise<Exit> {
  const answer = await (await session.operator()).parkedEvents(tenant);
  const now = session.now();
  return listed(session, answer, {
    rows: answer.events,
    columns: [
      ["TENANT", ({ tenantID }) => tenantID],
      ["UUID", ({ uuid }) => ({ text: uuid, tone: "strong" })],
      ["EVENT", ({ type }) => type],
      ["PARKED", ({ parkedAt }) => fromNow(parkedAt, now)],
      ["REASON", ({ reason }) => ({ text: reason, tone: "bad" })],
    ],
    none: "No event is parked.",
    more: moreOf(answer),
  });
}

export async function retryEvents(session: CommandSession, { tenant }: EventsOptions): Promise<Exit> {
  const answer = await (await session.operator()).retryEvents(tenant);
  if (session.data(answer)) return EXIT.done;
  const said = answer.retried === 1 ? "1 event is" : `${answer.retried} events are`;
  session.out(answer.retried === 0 ? "No event is parked.\n" : `${said} sent again.\n`);
  return EXIT.done;
}
