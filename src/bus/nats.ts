import { jetstream } from "@nats-io/jetstream";
import { type NatsConnection, RequestError } from "@nats-io/transport-node";
import type { Clock } from "../lib/clock.ts";
import { TransientError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Bus, UserEvent } from "./bus.ts";
import { type ConnectOptions, keepConnected } from "./connection.ts";
import { consumeForever } from "./consume.ts";
import { ensureEventStream, ensureHeartbeatStream, EVENT_SUBJECT, HEARTBEAT_SUBJECT } from "./streams.ts";

export interface BusOptions extends ConnectOptions {
  /** Length of a heartbeat period in milliseconds: all replicas must agree on it. */
  readonly periodMs: number;
  /** Time limit of one publish. Default 5 s. */
  readonly publishTimeoutMs?: number;
  /** The server says this often that a quiet consumer is alive. Default 2 s; at least 500 ms. */
  readonly idleHeartbeatMs?: number;
}

/** Begins to connect at once, in the background, and never gives up: starting never waits for NATS. */
export function makeBus(deps: { readonly log: Log; readonly clock: Clock }, options: BusOptions): Bus {
  const { log, clock } = deps;
  const closing = new AbortController();
  const connection = keepConnected(log, options, closing.signal);
  const timeout = options.publishTimeoutMs ?? 5000;
  const loops: Promise<void>[] = [];
  let lastProgress = 0;

  const publish = async (
    subject: string,
    id: string,
    data: string,
    ensureStream: (nc: NatsConnection) => Promise<unknown>,
  ): Promise<void> => {
    const nc = connection.current()?.nc;
    if (nc === undefined) throw unavailable("NATS is not connected.");
    const attempt = () => jetstream(nc).publish(subject, data, { msgID: id, timeout });
    try {
      await attempt().catch(async (error: unknown) => {
        if (!nobodyListens(error)) throw error;
        await ensureStream(nc);
        return attempt();
      });
    } catch (error) {
      throw unavailable(`NATS did not take a message for ${subject}.`, error);
    }
  };

  return {
    connected: () => connection.current() !== undefined,

    publishHeartbeat: (now) =>
      publish(HEARTBEAT_SUBJECT, `hb-${Math.floor(now / options.periodMs)}`, "{}", ensureHeartbeatStream),

    kick() {
      try {
        // Fire and forget. Not while disconnected: the client would hoard kicks and send them all at once later.
        connection.current()?.nc.publish(HEARTBEAT_SUBJECT, "{}");
      } catch (error) {
        log.debug("kick lost", { error });
      }
    },

    publishEvent: (event: UserEvent, signal) =>
      until(signal, publish(EVENT_SUBJECT, event.id, JSON.stringify(event), ensureEventStream)),

    consumeHeartbeat(look) {
      const consumed = consumeForever({
        log,
        connection,
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

function unavailable(message: string, cause?: unknown): TransientError {
  return new TransientError({ code: "NeighbourUnavailable", neighbour: "nats", message, cause });
}

/** No stream takes the subject, so nothing was stored. The library calls that "not enabled". */
function nobodyListens(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof RequestError && error.cause.isNoResponders();
}

/** The library's publish takes no signal: whoever waits is let go, the call ends at its own time limit. */
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
