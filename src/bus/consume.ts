import { type ConsumerMessages, type ConsumerNotification, jetstream } from "@nats-io/jetstream";
import { RETRIES } from "../lib/backoff.ts";
import { pause } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { KeptConnection, LiveConnection } from "./natsConnection.ts";
import { CONSUMER, ensureConsumer, ensureEventStream, ensureHeartbeatStream, type StreamNames } from "./streams.ts";

interface Consumption {
  readonly log: Log;
  readonly connection: KeptConnection;
  readonly streams: StreamNames;
  readonly signal: AbortSignal;
  readonly idleHeartbeatMs: number;
  readonly onMessage: () => void;
  /** The server has shown a sign of life about this consumer. */
  readonly onProgress: () => void;
}

/** Whoever may publish to the subject can flood it: the stream keeps one message, and one is taken in so long. */
const MESSAGE_GAP_MS = 100;

/**
 * One round after another, each from the ground up (connection, streams, consumer, pull) and each until something is
 * odd. The library continues silently when its consumer or stream has vanished, and after a reconnect to a server that
 * lost its storage it never looks again: a fresh round is the one cure for all of it.
 */
export async function consumeForever(deps: Consumption): Promise<void> {
  const { log, connection, signal } = deps;
  let told = false;
  while (!signal.aborted) {
    try {
      const line = await connection.wait(signal);
      const reason = await round(line, deps, () => {
        told = false;
      });
      log.debug("restarted heartbeat consumer", { outcome: reason });
    } catch (error) {
      if (signal.aborted) return;
      if (!told) log.warn("failed to read the heartbeat; retrying", { error });
      told = true;
    }
    await pause(RETRIES.heartbeat.firstMs, signal);
  }
}

/** Returns why the round ended; throws when it could not begin or broke off. */
async function round({ nc, lost }: LiveConnection, deps: Consumption, begun: () => void): Promise<string> {
  const stream = deps.streams.heartbeat;
  await ensureHeartbeatStream(nc, stream);
  await ensureConsumer(nc, stream);
  // So that others can read from it before the first event; one that cannot be had is no reason not to work.
  await ensureEventStream(nc, deps.streams.events).catch((error: unknown) =>
    deps.log.warn("failed to prepare the stream of events; events are kept in the outbox", { error }),
  );
  const consumer = await jetstream(nc).consumers.get(stream, CONSUMER);
  const messages = await consumer.consume({
    // No hoarding: what one replica has fetched, another cannot look at.
    max_messages: 1,
    expires: deps.idleHeartbeatMs * 5,
    idle_heartbeat: deps.idleHeartbeatMs,
    abort_on_missing_resource: true,
  });
  let reason = "ended";
  const end = (why: string): void => {
    reason = why;
    messages.stop();
  };
  const over = AbortSignal.any([deps.signal, lost]);
  const onOver = (): void => end("disconnected");
  over.addEventListener("abort", onOver, { once: true });
  if (over.aborted) onOver();
  const watching = watchConsumer(messages, deps.onProgress, end);
  begun();
  deps.onProgress();
  try {
    for await (const message of messages) {
      message.ack();
      deps.onProgress();
      deps.onMessage();
      await pause(MESSAGE_GAP_MS, over);
    }
  } finally {
    over.removeEventListener("abort", onOver);
    messages.stop();
    await watching;
  }
  return reason;
}

async function watchConsumer(
  messages: ConsumerMessages,
  onProgress: () => void,
  end: (why: string) => void,
): Promise<void> {
  for await (const notification of messages.status()) {
    if (notification.type === "heartbeat") onProgress();
    else if (isBad(notification)) end(notification.type);
  }
}

function isBad(notification: ConsumerNotification): boolean {
  switch (notification.type) {
    case "heartbeats_missed":
    case "consumer_not_found":
    case "consumer_deleted":
    case "stream_not_found":
    case "no_responders":
    case "exceeded_limits":
      return true;
    case "ordered_consumer_recreated":
    case "debug":
    case "discard":
    case "reset":
    case "next":
    case "heartbeat":
    case "flow_control":
    case "consumer_pinned":
    case "consumer_unpinned":
      return false;
    default:
      return notification satisfies never;
  }
}
