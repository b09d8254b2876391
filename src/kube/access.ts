/**
 * Who we are to which API server.
 *
 * @kubernetes/client-node supplies the reading of kubeconfigs, exec credentials and the types, by its single modules:
 * its index (and its KubeConfig, which imports the generated API) costs 88 MB of memory and a second of start, these
 * modules 5 MB. The wire is our own (see sessions.ts): client-node speaks HTTP/1.1 and opens a connection per call
 * and per watch (kubernetes-client/javascript#2893).
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { SecureContextOptions } from "node:tls";
import {
  type Cluster as ClusterEntry,
  type Context,
  newClusters,
  newContexts,
  newUsers,
  type User,
} from "@kubernetes/client-node/dist/config_types.js";
import type { Clock } from "../lib/clock.ts";
import { isObject } from "../lib/json.ts";

export interface TLSOptions extends SecureContextOptions {
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Credentials {
  /** `authorization` and, where the kubeconfig says so, `impersonate-user`. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * Names the client certificate, where there is one: it was shown when the connection was made, so another one needs
   * another connection.
   */
  readonly certificate?: string | undefined;
  /** Read again for each connection: a renewed CA or client certificate needs no restart. */
  tls(): TLSOptions;
}

export interface Access {
  /** https URL; a path (a proxy in front of many clusters) comes before every request's own. */
  readonly server: URL;
  credentials(): Promise<Credentials>;
  /** After a 401: reads the credential again. True when it is another one now. */
  renew(): Promise<boolean>;
}

/** A token file is looked at again this often; kubelet renews it hours before it ends. */
const TOKEN_AGE_MS = 10_000;

export const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";

/** A Pod's own ServiceAccount. `host` and `port`: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, else the name. */
export function inCluster(
  deps: { readonly clock: Clock },
  place: { readonly host?: string | undefined; readonly port?: string | undefined; readonly dir?: string } = {},
): Access {
  const dir = place.dir ?? SERVICE_ACCOUNT_DIR;
  const name = place.host ?? "kubernetes.default.svc";
  const host = name.includes(":") ? `[${name}]` : name;
  const token = tokenFile(`${dir}/token`, deps.clock);
  return {
    server: new URL(`https://${host}:${place.port ?? "443"}`),
    credentials: () =>
      Promise.resolve({
        headers: { authorization: `Bearer ${token.read()}` },
        tls: () => ({ ca: readFileSync(`${dir}/ca.crt`) }),
      }),
    renew: () => Promise.resolve(token.renew()),
  };
}

/**
 * From kubeconfig files, merged as kubectl does: `paths` is the value of KUBECONFIG (several, parted by colons).
 * Throws when nothing usable is in them. Client certificates, tokens, token files, basic and exec credentials.
 */
export async function fromKubeconfig(
  deps: { readonly clock: Clock },
  paths: string,
  contextName?: string,
): Promise<Access> {
  const { files, context } = await readContexts(paths, contextName);
  const cluster = files.flatMap((file) => file.clusters).find((entry) => entry.name === context.cluster);
  if (cluster === undefined) throw new Error(`kubeconfig ${paths} has no cluster ${context.cluster}`);
  const user = files.flatMap((file) => file.users).find((entry) => entry.name === context.user);
  if (cluster.proxyUrl) throw new Error(`kubeconfig ${paths}: proxy-url is not supported`);
  const server = new URL(cluster.server);
  if (server.protocol !== "https:")
    throw new Error(`kubeconfig ${paths}: the server must be https, not ${server.href}`);
  return entryAccess(server, cluster, user, deps.clock);
}

/** Name and namespace of the context that {@link fromKubeconfig} would use. Throws when there is none. */
export async function contextOf(
  paths: string,
  contextName?: string,
): Promise<{ readonly name: string; readonly namespace: string | undefined }> {
  const { context } = await readContexts(paths, contextName);
  return { name: context.name, namespace: context.namespace };
}

async function readContexts(
  paths: string,
  contextName: string | undefined,
): Promise<{ readonly files: readonly Kubeconfig[]; readonly context: Context }> {
  const { parse } = await import("yaml");
  const files = paths
    .split(":")
    .filter((path) => path !== "")
    .map((path) => readKubeconfig(path, parse(readFileSync(path, "utf8"))));
  const wanted = contextName ?? files.find((file) => file.currentContext !== undefined)?.currentContext;
  const context = files.flatMap((file) => file.contexts).find((entry) => entry.name === wanted);
  if (context === undefined) throw new Error(`kubeconfig ${paths} has no context ${wanted ?? "(none is current)"}`);
  return { files, context };
}

interface UserEntry extends User {
  readonly tokenFile?: string;
}

interface Kubeconfig {
  readonly clusters: readonly ClusterEntry[];
  readonly contexts: readonly Context[];
  readonly users: readonly UserEntry[];
  readonly currentContext?: string;
}

