/**
 * The product against a running stack: what manifests/ holds is applied, and each container of its Deployment runs as a
 * process of this machine, with the arguments, the settings and the rights that it has in a Pod; only addresses differ.
 * The processes outlive whoever started them.
 */
import { appendFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { startMark } from "../context.ts";
import { ADMISSION_CLIENT } from "../pki.ts";
import { NATS_USER } from "../parts/nats.ts";
import { DATABASE_ROLES } from "../parts/postgres.ts";
import type { StackEnv } from "../env.ts";
import { lastLines, readIfThere, writeAtomically } from "../files.ts";
import type { Identity } from "../identity.ts";
import { isAlive } from "../identity.ts";
import { withLock } from "../lock.ts";
import { logFile, projectRoot } from "../paths.ts";
import { patience } from "../patience.ts";
import { isFree } from "../ports.ts";
import { httpOk, waitFor } from "../probe.ts";
import { findMarked, launch, run, terminate } from "../process.ts";
import { forgetProcess, recordProcess, runningProcess } from "../state.ts";
import { nodeFlags } from "./flags.ts";
import { type Container, containerOf, type Manifests, renderManifests, type Role } from "./manifests.ts";
import type { NodeSettings } from "./node.ts";

export type ProductRole = Exclude<Role, "migrate">;
export type { Container };

export interface ProductOptions {
  /** Several pairs can run beside each other on one stack; each has an id. Default "a". */
  readonly id?: string;
  /** Default: both. */
  readonly roles?: readonly ProductRole[];
  /** Settings beside, or instead of, those of the Deployment; for all roles. */
  readonly env?: Readonly<Record<string, string>>;
  /** What runs: `dist` (built), `src`, or (default) dist when it is there and newer than every source. */
  readonly from?: "dist" | "src";
  /** `alive`: do not wait for the certificate. Default `ready`: the webhook answers and the API server knows its CA. */
  readonly waitFor?: "ready" | "alive";
}

export interface Process {
  readonly role: ProductRole;
  readonly pid: number;
  /** http://127.0.0.1:port, with /livez, /readyz and /metrics. */
  readonly opsURL: string;
  readonly log: string;
}

export interface Product {
  readonly id: string;
  /** The reconciler's operator's port: what a port-forward would lead to. */
  readonly operatorURL: string;
  /** Throws when that role does not run. */
  process(role: ProductRole): Process;
  running(role: ProductRole): boolean;
  /** Sends the signal; with one that ends a process, waits until it is gone. SIGKILL is a crash. */
  kill(role: ProductRole, signal?: NodeJS.Signals): Promise<void>;
  /** Starts a role that does not run, with the same settings on the same ports, and waits until it is alive. */
  start(role: ProductRole): Promise<void>;
  /** SIGTERM to both, as when the Pod goes. What was applied to the cluster stays. */
  stop(): Promise<void>;
}

const PATIENCE_MS = 60_000;
const NODE = "product-node";
const ROLES: readonly ProductRole[] = ["webhook", "reconciler"];

const home = (env: StackEnv): string => join(env.STACK_DIR, "data", "product");
const part = (id: string, role: Role): string => `product-${id}-${role}`;
const endpointsDir = (env: StackEnv): string => join(home(env), "endpoints");
const tlsDir = (env: StackEnv): string => join(home(env), "tls");

/** Installs what is missing, migrates the database and starts the roles. A pair with this id that runs is replaced. */
export async function startProduct(env: StackEnv, options: ProductOptions = {}): Promise<Product> {
  const id = options.id ?? "a";
  const roles = options.roles ?? ROLES;
  const program = programOf(options.from);
  const { manifests, webhookPort } = await withLock(
    join(env.STACK_DIR, "run", "product.lock"),
    () => {},
    () => install(env),
  );
  await stopPair(env, id);
  const folder = join(home(env), id);
  mkdirSync(folder, { recursive: true });
  // As empty as that of a new Pod.
  const handover = join(folder, "tls-handover");
  rmSync(handover, { recursive: true, force: true });
  const ports = {
    webhook: await freePort(),
    webhookOps: await freePort(),
    reconcilerOps: await freePort(),
    operator: await freePort(),
  };

  const commandOf = (role: Role) => {
    const override: Record<string, string> = {
      NATS_URL: env.NATS_URL,
      WEBHOOK_IPS: "127.0.0.1",
      DATABASE_URL_FILE: secretFile(env, `database-${role}`, databaseURLOf(env, role)),
      NATS_USER,
      NATS_PASSWORD_FILE: secretFile(env, "nats-password", decodeURIComponent(new URL(env.DATABASE_URL).password)),
      // A secret that the stack has anyway, and keeps for as long as its data.
      MASTER_KEYS_FILE: secretFile(env, "master-keys", `1: ${env.NEWAPI_ADMIN_TOKEN}`),
    };
    if (role === "webhook") {
      override["WEBHOOK_ADDRESS"] = `127.0.0.1:${ports.webhook}`;
      override["OPS_ADDRESS"] = `127.0.0.1:${ports.webhookOps}`;
      override["TLS_DIR"] = tlsDir(env);
      override["TLS_HANDOVER_DIR"] = handover;
      // One process a role: the API server has nowhere else to go meanwhile.
      override["SHUTDOWN_DELAY_SECONDS"] = "0";
      override["ADMISSION_CLIENT_CA_FILE"] = env.KUBE_CA_FILE;
      override["ADMISSION_CLIENT_NAMES"] = ADMISSION_CLIENT;
    } else if (role === "reconciler") {
      override["OPS_ADDRESS"] = `127.0.0.1:${ports.reconcilerOps}`;
      override["OPERATOR_ADDRESS"] = `127.0.0.1:${ports.operator}`;
      override["TLS_HANDOVER_DIR"] = handover;
      override["KUBECONFIG"] = join(home(env), "kubeconfig");
    }
    const container = containerOf(manifests, role, {
      podName: `unified-rbac-${id}`,
      secrets: {},
      override: { ...override, ...options.env },
    });
    return {
      file: process.execPath,
      args: [...program, ...container.args],
      cwd: folder,
      env: { ...nothingInherited(), ...withoutFiles(container.env, options.env) },
    };
  };
  const opsURL = (role: ProductRole): string =>
    `http://127.0.0.1:${role === "webhook" ? ports.webhookOps : ports.reconcilerOps}`;

  const start = async (role: ProductRole): Promise<void> => {
    if (runningProcess(env.STACK_DIR, part(id, role))) return;
    await startProcess(env, part(id, role), commandOf(role), () => httpOk(`${opsURL(role)}/livez`));
    if (role === "webhook") writeAtomically(join(endpointsDir(env), id), String(ports.webhook));
  };

  await run(commandOf("migrate"));
  try {
    await Promise.all(roles.map(start));
    if (options.waitFor !== "alive" && roles.includes("webhook")) await waitUntilCalled(env, webhookPort, opsURL, id);
  } catch (error) {
    await stopPair(env, id);
    throw error;
  }

  return {
    id,
    operatorURL: `http://127.0.0.1:${ports.operator}`,
    start,
    running: (role) => runningProcess(env.STACK_DIR, part(id, role)) !== undefined,
    process(role) {
      const name = part(id, role);
      const identity = runningProcess(env.STACK_DIR, name);
      if (identity === undefined) throw new Error(`${name} does not run`);
      return { role, pid: identity.pid, opsURL: opsURL(role), log: logFile(env.STACK_DIR, name) };
    },
    async kill(role, signal = "SIGKILL") {
      const identity = runningProcess(env.STACK_DIR, part(id, role));
      if (identity === undefined) return;
      if (signal === "SIGSTOP" || signal === "SIGCONT" || signal.startsWith("SIGUSR")) {
        process.kill(identity.pid, signal);
        return;
      }
      if (role === "webhook") rmSync(join(endpointsDir(env), id), { force: true });
      await terminate(identity, signal, PATIENCE_MS);
    },
    stop: () => stopPair(env, id),
  };
}

/** Every pair of this stack, and the stand-in for its node. For whoever stops the stack. */
export async function stopProducts(env: Pick<StackEnv, "STACK_DIR">): Promise<void> {
  const folder = join(env.STACK_DIR, "run");
  // A stack that is down has left its logs alone.
  const names = (existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : [])
    .map(({ name }) => /^(product-.+)\.json$/.exec(name)?.[1])
    .filter((name) => name !== undefined);
  await Promise.all(names.map((name) => stopProcess(env, name)));
}

async function stopPair(env: Pick<StackEnv, "STACK_DIR">, id: string): Promise<void> {
  rmSync(join(env.STACK_DIR, "data", "product", "endpoints", id), { force: true });
  await Promise.all(ROLES.map((role) => stopProcess(env, part(id, role))));
}

async function stopProcess(env: Pick<StackEnv, "STACK_DIR">, name: string): Promise<void> {
  const identity = runningProcess(env.STACK_DIR, name);
  if (identity) await terminate(identity, "SIGTERM", 25_000);
  // What a run that was killed did not write down.
  await Promise.all(findMarked(startMark(env.STACK_DIR, name)).map((stray) => terminate(stray, "SIGKILL")));
  forgetProcess(env.STACK_DIR, name);
}

/** Applies the manifests, and starts the stand-in for the node. Harmless when all of it is there. */
async function install(env: StackEnv): Promise<{ manifests: Manifests; webhookPort: number }> {
  mkdirSync(endpointsDir(env), { recursive: true });
  const portFile = join(home(env), "port");
  const nodeRuns = runningProcess(env.STACK_DIR, NODE) !== undefined;
  let webhookPort = Number(readIfThere(portFile));
  if (!nodeRuns && !(webhookPort > 0 && (await isFree(webhookPort)))) webhookPort = await freePort();
  writeAtomically(portFile, String(webhookPort));

  const manifests = await renderManifests(env, join(home(env), "manifests"), webhookPort);
  const file = join(home(env), "manifests.yaml");
  writeAtomically(file, manifests.text);
  // Not "kubectl...": a manager of such a name is one that Flux takes fields away from.
  await kubectl(env, "apply", "--server-side", "--force-conflicts", "--field-manager=platform", "-f", file);
  const crds = manifests.crds.map((name) => `crd/${name}`);
  await kubectl(env, "wait", "--for=condition=Established", "--timeout=30s", ...crds);

  writeAtomically(join(home(env), "kubeconfig"), kubeconfig(env), 0o600);
  if (!nodeRuns) await startNode(env, manifests, webhookPort);
  return { manifests, webhookPort };
}

async function startNode(env: StackEnv, manifests: Manifests, port: number): Promise<void> {
  const settings: NodeSettings = {
    kubeconfig: env.KUBECONFIG,
    namespace: manifests.namespace,
    serviceAccount: manifests.serviceAccount,
    secretName: manifests.tlsSecret.name,
    items: [...manifests.tlsSecret.items],
    tlsDir: tlsDir(env),
    tokenFile: tokenFile(env),
    port,
    endpointsDir: endpointsDir(env),
  };
  const file = join(home(env), "node.json");
  writeAtomically(file, JSON.stringify(settings, null, 2));
  rmSync(tokenFile(env), { force: true });
  const args = [join(import.meta.dirname, "node.ts"), file];
  await startProcess(env, NODE, { file: process.execPath, args, env: nothingInherited() }, () =>
    Promise.resolve(existsSync(tokenFile(env))),
  );
}

/** What a mounted Secret would be. */
function secretFile(env: StackEnv, name: string, value: string): string {
  const folder = join(home(env), "secrets");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, name);
  writeAtomically(file, value, 0o600);
  return file;
}

