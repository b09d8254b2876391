import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  JetStreamError,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";

export const HEARTBEAT_SUBJECT = "unified-rbac.reconcile-pending";
export const EVENT_SUBJECT = "sme.user.events";
export const CONSUMER = "unified-rbac-reconciler";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const common = {
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.Old,
} as const;

/** One message, however many were sent: no backlog can form. The duplicate window cannot exceed max_age. */
const heartbeatStream = {
  ...common,
  name: "UNIFIED_RBAC_HEARTBEAT",
  description: "Look for due work. Losing it loses nothing.",
  subjects: [HEARTBEAT_SUBJECT],
  max_msgs_per_subject: 1,
  max_age: nanos(2 * MINUTE),
  duplicate_window: nanos(2 * MINUTE),
} satisfies Partial<StreamConfig>;

/** The outbox repeats an event until it is acknowledged, which after an outage can be hours later. */
const eventStream = {
  ...common,
  name: "SME_USER_EVENTS",
  description: "Life-cycle events of users, for billing, notification and audit.",
  subjects: [EVENT_SUBJECT],
  max_age: nanos(30 * DAY),
  duplicate_window: nanos(DAY),
} satisfies Partial<StreamConfig>;

const consumer = {
  durable_name: CONSUMER,
  description: "Shared by all reconcilers: each message wakes one of them.",
  deliver_policy: DeliverPolicy.All,
  ack_policy: AckPolicy.Explicit,
  ack_wait: nanos(20_000),
  // The next heartbeat is the repetition.
  max_deliver: 1,
} satisfies Partial<ConsumerConfig>;

/** Makes the stream when the subject has none, and returns its name. */
export const ensureHeartbeatStream = (nc: NatsConnection): Promise<string> =>
  ensureStream(nc, heartbeatStream, HEARTBEAT_SUBJECT);

export const ensureEventStream = (nc: NatsConnection): Promise<string> => ensureStream(nc, eventStream, EVENT_SUBJECT);

/** Makes the durable consumer on this stream when it is missing. */
export async function ensureConsumer(nc: NatsConnection, stream: string): Promise<void> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  try {
    await manager.consumers.info(stream, CONSUMER);
  } catch (error) {
    if (!(error instanceof JetStreamApiError)) throw error;
    // Identical to what another replica may be making right now: the server takes that as the same consumer.
    await manager.consumers.add(stream, consumer);
  }
}

/**
 * A stream that takes the subject already, under whatever name, is the platform's own (with its replicas and
 * retention) and is used as it is.
 */
async function ensureStream(
  nc: NatsConnection,
  wanted: Partial<StreamConfig> & { name: string },
  subject: string,
): Promise<string> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  try {
    return await manager.streams.find(subject);
  } catch (error) {
    if (!(error instanceof JetStreamError || error instanceof JetStreamApiError)) throw error;
  }
  const made = await manager.streams.add(wanted);
  return made.config.name;
}
