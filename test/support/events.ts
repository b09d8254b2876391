import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

import { EVENT_SUBJECT } from "../../src/bus/streams.ts";
import type { UserEvent } from "../../src/api/userEvent.ts";

export interface EventReader {
  /** Every life-cycle event since the reader was opened, oldest first; one that was sent twice may stand there twice. */
  all(): Promise<readonly UserEvent[]>;
  close(): Promise<void>;
}

/** Reads the stream as it is stored: whether anybody listened when an event came, or NATS was away, does not matter. */
export async function openEventReader(natsURL: string): Promise<EventReader> {
  const connection = await connect({
    servers: new URL(natsURL).host,
    name: "event reader",
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const read: UserEvent[] = [];

  const stream = (): Promise<string | undefined> => manager.streams.find(EVENT_SUBJECT).catch(() => undefined);
  const lastSeq = async (name: string): Promise<number> => (await manager.streams.info(name)).state.last_seq;
  const before = await stream();
  let seen = before === undefined ? 0 : await lastSeq(before);

  async function readOn(): Promise<void> {
    const name = await stream();
    if (name === undefined) return;
    const last = await lastSeq(name);
    // Made again, for its storage was lost.
    if (last < seen) seen = 0;
    for (; seen < last; seen += 1) {
      const message = await manager.streams.getMessage(name, { seq: seen + 1 });
      if (message !== null) read.push(message.json<UserEvent>());
    }
  }

  // One after the other: two who read on at once would each skip what the other has read.
  let reading: Promise<void> = Promise.resolve();
  return {
    async all() {
      const mine = reading.catch(() => undefined).then(readOn);
      reading = mine;
      await mine;
      return [...read];
    },
    close: () => connection.close(),
  };
}
