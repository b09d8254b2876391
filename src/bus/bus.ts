/** The wire form of a life-cycle event on subject `sme.user.events`. */
export interface UserEvent {
  readonly id: string;
  readonly type: "sme.user.created" | "sme.user.updated" | "sme.user.key-rotated" | "sme.user.deleted" | "sme.user.failed";
  readonly source: "unified-rbac";
  /** RFC 3339, UTC. */
  readonly timestamp: string;
  readonly tenant_id: string;
  readonly data: {
    readonly sme_user_uuid: string;
    readonly email: string;
    readonly kc_user_id: string | null;
    readonly newapi_user_id: string | null;
    readonly secret_name: string | null;
  };
  readonly metadata: Readonly<Record<string, string>>;
}

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
  /** Resolves after the JetStream ack; `Nats-Msg-Id` is the event's id. */
  publishEvent(event: UserEvent, signal: AbortSignal): Promise<void>;
  /** Calls `look` for every heartbeat or kick, for ever; survives the loss of consumer, stream and server. */
  consumeHeartbeat(look: () => void): void;
  /** Milliseconds since the epoch of the last message or idle heartbeat from the server; 0 before the first. */
  lastProgress(): number;
  close(): Promise<void>;
}
