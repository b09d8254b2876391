/** Commands about events that NATS does not take: which and why, and once more. */
import { EXIT, type Exit } from "../exit.ts";
import type { CommandSession } from "../session.ts";
import { type Cell, fromNow, table } from "../text.ts";

export interface EventsOptions {
  readonly tenant?: string;
}

export async function parkedEvents(session: CommandSession, { tenant }: EventsOptions): Promise<Exit> {
  const answer = await (await session.operator()).parkedEvents(tenant);
  if (session.data(answer)) return EXIT.done;
  if (answer.events.length === 0) {
    session.note("No event is parked.");
    return EXIT.done;
  }
  const now = session.now();
  const rows = answer.events.map((event): Cell[] => [
    { text: event.tenantID },
    { text: event.uuid, tone: "strong" },
    { text: event.type },
    { text: fromNow(event.parkedAt, now) },
    { text: event.reason, tone: "bad" },
  ]);
  session.out(table(["TENANT", "UUID", "EVENT", "PARKED", "REASON"], rows, session.paint));
  if (answer.truncated) session.note("There are more: say --tenant.");
  return EXIT.done;
}

export async function retryEvents(session: CommandSession, { tenant }: EventsOptions): Promise<Exit> {
  const answer = await (await session.operator()).retryEvents(tenant);
  if (session.data(answer)) return EXIT.done;
  const said = answer.retried === 1 ? "1 event is" : `${answer.retried} events are`;
  session.out(answer.retried === 0 ? "No event is parked.\n" : `${said} sent again.\n`);
  return EXIT.done;
}
