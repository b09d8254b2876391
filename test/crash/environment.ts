/** What all cases of a run share: one stack's Keycloak, API server, NATS and Postgres. Each case has a place of its own on it. */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { type ChildProcess, execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import pLimit from "p-limit";
import { connect } from "@nats-io/transport-node";
import * as z from "zod";
import { collectionPath } from "../../src/kube/objects.ts";
import { embedShipped } from "../../build/embed.ts";
import { abandon } from "./abandon.ts";
import type { UserEvent } from "../../src/api/userEvent.ts";
import { EVENT_SUBJECT } from "../../src/bus/streams.ts";
import { migrate } from "../../src/store/migrate.ts";
import type { StackEnv } from "../../stack/index.ts";
import { kubectl } from "../../stack/kube.ts";
import { tenantRealm, type TenantRealm } from "../../stack/realm.ts";
import { startProduct, stopProducts } from "../../stack/product/index.ts";
import { type ApiServer, connectApiServer } from "../support/apiServer.ts";
import { createDatabase, databaseURL, dropDatabase } from "../support/postgresServer.ts";
import { inTheEnd } from "./invariants.ts";

export interface Environment {
  readonly env: StackEnv;
  readonly api: ApiServer;
  /** The kubeconfig of the service account, as JSON. */
  readonly kubeconfig: string;
  readonly logs: string;
  /** Every message about this uuid, also one that was sent twice. */
  events(uuid: string): readonly UserEvent[];
  /** A mail server that keeps nothing: how many mails came for this address. */
  readonly mailPort: number;
  mails(address: string): number;
  /** A realm that nobody else uses until it is given back, without a user in it. */
  takeRealm(): Promise<TenantRealm>;
  giveBack(realm: TenantRealm): void;
  /** A process that ends with this one, however this one ends, also if it stands still. */
  own(child: ChildProcess): void;
  /** Where node keeps what it has compiled, for processes that are killed before they could. */
  readonly compiled: string;
  /** The program of {@link bundleReconciler}. */
  readonly reconciler: string;
  freshDatabase(name: string): Promise<string>;
  dropDatabase(name: string): Promise<void>;
  /** A webhook that nobody serves would only cost time. */
  removeWebhooks(): Promise<void>;
  close(): Promise<void>;
}

/** What the scenarios ask for; onboarding makes no more than this either. */
const REALM = {
  groups: ["/sme-users", "/team-a", "/team-b"],
  realmRoles: ["role-a", "role-b"],
  editUsernameAllowed: true,
  loginByMail: true,
};

const SERVED_MS = 30_000;
const TEMPLATE = "crash_template";
/** Ids of cases and fixtures: a letter, the run, a number. */
const OURS = /^[cs][0-9a-z]+-\d+(-[a-z0-9-]+)?$/;
const tenantList = z.object({ items: z.array(z.object({ metadata: z.object({ name: z.string() }) })) });

export async function openEnvironment(env: StackEnv, logs: string, run: string): Promise<Environment> {
  // What a run before this one may have left running.
  await stopProducts(env);
  // Installs the manifests and keeps the service account's token fresh; no process of the product's own.
  await startProduct(env, { roles: [] });
  // Most cases are about the reconciler alone.
  await removeWebhooks(env);
  await dropDatabase(env.POSTGRES_URL, TEMPLATE);
  await createDatabase(env.POSTGRES_URL, TEMPLATE);
  await migrate({ url: databaseURL(env.POSTGRES_URL, TEMPLATE) });

  const api = await connectApiServer(env.KUBECONFIG);
  await sweep(api);
  const heard = new Map<string, UserEvent[]>();
  const servers = new URL(env.NATS_URL).host;
  // The chaos takes NATS away for a while.
  const nats = await connect({ servers, name: "crash tests", maxReconnectAttempts: -1, reconnectTimeWait: 250 });
  nats.subscribe(EVENT_SUBJECT, {
    callback: (error, message) => {
      if (error) return;
      const event = message.json<UserEvent>();
      const uuid = event.data.sme_user_uuid;
      heard.set(uuid, [...(heard.get(uuid) ?? []), event]);
    },
  });
  await nats.flush();
  const post = await makePostOffice();
  const compiled = join(logs, "compiled");
  const reconciler = await bundleReconciler(logs);
  await promisify(execFile)(process.execPath, ["-e", `import(${JSON.stringify(reconciler)}).catch(() => {})`], {
    env: { PATH: process.env["PATH"], NODE_COMPILE_CACHE: compiled },
  }).catch(() => undefined);

  const server = { url: env.KEYCLOAK_URL, admin: env.KEYCLOAK_ADMIN, password: env.KEYCLOAK_ADMIN_PASSWORD };
  const children = new Set<ChildProcess>();
  process.once("exit", () => {
    for (const child of children) child.kill("SIGKILL");
  });
  const made: TenantRealm[] = [];
  const free: TenantRealm[] = [];
  const realmName = (): string => `crash-${run}-${made.length + 1}`;
  // One after the other: a realm costs Keycloak seconds, and its users next to nothing.
  const inTurn = pLimit(1);

  return {
    env,
    api,
    kubeconfig: readFileSync(join(env.STACK_DIR, "data", "product", "kubeconfig"), "utf8"),
    logs,
    events: (uuid) => heard.get(uuid) ?? [],
    mailPort: post.port,
    mails: (address) => post.mails(address),
    async takeRealm() {
      const realm =
        free.pop() ??
        (await inTurn(async () => {
          const fresh = await tenantRealm(server, { realm: realmName(), ...REALM });
          const smtpServer = { host: "127.0.0.1", port: String(post.port), from: "no-reply@example.org" };
          await fresh.admin.realms.update({ realm: fresh.realm }, { smtpServer });
          made.push(fresh);
          return fresh;
        }));
      for (const { id = "" } of await realm.admin.users.find({ max: 500 })) await realm.admin.users.del({ id });
      return realm;
    },
    giveBack: (realm) => void free.push(realm),
    own(child) {
      children.add(child);
      child.once("exit", () => children.delete(child));
    },
    compiled,
    reconciler,
    async freshDatabase(name) {
      await createDatabase(env.POSTGRES_URL, name, TEMPLATE);
      return databaseURL(env.POSTGRES_URL, name);
    },
    dropDatabase: (name) => dropDatabase(env.POSTGRES_URL, name),
    removeWebhooks: () => removeWebhooks(env),
    async close() {
      for (const realm of made) await realm.remove();
      await nats.close();
      post.close();
      api.close();
    },
  };
}

/** One file from all of its sources: a case starts the reconciler several times, and this costs a third of the time. */
async function bundleReconciler(logs: string): Promise<string> {
  const outfile = join(logs, "reconciler.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "reconciler.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22",
    // As of what is shipped (build/bundle.ts).
    keepNames: true,
    external: ["pg-native"],
    plugins: [embedShipped("crash tests", [])],
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    logLevel: "error",
  });
  return outfile;
}

