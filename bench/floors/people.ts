/**
 * What must be done outside for one person, and nothing else: Keycloak create, gateway create, Secret, status; so many
 * people at once. The objects whose status it writes are of a kind of their own with the same schema, applied before.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { text } from "node:stream/consumers";
import pLimit from "p-limit";
import { parse } from "yaml";

import { percentile } from "../figures.ts";

export interface FloorTask {
  readonly kubeconfig: string;
  readonly keycloak: {
    readonly url: string;
    readonly realm: string;
    readonly clientID: string;
    readonly secret: string;
  };
  readonly newapi: { readonly url: string; readonly token: string };
  readonly namespace: string;
  /** Of the objects: API group with version, and the plural. */
  readonly apiVersion: string;
  readonly plural: string;
  readonly kind: string;
  readonly prefix: string;
  readonly count: number;
  readonly concurrency: number;
}

interface Kubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly "certificate-authority-data": string } },
  ];
  readonly users: readonly [{ readonly user: Readonly<Record<"client-certificate-data" | "client-key-data", string>> }];
}

const task = JSON.parse(process.argv[2] ?? "") as FloorTask;
const { keycloak, newapi, namespace } = task;
const api = connectKube();

function connectKube(): ClientHttp2Session {
  const { clusters, users } = parse(readFileSync(task.kubeconfig, "utf8")) as Kubeconfig;
  const [{ cluster }] = clusters;
  const [{ user }] = users;
  const plain = (base64: string): Buffer => Buffer.from(base64, "base64");
  return connect(cluster.server, {
    ca: plain(cluster["certificate-authority-data"]),
    cert: plain(user["client-certificate-data"]),
    key: plain(user["client-key-data"]),
  });
}

async function kube(method: string, path: string, type: string, body: unknown): Promise<void> {
  const stream = api.request({ ":method": method, ":path": path, "content-type": type, accept: "application/json" });
  stream.end(JSON.stringify(body));
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  const said = await text(stream);
  if (Number(headers[":status"]) >= 300) throw new Error(`${method} ${path}: ${said}`);
}

async function http(method: string, url: string, headers: Record<string, string>, body: string): Promise<Response> {
  const answer = await fetch(url, { method, headers, body });
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
  return answer;
}

async function login(): Promise<string> {
  const url = `${keycloak.url}/realms/${keycloak.realm}/protocol/openid-connect/token`;
  const form = new URLSearchParams({
    grant_type: "client_credentials",
    client_id: keycloak.clientID,
    client_secret: keycloak.secret,
  });
  const answer = await http("POST", url, { "content-type": "application/x-www-form-urlencoded" }, form.toString());
  return ((await answer.json()) as { access_token: string }).access_token;
}

async function person(name: string, token: string): Promise<void> {
  const uuid = randomUUID();
  const email = `${name}@floor.example`;
  const json = { "content-type": "application/json" };

  const user = {
    username: email,
    email,
    emailVerified: true,
    enabled: true,
    attributes: { sme_tenant_id: ["bench"], sme_user_uuid: [uuid] },
    groups: ["/sme-users"],
  };
  const users = `${keycloak.url}/admin/realms/${keycloak.realm}/users`;
  const made = await http("POST", users, { ...json, authorization: `Bearer ${token}` }, JSON.stringify(user));
  const keycloakID = made.headers.get("location")?.split("/").at(-1) ?? "";
  await made.arrayBuffer();

  const account = {
    external_id: uuid,
    email,
    tenant_id: "bench",
    tier: "default",
    metadata: { kc_user_id: keycloakID, kc_realm: keycloak.realm },
  };
  const opened = await http(
    "POST",
    `${newapi.url}/api/v1/admin/users`,
    { ...json, authorization: `Bearer ${newapi.token}`, "x-idempotency-key": uuid },
    JSON.stringify(account),
  );
  const { user_id: userID, api_key: apiKey } = (await opened.json()) as { user_id: string; api_key: string };

  const secretName = `newapi-key-${uuid}`;
  await kube("POST", `/api/v1/namespaces/${namespace}/secrets?fieldManager=floor`, "application/json", {
    apiVersion: "v1",
    kind: "Secret",
    type: "Opaque",
    metadata: { name: secretName, labels: { "catalyst.openova.io/sme-user-uuid": uuid } },
    data: { "api-key": Buffer.from(apiKey).toString("base64"), "base-url": Buffer.from(newapi.url).toString("base64") },
  });

  const now = new Date().toISOString();
  const condition = (type: string): object => ({
    type,
    status: "True",
    observedGeneration: 1,
    lastTransitionTime: now,
    reason: "Provisioned",
    message: "Everything is in place.",
  });
  const status = {
    observedGeneration: 1,
    state: "done",
    userUUID: uuid,
    keycloak: { userID: keycloakID },
    newapi: { userID, username: uuid },
    secretName,
    binding: { name: secretName },
    conditions: ["Ready", "KeycloakReady", "NewAPIReady", "SecretReady"].map(condition),
  };
  const path = `/apis/${task.apiVersion}/namespaces/${namespace}/${task.plural}/${name}/status?fieldManager=floor&force=true`;
  const object = { apiVersion: task.apiVersion, kind: task.kind, metadata: { name }, status };
  await kube("PATCH", path, "application/apply-patch+yaml", object);
}

const token = await login();
const limit = pLimit(task.concurrency);
const latencies: number[] = [];
const began = performance.now();
await Promise.all(
  Array.from({ length: task.count }, (_, n) =>
    limit(async () => {
      const from = performance.now();
      await person(`${task.prefix}-${n}`, token);
      latencies.push(performance.now() - from);
    }),
  ),
);
const seconds = (performance.now() - began) / 1000;
api.destroy();
console.log(
  JSON.stringify({
    seconds,
    p50: percentile(
      latencies.toSorted((a, b) => a - b),
      0.5,
    ),
  }),
);
