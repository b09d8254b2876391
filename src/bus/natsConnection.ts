import { readFileSync } from "node:fs";
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type NatsConnection,
  nkeyAuthenticator,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import { RETRIES } from "../lib/backoff.ts";
import { pause } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { Sensitive } from "../lib/sensitive.ts";

export interface ConnectOptions {
  /** nats:// or tls:// URLs; user and password in them are used. */
  readonly servers: readonly Sensitive[];
  /** A credentials file (JWT and seed), read again at each connect. */
  readonly credsFile?: string | undefined;
  /** A file with an nkey's seed, the same. */
  readonly nkeyFile?: string | undefined;
  /** Password and token are asked for at each connect. */
  readonly login?: { readonly user: string; readonly password: () => string } | undefined;
  readonly token?: (() => string) | undefined;
  /** Paths of PEM files, read at each connect. The CA: for a server that no public one vouches for. */
  readonly tls?: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string } | undefined;
  /** Shown in the server's list of connections. */
  readonly clientName?: string | undefined;
  /** Between two attempts. Default 1 s. */
  readonly retryMs?: number | undefined;
}

/** One stretch of time between two outages. */
export interface LiveConnection {
  readonly nc: NatsConnection;
  /** Aborts when the connection is lost, even if the library reconnects at once. */
  readonly lost: AbortSignal;
}

export interface KeptConnection {
  /** The open line; undefined before the first and during an outage. */
  current(): LiveConnection | undefined;
  /** Resolves when there is one; rejects with the signal's reason. */
  wait(signal: AbortSignal): Promise<LiveConnection>;
  /** Resolves after the signal given to {@link keepConnected} has aborted and the socket is closed. */
  readonly closed: Promise<void>;
}

/**
 * Connects, and connects again, until `signal` aborts. The library's own waiting for the first connect cannot be
 * cancelled, and it gives up for good after two refused logins: a renewed credential would never be tried.
 */
export function keepConnected(log: Log, options: ConnectOptions, signal: AbortSignal): KeptConnection {
  let current: (LiveConnection & { end: AbortController }) | undefined;
  const pendingUsers = new Set<(line: LiveConnection) => void>();
  const retryMs = options.retryMs ?? RETRIES.nats.firstMs;

  const up = (nc: NatsConnection): void => {
    const end = new AbortController();
    current = { nc, end, lost: end.signal };
    log.info("connected to NATS", { server: nc.getServer(), outcome: "connected" });
    for (const pendingUser of pendingUsers) pendingUser(current);
    pendingUsers.clear();
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
        else if (status.type === "error") log.warn("received an error from NATS", { error: status.error });
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
        // Once per outage: NATS may be away for hours, and the work continues without it.
        if (!told) log.warn("failed to reach NATS; retrying", { outcome: "disconnected", error });
        told = true;
      }
      await pause(retryMs, signal);
    }
  })();

  return {
    current: () => current,
    closed,
    async wait(until) {
      if (current !== undefined) return current;
      const found = Promise.withResolvers<LiveConnection>();
      const onAbort = (): void => found.reject(until.reason);
      pendingUsers.add(found.resolve);
      until.addEventListener("abort", onAbort, { once: true });
      if (until.aborted) onAbort();
      try {
        return await found.promise;
      } finally {
        pendingUsers.delete(found.resolve);
        until.removeEventListener("abort", onAbort);
      }
    },
  };
}

function toLibrary(options: ConnectOptions, retryMs: number): ConnectionOptions {
  const urls = options.servers.map((server) => new URL(server.reveal()));
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
    ...(options.tls !== undefined || urls.some((url) => url.protocol === "tls:") ? { tls: options.tls ?? {} } : {}),
    ...authentication(options, urls),
  };
}

/** A user in the URL is the least of the ways: whatever else is given goes before it. */
function authentication(options: ConnectOptions, urls: readonly URL[]): Pick<ConnectionOptions, "authenticator"> {
  const { credsFile, nkeyFile, login, token } = options;
  if (credsFile !== undefined) return { authenticator: credsAuthenticator(() => readFileSync(credsFile)) };
  if (nkeyFile !== undefined) return { authenticator: nkeyAuthenticator(() => seedIn(nkeyFile)) };
  if (login !== undefined) return { authenticator: usernamePasswordAuthenticator(login.user, login.password) };
  if (token !== undefined) return { authenticator: tokenAuthenticator(token) };
  const url = urls.find(({ username }) => username !== "");
  if (url === undefined) return {};
  const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  return { authenticator: usernamePasswordAuthenticator(user, password) };
}

function seedIn(path: string): Uint8Array {
  return new TextEncoder().encode(readFileSync(path, "utf8").trim());
}