/** Tenants of runs before this one, on a stack that was kept: a whole product would begin to serve them. */
async function sweep(api: ApiServer): Promise<void> {
  // On a fresh cluster the definitions are served a moment after they were taken.
  const tenants = async () => tenantList.parse((await api.send("GET", collectionPath("Tenant"))).body).items;
  for (const { metadata } of await inTheEnd(tenants, SERVED_MS)) {
    if (OURS.test(metadata.name)) await abandon(api, metadata.name, `tenant-${metadata.name}`);
  }
}

async function removeWebhooks(env: StackEnv): Promise<void> {
  for (const kind of ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"])
    await kubectl(env, ["delete", kind, "unified-rbac", "--ignore-not-found"]);
}

/** Just enough SMTP that Keycloak calls a mail sent. */
export async function makePostOffice(): Promise<{ port: number; mails(address: string): number; close(): void }> {
  const received = new Map<string, number>();
  const server = createServer((socket) => {
    let inBody = false;
    let rest = "";
    socket.on("error", () => socket.destroy());
    socket.write("220 ready\r\n");
    socket.on("data", (chunk) => {
      const lines = (rest + chunk.toString("latin1")).split("\r\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (inBody) {
          if (line !== ".") continue;
          inBody = false;
          socket.write("250 kept\r\n");
        } else if (/^DATA/i.test(line)) {
          inBody = true;
          socket.write("354 continue\r\n");
        } else if (/^QUIT/i.test(line)) {
          socket.end("221 bye\r\n");
        } else {
          const to = /^RCPT TO:<([^>]+)>/i.exec(line)?.[1];
          if (to !== undefined) received.set(to, (received.get(to) ?? 0) + 1);
          socket.write("250 ok\r\n");
        }
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    mails: (to) => received.get(to) ?? 0,
    close: () => void server.close(),
  };
}