function readKubeconfig(path: string, content: unknown): Kubeconfig {
  const record = isObject(content) ? content : {};
  const absolute = (file: string | undefined) => (file ? resolve(dirname(path), file) : undefined);
  const clusters = newClusters(record["clusters"]);
  for (const cluster of clusters) cluster.caFile = absolute(cluster.caFile);
  const users = newUsers(record["users"]).map((user): UserEntry => {
    user.certFile = absolute(user.certFile);
    user.keyFile = absolute(user.keyFile);
    return { ...user, tokenFile: absolute(tokenFileOf(record["users"], user.name)) };
  });
  const current = record["current-context"];
  const currentContext = typeof current === "string" && current !== "" ? current : undefined;
  return { clusters, contexts: newContexts(record["contexts"]), users, currentContext };
}

/** client-node 2.0.1 knows only "token-file", which no kubeconfig has, and reads it once. */
function tokenFileOf(users: unknown, name: string): string | undefined {
  if (!Array.isArray(users)) return undefined;
  for (const entry of users) {
    if (!isObject(entry) || entry["name"] !== name || !isObject(entry["user"])) continue;
    const file = entry["user"]["tokenFile"];
    if (typeof file === "string") return file;
  }
  return undefined;
}

function entryAccess(server: URL, cluster: ClusterEntry, user: UserEntry | undefined, clock: Clock): Access {
  const serverTLS = (): TLSOptions => ({
    ca: fileOrData(cluster.caFile, cluster.caData),
    ...(cluster.skipTLSVerify ? { rejectUnauthorized: false } : {}),
    ...(cluster.tlsServerName ? { servername: cluster.tlsServerName } : {}),
  });
  const userTLS = (): TLSOptions =>
    user === undefined
      ? {}
      : { cert: fileOrData(user.certFile, user.certData), key: fileOrData(user.keyFile, user.keyData) };
  const token = user?.tokenFile === undefined ? undefined : tokenFile(user.tokenFile, clock);
  // As with a token, looked at again now and then: whoever renews it writes the file.
  const certFile = user?.certFile ? tokenFile(user.certFile, clock) : undefined;
  const certificate = (): string | undefined => {
    const pem = certFile?.read() ?? user?.certData;
    return pem === undefined ? undefined : fingerprint(pem);
  };
  let exec = user?.exec ? execAuth(user) : undefined;
  const headers: Record<string, string> = {};
  if (user?.impersonateUser) headers["impersonate-user"] = user.impersonateUser;
  if (user?.username) {
    headers["authorization"] = `Basic ${Buffer.from(`${user.username}:${user.password ?? ""}`).toString("base64")}`;
  }
  if (user?.token) headers["authorization"] = `Bearer ${user.token.trim()}`;
  return {
    server,
    async credentials() {
      if (token !== undefined) {
        return {
          headers: { ...headers, authorization: `Bearer ${token.read()}` },
          certificate: certificate(),
          tls: () => ({ ...serverTLS(), ...userTLS() }),
        };
      }
      if (exec !== undefined) {
        const made = await exec();
        const shown = made.tls.cert;
        return {
          headers: { ...headers, ...made.headers },
          certificate: typeof shown === "string" ? fingerprint(shown) : certificate(),
          tls: () => ({ ...serverTLS(), ...made.tls }),
        };
      }
      return { headers, certificate: certificate(), tls: () => ({ ...serverTLS(), ...userTLS() }) };
    },
    renew() {
      const isCertificateNew = certFile?.renew() ?? false;
      if (token !== undefined) return Promise.resolve(token.renew() || isCertificateNew);
      if (isCertificateNew) return Promise.resolve(true);
      if (user === undefined || exec === undefined) return Promise.resolve(false);
      exec = execAuth(user);
      return Promise.resolve(true);
    },
  };
}

/** Runs the kubeconfig's credential program; client-node caches what it printed until that ends. */
function execAuth(user: User): () => Promise<{ headers: Record<string, string>; tls: TLSOptions }> {
  const loading = import("@kubernetes/client-node/dist/exec_auth.js").then(({ ExecAuth }) => new ExecAuth());
  return async () => {
    const options: { headers: Record<string, string>; cert?: string; key?: string } = { headers: {} };
    await (await loading).applyAuthentication(user, options);
    const authorization = options.headers["Authorization"];
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    return { headers, tls: { cert: options.cert, key: options.key } };
  };
}

function tokenFile(path: string, clock: Clock): { read(): string; renew(): boolean } {
  let token = "";
  let readAt = Number.NEGATIVE_INFINITY;
  const load = () => {
    token = readFileSync(path, "utf8").trim();
    readAt = clock.now();
  };
  return {
    read() {
      if (clock.now() - readAt >= TOKEN_AGE_MS) load();
      return token;
    },
    renew() {
      const before = token;
      load();
      return token !== before;
    },
  };
}

function fingerprint(pem: string): string {
  return createHash("sha256").update(pem).digest("base64url");
}

function fileOrData(file: string | undefined, data: string | undefined): Buffer | undefined {
  if (file) return readFileSync(file);
  return data ? Buffer.from(data, "base64") : undefined;
}
