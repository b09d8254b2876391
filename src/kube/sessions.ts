/** Few HTTP/2 connections for everything: calls and watches are streams on them, never connections of their own. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import type { Credentials } from "./access.ts";

export interface SessionTiming {
  /** No TLS connection after this long: give up and let the next request try again. */
  readonly connectMs: number;
  /** A ping this often, so that a connection which died without a word is noticed. */
  readonly pingMs: number;
  readonly pingAnswerMs: number;
  /** A connection that nothing has used for so long is closed. */
  readonly idleMs: number;
}

const DEFAULT_TIMING: SessionTiming = { connectMs: 5_000, pingMs: 20_000, pingAnswerMs: 10_000, idleMs: 90_000 };

/** kube-apiserver allows 100 streams on a connection; the room above the watches is for calls. */
const STREAMS_PER_SESSION = 100;
const WATCHES_PER_SESSION = 80;

export interface Sessions {
  /** Opens a stream on a connection that has room; makes a connection when none has. Throws nothing: errors are the stream's. */
  open(
    use: "call" | "watch",
    credentials: Credentials,
    headers: readonly string[],
    options: { readonly endStream: boolean },
  ): ClientHttp2Stream;
  /** Connections open now. */
  count(): number;
  /** Ends every stream and connection. */
  close(): void;
}

interface Slot {
  readonly session: ClientHttp2Session;
  /** As who it was made. */
  readonly certificate: string | undefined;
  watches: number;
  streams: number;
  idle: NodeJS.Timeout | undefined;
}

export function makeSessions(server: URL, timing: Partial<SessionTiming> = {}): Sessions {
  const times = { ...DEFAULT_TIMING, ...timing };
  const slots = new Set<Slot>();

  const hasRoom = (slot: Slot, use: "call" | "watch"): boolean => {
    if (slot.session.closed || slot.session.destroyed) return false;
    const allowed = slot.session.remoteSettings.maxConcurrentStreams ?? STREAMS_PER_SESSION;
    const limit = Math.min(STREAMS_PER_SESSION, allowed);
    if (slot.streams >= limit) return false;
    return use === "call" || slot.watches < Math.min(WATCHES_PER_SESSION, Math.ceil(limit * 0.8));
  };

  const dial = (credentials: Credentials): Slot => {
    const session = connect(server.origin, {
      ...credentials.tls(),
      settings: { enablePush: false },
      // In megabytes, a limit only: many watches that receive much at once must not end the connection.
      maxSessionMemory: 256,
    });
    const slot: Slot = { session, certificate: credentials.certificate, watches: 0, streams: 0, idle: undefined };
    slots.add(slot);
    const connecting = setTimeout(
      () => session.destroy(new Error(`no connection to ${server.host} within ${times.connectMs / 1000} s`)),
      times.connectMs,
    );
    let pinging: NodeJS.Timeout | undefined;
    session.once("connect", (_session, socket) => {
      clearTimeout(connecting);
      // A session that outlived its socket would keep every stream waiting until a ping fails.
      socket.once("close", () => session.destroy(session.closed ? undefined : new Error("the connection was closed")));
      pinging = setInterval(() => ping(session, times.pingAnswerMs), times.pingMs).unref();
    });
    // Every stream gets the error too; without a listener here it would end the process.
    session.on("error", () => undefined);
    // After a GOAWAY Node lets the open streams finish; `closed` keeps new ones away.
    session.once("close", () => {
      clearTimeout(connecting);
      clearInterval(pinging);
      clearTimeout(slot.idle);
      slots.delete(slot);
    });
    return slot;
  };

  return {
    open(use, credentials, headers, options) {
      // One that was made with a certificate since renewed lets its streams finish, and gets no new ones.
      let slot = [...slots].find(
        (candidate) => candidate.certificate === credentials.certificate && hasRoom(candidate, use),
      );
      slot ??= dial(credentials);
      const chosen = slot;
      clearTimeout(chosen.idle);
      chosen.streams += 1;
      if (use === "watch") chosen.watches += 1;
      const stream = chosen.session.request(headers, options);
      stream.on("close", () => {
        chosen.streams -= 1;
        if (use === "watch") chosen.watches -= 1;
        if (chosen.streams > 0 || chosen.session.destroyed) return;
        chosen.idle = setTimeout(() => chosen.session.close(), times.idleMs).unref();
      });
      return stream;
    },
    count: () => slots.size,
    close() {
      for (const slot of slots) slot.session.destroy();
    },
  };
}

function ping(session: ClientHttp2Session, answerMs: number): void {
  if (session.destroyed) return;
  const late = setTimeout(
    () => session.destroy(new Error(`no answer to a ping within ${answerMs / 1000} s`)),
    answerMs,
  ).unref();
  // The callback's error means that the session ended meanwhile, which its streams have been told already.
  session.ping(() => clearTimeout(late));
}
