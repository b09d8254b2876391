import type { UserEvent } from "../api/userEvent.ts";

export type { UserEvent };

/**
 * NATS JetStream as the service needs it. Connects in the background for ever; a missing stream or consumer is
 * made again. Losing NATS loses nothing: a publish that fails throws TransientError and the outbox keeps the event.
 */
export interface Bus {
  connected(): boolean;
  /** "Look for due work", at most one per period whatever the number of replicas (Msg-Id `hb-<floor(t/period)>`). */
  publishHeartbeat(now: number): Promise<void>;
  /** "Look now", because something just became due. Best effort: never throws. */
  kick(): void;
  /** Resolves after the JetStream ack; `Nats-Msg-Id` is the event's id; `traceparent` is that of the caller's span. */
  publishEvent(event: UserEvent, signal: AbortSignal): Promise<void>;
  /** Calls `look` for every heartbeat or kick, for ever; survives the loss of consumer, stream and server. */
  consumeHeartbeat(look: () => void): void;
  /** Milliseconds since the epoch of the last message or idle heartbeat from the server; 0 before the first. */
  lastProgress(): number;
  close(): Promise<void>;
}
