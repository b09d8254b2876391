/** One case's own part of the environment: a tenant with realm and namespace, a database, a gateway, and its reconciler. */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Pool } from "pg";
import { parseAllDocuments } from "yaml";
import * as z from "zod";

import { API_VERSION } from "../../src/api/meta.ts";
import { liveTenantUser, type LiveTenantUser, type TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import { collectionPath, objectPath } from "../../src/kube/objects.ts";
import { makePool } from "../../src/store/pool.ts";
import { ADMIN } from "../../stack/newapi/newApi/memory.ts";
import { startStandIn } from "../../stack/newapi/server.ts";
import { quotaCounted } from "../../stack/onboard.ts";
import type { TenantRealm } from "../../stack/realm.ts";
import { renderTenant, renderTenantSecrets, type TenantPatch, type TenantValues } from "../../stack/tenant.ts";
import { standInControl, type StandInControl } from "../support/standInControl.ts";
import { type Upstream, UPSTREAM_NAMES, type Point } from "./effects.ts";
import type { Environment } from "./environment.ts";
import { type KeySecret, readKeySecrets } from "./keySecrets.ts";
import { FIRST_ORDER, ONLY_NAMESPACE, ONLY_TENANT, type Order, type Report } from "./orders.ts";
import { type Door, makeDoor, type Fault } from "./faults.ts";

export interface SandboxOptions {
  readonly patch?: TenantPatch;
  readonly deletionGrace?: string;
  /** How often people are compared with what the upstreams hold. */
  readonly driftSeconds?: number;
}

/** Dialect admin-v1, or dialect new-api with the one or the other of its logins. */
export type GatewayKind = "admin-v1" | "new-api" | "new-api, bearer";

/** One account at the gateway, in whichever dialect. */
export interface AccountSeen {
  readonly accountID: string;
  /** Whose it is by its mark; undefined: it bears none. */
  readonly uuid: string | undefined;
  readonly disabled: boolean;
  /** SHA-256 of each key that was not replaced or removed. */
  readonly keySHA256: readonly string[];
}

export interface Sandbox {
  readonly id: string;
  readonly namespace: string;
  readonly environment: Environment;
  readonly realm: TenantRealm;
  readonly gateway: StandInControl;
  readonly db: Pool;
  email(name: string): string;

  /** Commits one person, as Flux would apply it. */
  apply(name: string, spec?: Partial<TenantUserSpecInput>): Promise<void>;
  remove(name: string): Promise<void>;
  /** Names of those who are Ready at their newest generation. */
  readyUsers(): Promise<readonly string[]>;
  /** Takes the object out of the cluster, without anybody's leave. */
  tearOut(name: string): Promise<void>;
  user(name: string): Promise<LiveTenantUser | undefined>;
  secrets(): Promise<readonly KeySecret[]>;
  removeSecret(name: string): Promise<void>;
  /** What the gateway answers to this key. */
  opens(apiKey: string): Promise<number>;
  /** Everybody's, but the gateway's own admins'. */
  accounts(): Promise<readonly AccountSeen[]>;
  /** Dialect new-api: its admin overwrites an account by hand. */
  overwrite(account: object): Promise<void>;

  /** Starts the reconciler; with an order for its very first step, or none. */
  start(first?: Order): void;
  order(order: Order): void;
  /** Starts another reconciler beside it, which nobody orders about. It ends with the sandbox. */
  startBeside(): void;
  /** Sent to the first reconciler: SIGSTOP or SIGCONT. */
  signal(signal: NodeJS.Signals): void;
  /** Whether the first reconciler stands still. */
  isStopped(): boolean;
  /** Ends every reconciler's connections to Postgres. */
  cutPostgres(): Promise<void>;
  /** What to do when it asks for fault. */
  fault(upstream: Upstream, kind: Fault): void;
  /** An upstream is gone for this reconciler, and is back. */
  down(upstream: Upstream): Promise<void>;
  up(upstream: Upstream): Promise<void>;
  /** Answers that were lost so far. */
  lost(): number;
  running(): boolean;
  /** Resolves when the process is gone, with the signal that ended it. */
  ended(): Promise<NodeJS.Signals | null>;
  kill(): Promise<void>;
  /** How often each point was passed since the last order. */
  passed(): ReadonlyMap<Point, number>;
  unnamed(): readonly string[];
  close(): Promise<void>;
}

const userList = z.object({ items: z.array(liveTenantUser) });
export const FLUX = /(^|\.)toolkit\.fluxcd\.io\//;
const ADMIN_TOKEN = "crash-tests";
const MASTER_KEYS = `1: ${"crash-tests-".repeat(3)}`;

/** Where each kind of what a tenant consists of lives. */
export const COLLECTIONS: Readonly<Record<string, (namespace: string) => string>> = {
  Namespace: () => "/api/v1/namespaces",
  Secret: (namespace) => `/api/v1/namespaces/${namespace}/secrets`,
  ServiceAccount: (namespace) => `/api/v1/namespaces/${namespace}/serviceaccounts`,
  ResourceQuota: (namespace) => `/api/v1/namespaces/${namespace}/resourcequotas`,
  Role: (namespace) => `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/roles`,
  RoleBinding: (namespace) => `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings`,
  Tenant: () => `/apis/${API_VERSION}/tenants`,
};

export async function makeSandbox(
  environment: Environment,
  id: string,
  wishes: SandboxOptions,
  options: { readonly doors: boolean; readonly gateway?: GatewayKind },
): Promise<Sandbox> {
  const { gateway: kind = "admin-v1" } = options;
  const dialect = kind === "admin-v1" ? "admin-v1" : "new-api";
  const generation = kind === "new-api, bearer" ? "2026-08" : "2026-07";
  const { env, api } = environment;
  const namespace = `tenant-${id}`;
  const database = id.replaceAll("-", "_");
  const standIn = await startStandIn({ adminToken: ADMIN_TOKEN, generation });
  const [databaseURL, realm] = await Promise.all([environment.freshDatabase(database), environment.takeRealm()]);

  const addresses: Record<Upstream, URL> = {
    kubernetes: new URL(env.KUBE_API_URL),
    keycloak: new URL(env.KEYCLOAK_URL),
    newapi: new URL(standIn.url),
    postgres: new URL(databaseURL),
    nats: new URL(env.NATS_URL),
  };
  const doors = new Map<Upstream, Door>();
  if (options.doors) {
    for (const upstream of UPSTREAM_NAMES) {
      const address = addresses[upstream];
      const door = await makeDoor({ host: address.hostname, port: Number(address.port) });
      doors.set(upstream, door);
      address.port = String(door.port);
    }
  }
  const origin = (upstream: Upstream): string => addresses[upstream].href.replace(/\/$/, "");

  await makeTenant(
    environment,
    namespace,
    wishes,
    {
      TENANT: id,
      NAMESPACE: namespace,
      GIT_URL: "http://none.invalid/people.git",
      KEYCLOAK_URL: origin("keycloak"),
      KEYCLOAK_REALM: realm.realm,
      NEWAPI_URL: origin("newapi"),
      NEWAPI_PUBLIC_URL: standIn.url,
      NEWAPI_DIALECT: dialect,
      DELETION_GRACE: wishes.deletionGrace ?? "0s",
    },
    realm,
  );

  const kubeconfig = join(environment.logs, `${id}.kubeconfig`);
  writeFileSync(kubeconfig, environment.kubeconfig.replaceAll(env.KUBE_API_URL, origin("kubernetes")), { mode: 0o600 });
  const log = openSync(join(environment.logs, `${id}.log`), "w");
  const db = makePool({ url: databaseURL, max: 2, applicationName: "crash tests", onIdleError: () => {} });

  const beside: ChildProcess[] = [];
  let child: ChildProcess | undefined;
  let ended: Promise<NodeJS.Signals | null> = Promise.resolve(null);
  let passed = new Map<Point, number>();
  const unnamed: string[] = [];
  let planned: { readonly door: Door; readonly kind: Fault } | undefined;

  function hear(said: Report): void {
    switch (said.kind) {
      case "at":
        passed.set(said.point, (passed.get(said.point) ?? 0) + 1);
        return;
      case "unnamed":
        unnamed.push(said.what);
        return;
      case "faultWanted":
        planned?.door.begin(planned.kind);
        child?.send({ kind: "go" } satisfies Order);
        return;
      case "faultOver":
        planned?.door.end();
        return;
      default:
        said satisfies never;
    }
  }

  function doorOf(upstream: Upstream): Door {
    const door = doors.get(upstream);
    assert(door !== undefined, "there are no doors here");
    return door;
  }

  function launch(identity: string, first: Order): ChildProcess {
    const started = fork(environment.reconciler, [], {
      stdio: ["ignore", log, log, "ipc"],
      env: {
        PATH: process.env["PATH"],
        HOME: process.env["HOME"],
        NODE_COMPILE_CACHE: environment.compiled,
        DATABASE_URL: addresses.postgres.href,
        NATS_URL: origin("nats"),
        KUBECONFIG: kubeconfig,
        OPERATOR_NAMESPACE: "unified-rbac-system",
        WEBHOOK_CERTIFICATES: "external",
        OPS_ADDRESS: "127.0.0.1:0",
        POD_NAME: identity,
        WORKERS: "4",
        MASTER_KEYS,
        ...(wishes.driftSeconds === undefined ? {} : { DRIFT_SECONDS: String(wishes.driftSeconds) }),
        [FIRST_ORDER]: JSON.stringify(first),
        [ONLY_TENANT]: id,
        [ONLY_NAMESPACE]: namespace,
      },
    });
    environment.own(started);
    return started;
  }

  const userPath = (name: string): string => objectPath("TenantUser", { namespace, name });
  const gateway = standInControl(standIn.url);
  const sandbox: Sandbox = {
    id,
    namespace,
    environment,
    realm,
    gateway,
    db,
    email: (name) => `${name}@${id}.example`,

    async apply(name, spec = {}) {
      const object = {
        apiVersion: API_VERSION,
        kind: "TenantUser",
        metadata: { name },
        spec: { email: sandbox.email(name), ...spec },
      };
      await apply(environment, userPath(name), object);
    },
    async remove(name) {
      const { status } = await api.send("DELETE", userPath(name));
      assert(status < 300, `DELETE was answered with ${status}`);
    },
    async readyUsers() {
      const { body } = await api.send("GET", collectionPath("TenantUser", namespace));
      return userList
        .parse(body)
        .items.filter(
          ({ metadata, status }) =>
            status?.observedGeneration === metadata.generation &&
            status.conditions?.some((each) => each.type === "Ready" && each.status === "True"),
        )
        .map(({ metadata }) => metadata.name);
    },
    async tearOut(name) {
      await api.send("PATCH", userPath(name), { metadata: { finalizers: null } }, "application/merge-patch+json");
      await sandbox.remove(name);
    },
    async user(name) {
      const { status, body } = await api.send("GET", userPath(name));
      return status === 404 ? undefined : liveTenantUser.parse(body);
    },
    secrets: () => readKeySecrets(api, namespace),
    async removeSecret(name) {
      await api.send("DELETE", `/api/v1/namespaces/${namespace}/secrets/${name}`);
    },
    async opens(apiKey) {
      const answer = await fetch(`${standIn.url}/v1/models`, { headers: { authorization: `Bearer ${apiKey}` } });
      await answer.body?.cancel();
      return answer.status;
    },
    async accounts() {
      if (dialect === "admin-v1") {
        return (await gateway.users()).map(({ user_id: accountID, external_id: uuid, disabled, keySHA256 }) => ({
          accountID,
          uuid,
          disabled,
          keySHA256,
        }));
      }
      return (await gateway.newApiUsers()).map(({ id: number, remark, status, keySHA256 }) => ({
        accountID: String(number),
        uuid: remark?.split("/")[1],
        disabled: status !== 1,
        keySHA256,
      }));
    },
    async overwrite(account) {
      const headers = { authorization: `Bearer ${ADMIN_TOKEN}`, "new-api-user": String(ADMIN) };
      const body = JSON.stringify(account);
      const answer = await fetch(`${standIn.url}/api/user/`, { method: "PUT", headers, body });
      assert.deepEqual(await answer.json(), { success: true, message: "" });
    },

    start(first = { kind: "count" }) {
      assert(!sandbox.running(), "the reconciler runs already");
      passed = new Map();
      const started = launch(id, first);
      child = started;
      started.on("message", (said) => hear(said as Report));
      started.on("error", () => {});
      ended = once(started, "exit").then(([, signal]) => {
        if (child === started) child = undefined;
        return signal as NodeJS.Signals | null;
      });
    },
    order(order) {
      passed = new Map();
      child?.send(order);
    },
    startBeside() {
      const started = launch(`${id}-beside`, { kind: "count" });
      started.on("error", () => {});
      beside.push(started);
    },
    signal: (signal) => void child?.kill(signal),
    isStopped() {
      const stat = readFileSync(`/proc/${child?.pid ?? 0}/stat`, "utf8");
      return /\) [Tt] /.test(stat);
    },
    async cutPostgres() {
      await db.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name like 'unified-rbac%'`,
      );
    },
    fault(upstream, kind) {
      planned = { door: doorOf(upstream), kind };
    },
    down: (upstream) => doorOf(upstream).shut(),
    up: (upstream) => doorOf(upstream).open(),
    lost: () => planned?.door.lost() ?? 0,
    running: () => child !== undefined,
    ended: () => ended,
    async kill() {
      child?.kill("SIGKILL");
      await ended;
    },
    passed: () => passed,
    unnamed: () => unnamed,

    async close() {
      for (const process of beside) process.kill("SIGKILL");
      await sandbox.kill();
      closeSync(log);
      await Promise.all([db.end(), standIn.close(), ...[...doors.values()].map((door) => door.close())]);
      // What is left of the cluster's objects goes with the stack.
      environment.giveBack(realm);
      await environment.dropDatabase(database);
    },
  };
  return sandbox;
}

async function makeTenant(
  environment: Environment,
  namespace: string,
  { patch }: SandboxOptions,
  values: TenantValues,
  realm: TenantRealm,
): Promise<void> {
  const credentials = {
    keycloak: { clientID: realm.clientID, clientSecret: realm.clientSecret },
    newapi: { token: ADMIN_TOKEN, userID: String(ADMIN) },
    git: { username: "none", password: "none" },
  };
  const shape = z.looseObject({
    apiVersion: z.string(),
    kind: z.string(),
    metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
  });
  const objects = [renderTenant(values, patch), renderTenantSecrets(values, credentials)]
    .flatMap((text) => parseAllDocuments(text).map((document) => shape.parse(document.toJS())))
    .filter(({ apiVersion }) => !FLUX.test(apiVersion));
  const order = Object.keys(COLLECTIONS);
  for (const object of objects.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))) {
    const collection = COLLECTIONS[object.kind];
    assert(collection !== undefined, `a tenant has a ${object.kind}, which has no sandbox here`);
    await apply(environment, `${collection(object.metadata.namespace ?? namespace)}/${object.metadata.name}`, object);
  }
  await quotaCounted(async (path) => (await environment.api.send("GET", path)).body, namespace);
}

async function apply({ api }: Environment, path: string, object: unknown): Promise<void> {
  const { status, body } = await api.send(
    "PATCH",
    `${path}?fieldManager=platform&force=true`,
    object,
    "application/apply-patch+yaml",
  );
  assert(status < 300, `PATCH ${path} was answered with ${status}: ${JSON.stringify(body)}`);
}
