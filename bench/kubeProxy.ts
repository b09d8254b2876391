/** HTTP/2 in front of the API server: notes each call, and passes it on. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createSecureServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";

import { makeCertificates } from "../src/tls/authority.ts";
import type { StackEnv } from "../stack/index.ts";

export interface KubeCall {
  readonly method: string;
  /** With its query. */
  readonly path: string;
}

export interface KubeProxy {
  readonly url: string;
  /** PEM, to trust it by. */
  readonly ca: string;
  readonly calls: KubeCall[];
  close(): void;
}

/** Headers of the connection itself, which HTTP/2 forbids to pass on. */
const OWN = new Set([":authority", ":scheme", "host", "connection", "transfer-encoding"]);

/** `asClient`: certificate and key (PEM) by which it calls itself, for whoever brings no token. */
export async function kubeProxy(
  env: Pick<StackEnv, "KUBE_API_URL" | "KUBE_CA_FILE">,
  asClient: { readonly cert?: string; readonly key?: string } = {},
): Promise<KubeProxy> {
  const { cert, key, ca } = await makeCertificates(
    { dnsNames: ["localhost"], ips: ["127.0.0.1"] },
    { now: Date.now() },
  );
  const upstream = connect(env.KUBE_API_URL, { ca: readFileSync(env.KUBE_CA_FILE), ...asClient });
  upstream.on("error", () => {});
  const calls: KubeCall[] = [];
  const server = createSecureServer({ cert, key });
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    calls.push({ method: headers[":method"] ?? "", path: headers[":path"] ?? "" });
    const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => !OWN.has(name)));
    const onward = upstream.request(kept);
    onward.on("response", (answer) => {
      if (stream.destroyed) return;
      const { ":status": status, ...rest } = answer;
      stream.respond({ ...rest, ":status": status });
      onward.pipe(stream);
    });
    onward.on("error", () => stream.close());
    stream.on("error", () => onward.close());
    stream.on("close", () => onward.close());
    stream.pipe(onward);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `https://127.0.0.1:${port}`,
    ca,
    calls,
    close() {
      upstream.destroy();
      server.close();
    },
  };
}
