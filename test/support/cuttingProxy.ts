/** In front of any gateway, a stand-in or somebody's real one: records each call, and cuts the n-th. */
import { once } from "node:events";
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import { request as httpsRequest } from "node:https";

/** `dropAfter`: the gateway does the work, and its answer is lost. */
export type Cut = "dropBefore" | "dropAfter";

export interface CuttingProxy {
  readonly url: string;
  /** `POST /api/user/login`, without the query; since the start. */
  readonly calls: string[];
  /** The n-th call from now on; 1 is the next. */
  cutNth(n: number, how: Cut): void;
  /** Cuts nothing any more. */
  heal(): void;
  close(): Promise<void>;
}

export async function startCuttingProxy(target: string): Promise<CuttingProxy> {
  const upstream = new URL(target);
  const send = upstream.protocol === "https:" ? httpsRequest : httpRequest;
  const prefix = upstream.pathname.replace(/\/+$/, "");
  const calls: string[] = [];
  let armed: { left: number; readonly how: Cut } | undefined;

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
    const { method = "GET", url = "/" } = incoming;
    calls.push(`${method} ${url.split("?")[0]}`);
    const cut = armed !== undefined && (armed.left -= 1) === 0 ? armed.how : undefined;
    if (cut === "dropBefore") return void incoming.socket.destroy();
    const options = { method, headers: { ...incoming.headers, host: upstream.host } };
    const forwarded = send(`${upstream.origin}${prefix}${url}`, options);
    forwarded.end(Buffer.concat(chunks));
    const [answer] = (await once(forwarded, "response")) as [IncomingMessage];
    const body: Buffer[] = [];
    for await (const chunk of answer as AsyncIterable<Buffer>) body.push(chunk);
    if (cut === "dropAfter") return void incoming.socket.destroy();
    const { "transfer-encoding": _, ...headers } = answer.headers;
    outgoing.writeHead(answer.statusCode ?? 502, headers).end(Buffer.concat(body));
  }

  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => outgoing.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    calls,
    cutNth: (n, how) => {
      armed = { left: n, how };
    },
    heal: () => {
      armed = undefined;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
