import { jetstream } from "@nats-io/jetstream";
import { headers, type NatsConnection, RequestError } from "@nats-io/transport-node";
import type { Clock } from "../lib/clock.ts";
import { isSagaError, TerminalError, TransientError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { noTracer, type Tracer } from "../lib/tracing.ts";
import type { Bus, UserEvent } from "./bus.ts";
import { type ConnectOptions, keepConnected } from "./natsConnection.ts";
import { consumeForever } from "./consume.ts";
import {
  apiCode,
  ensureEventStream,
  ensureHeartbeatStream,
  EVENT_SUBJECT,
  HEARTBEAT_SUBJECT,
  JETSTREAM,
  STREAM_NAMES,
  type StreamNames,
} from "./streams.ts";

/** What the headers of a publish take beside the data: the id, and the name of the stream. */
const HEADER_BYTES = 512;
/** However much becomes due at once: the first call wakes somebody, who claims as much as there is. */
const KICK_GAP_MS = 100;

export interface BusOptions extends ConnectOptions {
  /** Length of a heartbeat period in milliseconds: all replicas must agree on it. */
  readonly periodMs: number;
  /** Time limit of one publish. Default 5 s. */
  readonly publishTimeoutMs?: number;
  /** Default: ours, which are made when they are missing. */
  readonly streams?: Partial<StreamNames>;
  /** The server says this often that a quiet consumer is alive. Default 2 s; at least 500 ms. */
  readonly idleHeartbeatMs?: number;
}

export interface BusDeps {
  readonly log: Log;
  readonly clock: Clock;
  /** Default: no message names a trace. */
  readonly tracer?: Pick<Tracer, "traceparent">;
}

/** Begins to connect at once, in the background, and never gives up: starting never waits for NATS. */
export function makeBus(deps: BusDeps, options: BusOptions): Bus {
  const { log, clock, tracer = noTracer } = deps;
  const closing = new AbortController();
  const connection = keepConnected(log, options, closing.signal);
  const timeout = options.publishTimeoutMs ?? 5000;
  const loops: Promise<void>[] = [];
  let lastProgress = 0;

  const streams = { ...STREAM_NAMES, ...options.streams };

  const publish = async (
    subject: string,
    stream: string,
    id: string,
    data: string,
    ensureStream: (nc: NatsConnection, name: string) => Promise<void>,
  ): Promise<void> => {
    const nc = connection.current()?.nc;
    if (nc === undefined) throw unavailable("NATS is not connected.");
    const size = Buffer.byteLength(data);
    const most = nc.info?.max_payload ?? Number.POSITIVE_INFINITY;
    if (size + HEADER_BYTES > most) throw refused(`It has ${size} bytes, and NATS takes at most ${most}.`);
    const attempt = async (): Promise<void> => {
      const ack = await jetstream(nc).publish(subject, data, {
        msgID: id,
        timeout,
        expect: { streamName: stream },
        ...tracedBy(tracer.traceparent()),
      });
      // Whoever may subscribe to the subject can answer, too.
      if (ack.stream !== stream)
        throw unavailable(`What acknowledged a message for ${subject} is not the stream ${stream}.`);
    };
    try {
      await attempt().catch(async (error: unknown) => {
        if (!nobodyListens(error) && apiCode(error) !== JETSTREAM.otherStream) throw error;
        await ensureStream(nc, stream);
        return attempt();
      });
    } catch (error) {
      if (apiCode(error) === JETSTREAM.messageTooLarge) {
        throw refused(`It has ${size} bytes, and the stream ${stream} takes fewer (max_msg_size).`, error);
      }
      if (isSagaError(error)) throw error;
      throw unavailable(`NATS did not take a message for ${subject}.`, error);
    }
  };

  return {
    connected: () => connection.current() !== undefined,

    publishHeartbeat: (now) =>
      publish(
        HEARTBEAT_SUBJECT,
        streams.heartbeat,
        `hb-${Math.floor(now / options.periodMs)}`,
        "{}",
        ensureHeartbeatStream,
      ),

    kick: once(KICK_GAP_MS, () => {
      try {
        // Fire and forget. Not while disconnected: the client would hoard kicks and send them all at once later.
        connection.current()?.nc.publish(HEARTBEAT_SUBJECT, "{}");
      } catch (error) {
        log.debug("failed to send a kick", { error });
      }
    }),

    publishEvent: (event: UserEvent, signal) =>
      until(signal, publish(EVENT_SUBJECT, streams.events, event.id, JSON.stringify(event), ensureEventStream)),

    consumeHeartbeat(look) {
      const consumed = consumeForever({
        log,
        connection,
        streams,
        signal: closing.signal,
        idleHeartbeatMs: options.idleHeartbeatMs ?? 2000,
        onMessage: look,
        onProgress: () => {
          lastProgress = clock.now();
        },
      });
      loops.push(consumed);
    },

    lastProgress: () => lastProgress,

    async close() {
      closing.abort(new Error("the bus is closed"));
      await Promise.all([...loops, connection.closed]);
    },
  };
}

function tracedBy(traceparent: string | undefined) {
  if (traceparent === undefined) return {};
  const own = headers();
  own.set("traceparent", traceparent);
  return { headers: own };
}

/** Calls `work` at once, then at most once in `gapMs`; a call in between is made up for at its end. */
function once(gapMs: number, work: () => void): () => void {
  let open = true;
  let asked = false;
  return function call(): void {
    if (!open) {
      asked = true;
      return;
    }
    open = false;
    setTimeout(() => {
      open = true;
      if (!asked) return;
      asked = false;
      call();
    }, gapMs).unref();
    work();
  };
}

/** NATS will never take it, however often it is sent. */
function refused(message: string, cause?: unknown): TerminalError {
  return new TerminalError({ code: "EventRefused", upstream: "nats", message, cause });
}

function unavailable(message: string, cause?: unknown): TransientError {
  return new TransientError({ code: "UpstreamUnavailable", upstream: "nats", message, cause });
}

/** No stream takes the subject, so nothing was stored. The library calls that "not enabled". */
function nobodyListens(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof RequestError && error.cause.isNoResponders();
}

/** The library's publish takes no signal: whoever waits is released, the call ends at its own time limit. */
async function until<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(unavailable("The publish was cut short.", signal.reason));
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