/** The database's login of each role, which the stack makes beside the owner's. */
function databaseURLOf(env: StackEnv, role: Role): string {
  if (role === "migrate") return env.DATABASE_URL;
  const url = new URL(env.DATABASE_URL);
  url.username = role === "webhook" ? DATABASE_ROLES.webhook : DATABASE_ROLES.reconciler;
  return url.href;
}

/** A setting that a test gives as a value stands instead of the file. */
function withoutFiles(
  all: Readonly<Record<string, string>>,
  given: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(all).filter(
      ([name]) => given?.[name.replace(/_FILE$/, "")] === undefined || !name.endsWith("_FILE"),
    ),
  );
}

const tokenFile = (env: StackEnv): string => join(home(env), "token");

/** Our ServiceAccount and nothing else: the reconciler has exactly the rights in manifests/ and flux/. */
function kubeconfig(env: StackEnv): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "stack", cluster: { server: env.KUBE_API_URL, "certificate-authority": env.KUBE_CA_FILE } }],
    users: [{ name: "unified-rbac", user: { tokenFile: tokenFile(env) } }],
    contexts: [{ name: "stack", context: { cluster: "stack", user: "unified-rbac" } }],
    "current-context": "stack",
  });
}

async function startProcess(
  env: StackEnv,
  name: string,
  command: Parameters<typeof launch>[0],
  ready: () => Promise<boolean>,
): Promise<Identity> {
  const log = logFile(env.STACK_DIR, name);
  const began = Date.now();
  appendFileSync(log, `--- started by the stack at ${new Date(began).toISOString()}\n`);
  const identity = await launch(command, log, startMark(env.STACK_DIR, name));
  recordProcess(env.STACK_DIR, name, identity);
  if (await waitFor(ready, () => isAlive(identity), patience(PATIENCE_MS))) return identity;
  const waited = Math.round((Date.now() - began) / 1000);
  const what = isAlive(identity) ? `does not answer after ${waited} s` : "ended instead of starting";
  throw new Error(`${name} ${what}. The last lines of ${log}:\n${lastLines(log, 20)}`);
}

