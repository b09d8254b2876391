/** An HTTP proxy in front of a real upstream: records every call, and answers in the upstream's place when told to. */
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { createServer as createTLSServer } from "node:https";
import { once } from "node:events";

export interface RecordedCall {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly status: number;
}

/** Answers instead of the upstream by returning an answer, or `"hang"`; `undefined` lets the call through. */
export type Interference = (
  method: string,
  path: string,
) => { readonly status: number; readonly type: string; readonly body: string } | "hang" | undefined;

export interface RecordingProxy extends AsyncDisposable {
  readonly url: string;
  readonly calls: RecordedCall[];
  interfere: Interference;
  /** Writes to the admin API: whatever is neither a GET nor a login. */
  writes(): string[];
  logins(): number;
}

export async function recordingProxy(target: string, tls?: { key: string; cert: string }): Promise<RecordingProxy> {
  const upstream = new URL(target);
  const calls: RecordedCall[] = [];
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const method = incoming.method ?? "GET";
    const path = incoming.url ?? "/";
    const record = (status: number): void => void calls.push({ method, path, headers: incoming.headers, status });
    const instead = proxy.interfere(method, path);
    if (instead === "hang") return;
    if (instead !== undefined) {
      record(instead.status);
      outgoing.writeHead(instead.status, { "content-type": instead.type }).end(instead.body);
      return;
    }
    const forwarded = request(
      { host: upstream.hostname, port: upstream.port, method, path, headers: incoming.headers },
      (answer) => {
        record(answer.statusCode ?? 0);
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    forwarded.on("error", () => outgoing.destroy());
    incoming.pipe(forwarded);
  };
  const server = tls === undefined ? createServer(handle) : createTLSServer(tls, handle);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const isLogin = ({ path }: RecordedCall): boolean => path.includes("/protocol/openid-connect/token");
  const proxy: RecordingProxy = {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    calls,
    interfere: () => undefined,
    writes: () =>
      calls.filter((call) => call.method !== "GET" && !isLogin(call)).map(({ method, path }) => `${method} ${path}`),
    logins: () => calls.filter(isLogin).length,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}
