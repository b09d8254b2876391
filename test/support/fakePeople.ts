/** An API server as a person at a terminal meets it: HTTP/2 over TLS, with a kubeconfig, and canned answers. */
import { createSecureServer, type ServerHttp2Session } from "node:http2";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { generate } from "selfsigned";
import { run } from "../../src/plugin/program.ts";

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

export type Canned = { readonly status: number; readonly body: unknown };

export interface FakePeople {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly seen: Seen[];
  /** By "METHOD path"; a function looks at the request. What is not there is answered as an object that is not. */
  readonly answers: Map<string, Canned | ((seen: Seen) => Canned)>;
  close(): Promise<void>;
}

export const refused = (code: number, message: string, more: object = {}): Canned => ({
  status: code,
  body: { kind: "Status", apiVersion: "v1", status: "Failure", code, message, ...more },
});

const NOBODY = refused(404, 'tenantusers.catalyst.openova.io "x" not found', {
  reason: "NotFound",
  details: { name: "x" },
});

export async function startFakePeople(): Promise<FakePeople> {
  const pems = await generate([{ name: "commonName", value: "127.0.0.1" }], {
    keyType: "ec",
    extensions: [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }],
  });
  const seen: Seen[] = [];
  const answers: FakePeople["answers"] = new Map();
  const sessions = new Set<ServerHttp2Session>();
  const server = createSecureServer({ key: pems.private, cert: pems.cert });
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => undefined);
  });
  server.on("stream", (stream, headers) => {
    void text(stream).then((body) => {
      const url = new URL(headers[":path"] ?? "/", "https://x");
      const method = headers[":method"] ?? "";
      const one: Seen = {
        method,
        path: url.pathname,
        query: url.searchParams,
        body: body === "" ? undefined : (JSON.parse(body) as unknown),
      };
      seen.push(one);
      const found = answers.get(`${method} ${url.pathname}`) ?? NOBODY;
      const answer = typeof found === "function" ? found(one) : found;
      stream.respond({ ":status": answer.status, "content-type": "application/json" });
      stream.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;

  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-plugin-"));
  const kubeconfig = join(folder, "kubeconfig");
  const config = {
    clusters: [
      {
        name: "c",
        cluster: {
          server: `https://127.0.0.1:${port}`,
          "certificate-authority-data": Buffer.from(pems.cert).toString("base64"),
        },
      },
    ],
    users: [{ name: "grace", user: { token: "t0ken" } }],
    contexts: [
      { name: "night", context: { cluster: "c", user: "grace", namespace: "tenant-a" } },
      { name: "bare", context: { cluster: "c", user: "grace" } },
    ],
    "current-context": "night",
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  return {
    folder,
    kubeconfig,
    seen,
    answers,
    async close() {
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

export interface Sitting {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Lines typed, one after each question; with them, it is a terminal. */
  readonly typed?: readonly string[];
  readonly now?: () => Date;
}

/** Runs one command line of the plugin in this process. */
export async function plugin(args: readonly string[], { env = {}, typed, now }: Sitting = {}): Promise<Ran> {
  const isTTY = typed !== undefined;
  const stdin = Object.assign(new PassThrough(), { isTTY });
  const stdout = Object.assign(new PassThrough(), { isTTY });
  const stderr = new PassThrough();
  const lines = [...(typed ?? [])];
  let out = "";
  let err = "";
  stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString("utf8");
    // A question stays on its line; the answer comes when it was asked.
    if (isTTY && /(\] |: |\) )$/.test(out) && lines.length > 0) stdin.write(`${lines.shift() ?? ""}\n`);
  });
  stderr.on("data", (chunk: Buffer) => (err += chunk.toString("utf8")));
  const exit = await run(args, {
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", ...env },
    stdin,
    stdout,
    stderr,
    now: now ?? (() => new Date()),
    signal: new AbortController().signal,
  });
  // What was written last is read in the next turn.
  await new Promise((resolve) => setImmediate(resolve));
  return { exit, out, err };
}
