/** An upstream that answers as its owner likes: what each kind of body does to whoever reads it without a limit. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";

export type Answer = (response: ServerResponse) => void;

const MIB = 1024 * 1024;
const json = { "content-type": "application/json" };

function whole(body: Buffer | string, headers: Record<string, string> = {}, status = 200): Answer {
  return (response) => response.writeHead(status, { ...json, ...headers }).end(body);
}

function endless(status: number): Answer {
  return (response) => {
    response.writeHead(status, json);
    const chunk = "[".padEnd(64 * 1024, " ");
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
      if (!response.destroyed) response.once("drain", more);
    };
    more();
  };
}

const zeros = Buffer.alloc(35 * MIB, "0");

/** By name; each is too much to be read. */
export const HOSTILE_BODIES: Readonly<Record<string, Answer>> = {
  "35 MiB in 35 kB of gzip": whole(gzipSync(zeros), { "content-encoding": "gzip" }),
  "35 MiB in deflate": whole(deflateSync(zeros), { "content-encoding": "deflate" }),
  "35 MiB in some bytes of brotli": whole(brotliCompressSync(zeros), { "content-encoding": "br" }),
  "35 MiB as they are": whole(zeros),
  "a body without end": endless(200),
  "an error without end": endless(400),
  "an error of 35 MiB in gzip": whole(gzipSync(zeros), { "content-encoding": "gzip" }, 500),
  "two million numbers": whole(`[${"1,".repeat(2_000_000)}1]`),
  "two million numbers in gzip": whole(gzipSync(`[${"1,".repeat(2_000_000)}1]`), { "content-encoding": "gzip" }),
  "a million lists in each other": whole("[".repeat(1_000_000) + "]".repeat(1_000_000)),
  "a hundred lists in each other": whole("[".repeat(100) + "]".repeat(100)),
  "a million objects in each other": whole('{"a":'.repeat(600_000) + "1" + "}".repeat(600_000)),
};

export interface HostileServer {
  readonly url: string;
  /** How the next requests are answered. */
  answer: Answer;
  close(): Promise<void>;
}

export async function startHostileServer(): Promise<HostileServer> {
  const hostile: { answer: Answer } = { answer: (response) => response.end() };
  const server = createServer((_request, response) => hostile.answer(response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return Object.assign(hostile, {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  });
}
