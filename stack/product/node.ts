/**
 * What a node does for the product's Pods, as a process of its own that stays when whoever started it has gone: the
 * webhook's Secret as a folder of files, the ServiceAccount's token in a file, and a Service in front of the webhooks.
 *
 * Usage: node stack/product/node.ts <settings.json>
 */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { Agent, request } from "node:https";
import { connect, createServer, type Socket } from "node:net";
import { basename, join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { readIfThere, writeAtomically } from "../files.ts";

const settingsShape = z.object({
  kubeconfig: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  secretName: z.string(),
  items: z.array(z.object({ key: z.string(), path: z.string() })),
  tlsDir: z.string(),
  tokenFile: z.string(),
  port: z.number(),
  /** One file for each webhook, with its port inside. */
  endpointsDir: z.string(),
});
export type NodeSettings = z.infer<typeof settingsShape>;

const TOKEN_SECONDS = 3600;
const LOOK_MS = 500;

const kubeconfigShape = z.object({
  clusters: z.tuple([
    z.object({ cluster: z.object({ server: z.string(), "certificate-authority-data": z.string() }) }),
  ]),
  users: z.tuple([
    z.object({ user: z.object({ "client-certificate-data": z.string(), "client-key-data": z.string() }) }),
  ]),
});

const plain = (base64: string): string => Buffer.from(base64, "base64").toString("utf8");

/** GET, or POST when there is a body. */
type Ask = (path: string, body?: object) => Promise<{ status: number; text: string }>;

function apiServer(kubeconfig: string): Ask {
  const { clusters, users } = kubeconfigShape.parse(JSON.parse(readFileSync(kubeconfig, "utf8")));
  const [{ cluster }] = clusters;
  const [{ user }] = users;
  const agent = new Agent({
    keepAlive: true,
    ca: plain(cluster["certificate-authority-data"]),
    cert: plain(user["client-certificate-data"]),
    key: plain(user["client-key-data"]),
  });
  return (path, body) =>
    new Promise((resolve, reject) => {
      const call = request(new URL(path, cluster.server), {
        agent,
        method: body === undefined ? "GET" : "POST",
        headers: { "content-type": "application/json" },
        signal: AbortSignal.timeout(5000),
      });
      call.once("error", reject);
      call.once("response", (answer) => {
        text(answer).then((said) => resolve({ status: answer.statusCode ?? 0, text: said }), reject);
      });
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
}

/** For ever; an API server that is down is nothing special. */
async function repeat(everyMs: number, work: () => Promise<number | void>): Promise<never> {
  for (let failing = false; ;) {
    let pause = everyMs;
    try {
      pause = (await work()) ?? everyMs;
      failing = false;
    } catch (error) {
      if (!failing) console.error(error);
      failing = true;
    }
    await sleep(pause);
  }
}

async function renewToken(ask: Ask, settings: NodeSettings): Promise<number> {
  const path = `/api/v1/namespaces/${settings.namespace}/serviceaccounts/${settings.serviceAccount}/token`;
  const answer = await ask(path, { spec: { expirationSeconds: TOKEN_SECONDS } });
  if (answer.status !== 201) throw new Error(`the API server answered ${answer.status} when asked for a token`);
  const { status } = z.object({ status: z.object({ token: z.string() }) }).parse(JSON.parse(answer.text));
  writeAtomically(settings.tokenFile, status.token, 0o600);
  return (TOKEN_SECONDS * 1000) / 3;
}

async function mountSecret(ask: Ask, settings: NodeSettings): Promise<void> {
  const answer = await ask(`/api/v1/namespaces/${settings.namespace}/secrets/${settings.secretName}`);
  if (answer.status !== 200 && answer.status !== 404) throw new Error(`the API server answered ${answer.status}`);
  const data =
    answer.status === 404
      ? {}
      : (z.object({ data: z.record(z.string(), z.string()).optional() }).parse(JSON.parse(answer.text)).data ?? {});
  const files = new Map<string, string>();
  for (const { key, path } of settings.items) {
    const value = data[key];
    if (value !== undefined) files.set(path, plain(value));
  }
  swapIn(settings.tlsDir, files);
}

/** As the kubelet does it: the files of one moment lie in one folder, and a link changes from the old to the new. */
export function swapIn(mount: string, files: ReadonlyMap<string, string>): void {
  mkdirSync(mount, { recursive: true });
  const names = readdirSync(mount).filter((name) => !name.startsWith(".."));
  const same =
    names.length === files.size && [...files].every(([name, value]) => readIfThere(join(mount, name)) === value);
  if (same) return;
  const old = linkTarget(join(mount, "..data"));
  const fresh = basename(mkdtempSync(`${mount}/..`));
  for (const [name, value] of files) writeAtomically(join(mount, fresh, name), value, 0o600);
  rmSync(join(mount, "..data_tmp"), { force: true });
  symlinkSync(fresh, join(mount, "..data_tmp"));
  renameSync(join(mount, "..data_tmp"), join(mount, "..data"));
  for (const name of files.keys()) if (!names.includes(name)) symlinkSync(join("..data", name), join(mount, name));
  for (const name of names) if (!files.has(name)) unlinkSync(join(mount, name));
  if (old !== undefined) rmSync(join(mount, old), { recursive: true, force: true });
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Each connection goes to one of the webhooks that take it; with none, it ends at once. */
function serve(settings: NodeSettings): void {
  const server = createServer((client) => {
    client.on("error", () => client.destroy());
    const ports = readdirSync(settings.endpointsDir)
      .map((name) => Number(readIfThere(join(settings.endpointsDir, name))))
      .filter((port) => port > 0)
      .toSorted(() => Math.random() - 0.5);
    void forward(client, ports);
  });
  server.listen(settings.port, "127.0.0.1");
}

async function forward(client: Socket, ports: readonly number[]): Promise<void> {
  const webhook = await open(ports);
  if (webhook === undefined || client.destroyed) {
    webhook?.destroy();
    client.destroy();
    return;
  }
  webhook.on("error", () => client.destroy());
  webhook.on("close", () => client.destroy());
  client.on("close", () => webhook.destroy());
  client.pipe(webhook).pipe(client);
}

async function open(ports: readonly number[]): Promise<Socket | undefined> {
  for (const port of ports) {
    const socket = await new Promise<Socket | undefined>((resolve) => {
      const attempt = connect({ port, host: "127.0.0.1", noDelay: true });
      attempt.once("connect", () => resolve(attempt));
      attempt.once("error", () => resolve(undefined));
    });
    if (socket !== undefined) return socket;
  }
  return undefined;
}

const [, program, settingsFile] = process.argv;
if (program === import.meta.filename && settingsFile !== undefined) {
  const settings = settingsShape.parse(JSON.parse(readFileSync(settingsFile, "utf8")));
  const ask = apiServer(settings.kubeconfig);
  mkdirSync(settings.endpointsDir, { recursive: true });
  serve(settings);
  void repeat(1000, () => renewToken(ask, settings));
  void repeat(LOOK_MS, () => mountSecret(ask, settings));
}