/** Until then the API server would skip the webhook, as failurePolicy says. */
async function waitUntilCalled(
  env: StackEnv,
  webhookPort: number,
  opsURL: (role: ProductRole) => string,
  id: string,
): Promise<void> {
  const jsonpath = "jsonpath={range .items[*].webhooks[*]}{.clientConfig.url} {.clientConfig.caBundle}{'\\n'}{end}";
  const kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
  const began = Date.now();
  for (const within = patience(PATIENCE_MS); Date.now() - began < within(); await sleep(250)) {
    if (!(await httpOk(`${opsURL("webhook")}/readyz`))) continue;
    const lines = (await kubectl(env, "get", kinds, "-l", "app.kubernetes.io/part-of=unified-rbac", "-o", jsonpath))
      .split("\n")
      .filter((line) => line.startsWith(`https://127.0.0.1:${webhookPort}/`));
    if (lines.length === 2 && lines.every((line) => (line.split(" ")[1] ?? "") !== "")) return;
  }
  const said = ROLES.map((role) => logFile(env.STACK_DIR, part(id, role))).map(
    (log) => `${log}:\n${lastLines(log, 10)}`,
  );
  throw new Error(`The webhook is not ready after ${Math.round((Date.now() - began) / 1000)} s.\n${said.join("\n")}`);
}

/** Arguments for node: the built program, or the sources. */
function programOf(from: ProductOptions["from"]): string[] {
  const built = join(projectRoot, "dist", "main.js");
  const sources = join(projectRoot, "src");
  if (from === "dist" || (from === undefined && existsSync(built) && newest(sources) <= statSync(built).mtimeMs)) {
    return [...nodeFlags(), built];
  }
  return [join(sources, "main.ts")];
}

function newest(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Math.max(...files.map(({ parentPath, name }) => statSync(join(parentPath, name)).mtimeMs));
}

/** A container sees nothing of the environment of whoever made it. */
function nothingInherited(): NodeJS.ProcessEnv {
  const gone = Object.fromEntries(Object.keys(process.env).map((name) => [name, undefined]));
  return { ...gone, PATH: process.env["PATH"], HOME: process.env["HOME"] };
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if (await isFree(port)) return port;
  }
}

function kubectl(env: StackEnv, ...args: string[]): Promise<string> {
  const cache = `--cache-dir=${join(env.STACK_DIR, "data", "kubectl")}`;
  return run({ file: env.KUBECTL, args: [...args, cache], env: { KUBECONFIG: env.KUBECONFIG } });
}
