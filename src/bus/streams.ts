import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { TransientError } from "../lib/errors.ts";

export const HEARTBEAT_SUBJECT = "unified-rbac.reconcile-pending";
export const EVENT_SUBJECT = "sme.user.events";
export const CONSUMER = "unified-rbac-reconciler";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** Far above what an event of ours can be; what is larger is not ours. */
const MOST_EVENT_BYTES = 64 * 1024;
/** Some 400,000 events: a consumer that is away for the whole retention cannot fill the platform's disk. */
const MOST_STREAM_BYTES = 256 * 1024 * 1024;

/** The streams that are used, by name: those of the platform, or ours, which are made when they are missing. */
export interface StreamNames {
  readonly heartbeat: string;
  readonly events: string;
}

export const STREAM_NAMES: StreamNames = { heartbeat: "UNIFIED_RBAC_HEARTBEAT", events: "SME_USER_EVENTS" };

/** Error codes of JetStream's API. */
export const JETSTREAM = {
  messageTooLarge: 10054,
  streamNotFound: 10059,
  otherStream: 10060,
  subjectTaken: 10065,
} as const;

const common = {
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.Old,
} as const;

/** One message, however many were sent: no backlog can form. The duplicate window cannot exceed max_age. */
const heartbeatStream = {
  ...common,
  description: "Look for due work. Losing it loses nothing.",
  subjects: [HEARTBEAT_SUBJECT],
  max_msgs_per_subject: 1,
  max_msg_size: 1024,
  max_bytes: 1024 * 1024,
  max_age: nanos(2 * MINUTE),
  duplicate_window: nanos(2 * MINUTE),
} satisfies Partial<StreamConfig>;

/** The outbox repeats an event until it is acknowledged, which after an outage can be hours later. */
const eventStream = {
  ...common,
  description: "Life-cycle events of users, for billing, notification and audit.",
  subjects: [EVENT_SUBJECT],
  max_age: nanos(30 * DAY),
  max_msg_size: MOST_EVENT_BYTES,
  max_bytes: MOST_STREAM_BYTES,
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

/** Makes the stream of this name when it is missing; throws when it, or another, is not fit for the subject. */
export const ensureHeartbeatStream = (nc: NatsConnection, name: string): Promise<void> =>
  ensureStream(nc, { ...heartbeatStream, name }, { subject: HEARTBEAT_SUBJECT, setting: "NATS_HEARTBEAT_STREAM" });

export const ensureEventStream = (nc: NatsConnection, name: string): Promise<void> =>
  ensureStream(nc, { ...eventStream, name }, { subject: EVENT_SUBJECT, setting: "NATS_EVENT_STREAM" });

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
 * A stream of the wanted name is used with the platform's replicas and retention, as long as it stores what it
 * acknowledges. One of another name that takes the subject may be anybody's who may use this NATS: its ack says nothing
 * about who reads the event, or whether it is kept, so it is never used.
 */
async function ensureStream(
  nc: NatsConnection,
  wanted: Partial<StreamConfig> & { name: string },
  { subject, setting }: { readonly subject: string; readonly setting: string },
): Promise<void> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const found = await manager.streams.info(wanted.name).catch((error: unknown) => {
    if (apiCode(error) === JETSTREAM.streamNotFound) return undefined;
    throw error;
  });
  if (found !== undefined) {
    const { no_ack: silent, sealed } = found.config;
    // A mirror has none.
    const subjects = found.config.subjects as readonly string[] | undefined;
    if (subjects?.some((taken) => covers(taken, subject)) !== true) {
      throw unfit(
        `The stream ${wanted.name} does not take ${subject}: add the subject to it, or name another in ${setting}.`,
      );
    }
    if (silent || sealed) {
      throw unfit(
        `The stream ${wanted.name} stores nothing that it is sent (no_ack or sealed): change that, or name another in ${setting}.`,
      );
    }
    return;
  }
  try {
    await manager.streams.add(wanted);
  } catch (error) {
    if (apiCode(error) !== JETSTREAM.subjectTaken) throw error;
    const other = await manager.streams.find(subject).catch(() => "another stream");
    throw unfit(
      `${other} takes ${subject} already, and is not the stream ${wanted.name}: name it in ${setting} when it is the platform's own, or take the subject from it.`,
      error,
    );
  }
}

/** The code of JetStream's API that an error carries. */
export function apiCode(error: unknown): number | undefined {
  return error instanceof JetStreamApiError ? error.code : undefined;
}

function unfit(message: string, cause?: unknown): TransientError {
  return new TransientError({ code: "UpstreamUnavailable", upstream: "nats", message, cause });
}

/** Whether a stream's subject, with its wildcards, takes this one. */
function covers(pattern: string, subject: string): boolean {
  const wanted = subject.split(".");
  const tokens = pattern.split(".");
  const end = tokens.indexOf(">");
  if (end === -1 ? tokens.length !== wanted.length : wanted.length <= end) return false;
  return tokens.every((token, index) => token === "*" || token === ">" || token === wanted[index]);
}
