import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type NatsConnection,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import type { Log } from "../lib/log.ts";
import type { Sensitive } from "../lib/sensitive.ts";

export interface ConnectOptions {
  /** nats:// or tls:// URLs; user and password in them are used. */
  readonly servers: readonly Sensitive[];
  /** A credentials file (JWT and seed), read again at each connect. */
  readonly credsFile?: string | undefined;
  /** Shown in the server's list of connections. */
  readonly clientName?: string | undefined;
  /** Between two attempts. Default 1 s. */
  readonly retryMs?: number | undefined;
}

/** One stretch of time between two outages. */
export interface Line {
  readonly nc: NatsConnection;
  /** Aborts when the connection is lost, even if the library mends it at once. */
  readonly lost: AbortSignal;
}

export interface Connection {
  /** The open line; undefined before the first and during an outage. */
  current(): Line | undefined;
  /** Resolves when there is one; rejects with the signal's reason. */
  wait(signal: AbortSignal): Promise<Line>;
  /** Resolves after the signal given to {@link keepConnected} has aborted and the socket is closed. */
  readonly closed: Promise<void>;
}

/**
 * Connects, and connects again, until `signal` aborts. The library's own waiting for the first connect cannot be
 * cancelled, and it gives up for good after two refused logins: a renewed credential would never be tried.
 */
export function keepConnected(log: Log, options: ConnectOptions, signal: AbortSignal): Connection {
  let current: (Line & { end: AbortController }) | undefined;
  const waiters = new Set<(line: Line) => void>();
  const retryMs = options.retryMs ?? 1000;

  const up = (nc: NatsConnection): void => {
    const end = new AbortController();
    current = { nc, end, lost: end.signal };
    log.info("connected to NATS", { server: nc.getServer(), outcome: "connected" });
    for (const waiter of waiters) waiter(current);
    waiters.clear();
  };
  const down = (): void => {
    current?.end.abort(new Error("the connection to NATS is lost"));
    current = undefined;
  };

  /** From a first connect until the library gives the connection up. */
  const session = async (): Promise<void> => {
    const nc = await connect(toLibrary(options, retryMs));
    const close = (): void => void nc.close();
    signal.addEventListener("abort", close, { once: true });
    if (signal.aborted) close();
    else up(nc);
    try {
      for await (const status of nc.status()) {
        if (status.type === "reconnect") up(nc);
        else if (status.type === "error") log.warn("NATS reports an error", { error: status.error });
        else if (status.type === "disconnect") {
          log.warn("disconnected from NATS", { server: status.server, outcome: "disconnected" });
          down();
        }
      }
      const error = await nc.closed();
      if (error) throw error;
    } finally {
      down();
      signal.removeEventListener("abort", close);
    }
  };

  const closed = (async () => {
    let told = false;
    while (!signal.aborted) {
      try {
        await session();
        told = false;
      } catch (error) {
        // Once per outage: NATS may be away for hours, and the work goes on without it.
        if (!told) log.warn("NATS is not reachable, trying on", { outcome: "disconnected", error });
        told = true;
      }
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  })();

  return {
    current: () => current,
    closed,
    async wait(until) {
      if (current !== undefined) return current;
      const found = Promise.withResolvers<Line>();
      const onAbort = (): void => found.reject(until.reason);
      waiters.add(found.resolve);
      until.addEventListener("abort", onAbort, { once: true });
      if (until.aborted) onAbort();
      try {
        return await found.promise;
      } finally {
        waiters.delete(found.resolve);
        until.removeEventListener("abort", onAbort);
      }
    },
  };
}

function toLibrary(options: ConnectOptions, retryMs: number): ConnectionOptions {
  const urls = options.servers.map((server) => new URL(server.reveal()));
  const login = urls.find((url) => url.username !== "");
  const creds = options.credsFile;
  return {
    servers: urls.map((url) => `${url.hostname}:${url.port === "" ? "4222" : url.port}`),
    name: options.clientName ?? "unified-rbac",
    timeout: 2000,
    maxReconnectAttempts: -1,
    reconnectTimeWait: retryMs,
    ignoreAuthErrorAbort: true,
    // A silent partition is noticed within 15 s.
    pingInterval: 5000,
    // Where each request came from is not told by a stack of its own: these cost as much as the publishing.
    noAsyncTraces: true,
    maxPingOut: 2,
    ...(urls.some((url) => url.protocol === "tls:") ? { tls: {} } : {}),
    ...(login === undefined
      ? {}
      : {
          authenticator: usernamePasswordAuthenticator(
            decodeURIComponent(login.username),
            decodeURIComponent(login.password),
          ),
        }),
    ...(creds === undefined ? {} : { authenticator: credsAuthenticator(() => readFileSync(creds)) }),
  };
}
