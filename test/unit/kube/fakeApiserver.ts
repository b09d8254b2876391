/** A small API server for one collection, over real HTTP/2 and TLS, which can fail in the ways that a real one does. */
import { createSecureServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { generate } from "selfsigned";
import type { Access } from "../../../src/kube/access.ts";

export const COLLECTION = "/api/v1/namespaces/tenant-a/secrets";

interface FakeObject {
  readonly metadata: { name: string; uid: string; resourceVersion: string; labels?: Record<string, string> };
}

interface FakeChange {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  readonly object: FakeObject;
}

export interface SeenRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

export type Answer = (stream: ServerHttp2Stream, request: SeenRequest) => void;

export interface FakeApiserver {
  readonly access: Access;
  readonly seen: SeenRequest[];
  /** Connections made so far. */
  readonly connections: () => number;
  /** Open watch streams. */
  readonly watching: () => number;
  /** Answers the next requests in place of the collection. */
  readonly next: Answer[];
  /** `more`: further metadata, of any shape. */
  put(name: string, more?: Readonly<Record<string, unknown>>): void;
  remove(name: string): void;
  bookmark(): void;
  /** Forgets the history: older versions are answered with 410. */
  compact(): void;
  /** A line to every watch, as it stands. */
  write(text: string): void;
  /** Ends every watch in an orderly way. */
  endWatches(): void;
  resetWatches(code: number): void;
  dropConnections(): void;
  goaway(code?: number): void;
  /** Stops reading and answering on every connection, without closing one. */
  freeze(): void;
  close(): Promise<void>;
}

export function status(code: number, reason: string, message = reason, extra: object = {}): string {
  return JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message, ...extra });
}

export function answer(code: number, body: string, headers: Record<string, string> = {}): Answer {
  return (stream) => {
    stream.respond({ ":status": code, "content-type": "application/json", ...headers });
    stream.end(body);
  };
}

function line(change: { readonly type: string; readonly object: unknown }): string {
  return `${JSON.stringify(change)}\n`;
}

export async function startFakeApiserver(options: { pageLimit?: number } = {}): Promise<FakeApiserver> {
  const pems = await generate([{ name: "commonName", value: "127.0.0.1" }], {
    keyType: "ec",
    extensions: [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }],
  });
  const server = createSecureServer({ key: pems.private, cert: pems.cert, maxSessionMemory: 256 });
  const sessions = new Set<ServerHttp2Session>();
  const watches = new Set<ServerHttp2Stream>();
  const objects = new Map<string, FakeObject>();
  const seen: SeenRequest[] = [];
  const next: Answer[] = [];
  let history: FakeChange[] = [];
  let version = 100;
  let oldest = 0;
  let connections = 0;

  server.on("session", (session) => {
    connections += 1;
    sessions.add(session);
    session.on("error", () => undefined);
    session.on("close", () => sessions.delete(session));
  });

  const record = (type: FakeChange["type"], object: FakeObject) => {
    const change = { type, version, object };
    history.push(change);
    for (const watch of watches) watch.write(line(change));
  };

  const list = (stream: ServerHttp2Stream, url: URL) => {
    const limit = Math.min(Number(url.searchParams.get("limit") ?? "500"), options.pageLimit ?? 500);
    const from = Number(url.searchParams.get("continue") ?? "0");
    const all = [...objects.values()];
    const more = from + limit < all.length ? String(from + limit) : undefined;
    const body = {
      kind: "PartialObjectMetadataList",
      metadata: { resourceVersion: String(version), continue: more },
      items: all.length === 0 ? null : all.slice(from, from + limit),
    };
    answer(200, JSON.stringify(body))(stream, { method: "GET", url, headers: {}, body: "" });
  };

  const watch = (stream: ServerHttp2Stream, url: URL) => {
    const from = Number(url.searchParams.get("resourceVersion"));
    stream.respond({ ":status": 200, "content-type": "application/json" });
    if (from < oldest) {
      stream.end(line({ type: "ERROR", object: JSON.parse(status(410, "Expired")) }));
      return;
    }
    watches.add(stream);
    stream.on("close", () => watches.delete(stream));
    for (const change of history.filter((entry) => entry.version > from)) stream.write(line(change));
  };

  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    const parts: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => parts.push(chunk));
    stream.on("end", () => {
      const url = new URL(headers[":path"] ?? "/", "https://fake");
      const method = headers[":method"] ?? "GET";
      const request = { method, url, headers, body: Buffer.concat(parts).toString("utf8") };
      seen.push(request);
      const special = next.shift();
      if (special !== undefined) special(stream, request);
      else if (url.pathname !== COLLECTION) answer(500, status(500, "Unexpected"))(stream, request);
      else if (url.searchParams.has("watch")) watch(stream, url);
      else list(stream, url);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const behind = portOf(server.address());

  // In front of it, so that a connection can go silent without being closed.
  const links = new Set<[Socket, Socket]>();
  const front = createServer((socket) => {
    const link: [Socket, Socket] = [socket, connect(behind, "127.0.0.1")];
    links.add(link);
    const end = () => {
      for (const side of link) side.destroy();
      links.delete(link);
    };
    for (const side of link) side.on("error", end).on("close", end);
    socket.pipe(link[1]).pipe(socket);
  });
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const port = portOf(front.address());

  return {
    access: {
      server: new URL(`https://127.0.0.1:${port}`),
      credentials: () => Promise.resolve({ headers: { authorization: "Bearer fake" }, tls: () => ({ ca: pems.cert }) }),
      renew: () => Promise.resolve(false),
    },
    seen,
    next,
    connections: () => connections,
    watching: () => watches.size,
    put(name, more = {}) {
      version += 1;
      const known = objects.get(name);
      const metadata = {
        name,
        uid: known?.metadata.uid ?? `uid-${name}-${version}`,
        resourceVersion: String(version),
        managedFields: [{ manager: "somebody" }],
        ...more,
      };
      objects.set(name, { metadata });
      record(known === undefined ? "ADDED" : "MODIFIED", { metadata });
    },
    remove(name) {
      version += 1;
      const known = objects.get(name);
      if (known === undefined) throw new Error(`no ${name}`);
      objects.delete(name);
      record("DELETED", { metadata: { ...known.metadata, resourceVersion: String(version) } });
    },
    bookmark() {
      const object = { metadata: { resourceVersion: String(version), creationTimestamp: null } };
      for (const stream of watches) stream.write(line({ type: "BOOKMARK", object }));
    },
    compact() {
      history = [];
      oldest = version + 1;
      version += 1;
    },
    write(text) {
      for (const stream of watches) stream.write(text);
    },
    endWatches() {
      for (const stream of watches) stream.end();
    },
    resetWatches(code) {
      for (const stream of watches) stream.close(code);
    },
    dropConnections() {
      for (const session of sessions) session.destroy();
    },
    goaway(code = 0) {
      for (const session of sessions) session.goaway(code);
    },
    freeze() {
      for (const [one, other] of links) {
        one.unpipe(other);
        other.unpipe(one);
      }
      // Nobody hears them any more; the server's side does not know.
      watches.clear();
    },
    async close() {
      for (const session of sessions) session.destroy();
      for (const link of links) for (const side of link) side.destroy();
      await new Promise<void>((resolve) => front.close(() => resolve()));
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("not listening");
  return address.port;
}
