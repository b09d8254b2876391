/**
 * AdmissionReviews over TLS, as many at once as there are connections: bytes that were made before, and of the answer only
 * what HTTP needs, so that this costs little beside the server that is measured.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";

import { percentile } from "../figures.ts";

interface Task {
  readonly port: number;
  readonly ca: string;
  readonly path: string;
  /** One of them each time, in turn: of a namespace so many are recorded at most whom nobody has seen. All equally long. */
  readonly namespaces: readonly string[];
  readonly connections: number;
  readonly warmSeconds: number;
  readonly seconds: number;
}

const task = JSON.parse(process.argv[2] ?? "") as Task;
const [NAMESPACE = ""] = task.namespaces;
const PLACEHOLDER = "00000000-0000-0000-0000-000000000000";
const template = requestBytes();
// The review's uid, the object's, and the name and email made of it: a person of its own each time.
const holes = placesOf(template, PLACEHOLDER);
const namespaceHoles = placesOf(template, NAMESPACE);
let sent = 0;

/** As the API server writes the creation of a person by Flux. */
function requestBytes(): Buffer {
  const group = "catalyst.openova.io";
  const kind = { group, version: "v1alpha1", kind: "TenantUser" };
  const resource = { group, version: "v1alpha1", resource: "tenantusers" };
  const fields = { "f:spec": { "f:displayName": {}, "f:email": {}, "f:groups": {} } };
  const body = JSON.stringify({
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    request: {
      uid: PLACEHOLDER,
      kind,
      resource,
      requestKind: kind,
      requestResource: resource,
      name: PLACEHOLDER,
      namespace: NAMESPACE,
      operation: "CREATE",
      userInfo: {
        username: `system:serviceaccount:${NAMESPACE}:flux-tenant`,
        groups: ["system:serviceaccounts", `system:serviceaccounts:${NAMESPACE}`, "system:authenticated"],
      },
      object: {
        apiVersion: `${group}/v1alpha1`,
        kind: "TenantUser",
        metadata: {
          name: PLACEHOLDER,
          namespace: NAMESPACE,
          uid: PLACEHOLDER,
          creationTimestamp: "2026-01-01T00:00:00Z",
          generation: 1,
          labels: {
            "kustomize.toolkit.fluxcd.io/name": "users",
            "kustomize.toolkit.fluxcd.io/namespace": NAMESPACE,
          },
          managedFields: [
            {
              manager: "kustomize-controller",
              operation: "Apply",
              apiVersion: `${group}/v1alpha1`,
              time: "2026-01-01T00:00:00Z",
              fieldsType: "FieldsV1",
              fieldsV1: fields,
            },
          ],
        },
        spec: {
          email: `${PLACEHOLDER}@bench.example`,
          displayName: "Grace Hopper",
          enabled: true,
          invitation: "None",
          suspend: false,
          deletionPolicy: "Delete",
        },
        status: { observedGeneration: -1 },
      },
      oldObject: null,
      dryRun: false,
      options: {
        kind: "PatchOptions",
        apiVersion: "meta.k8s.io/v1",
        force: true,
        fieldManager: "kustomize-controller",
      },
    },
  });
  const head = [
    `POST ${task.path}?timeout=2s HTTP/1.1`,
    "host: unified-rbac-webhook.unified-rbac-system.svc:443",
    "user-agent: kube-apiserver-admission",
    "accept: application/json, */*",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
}

function placesOf(bytes: Buffer, what: string): number[] {
  const places: number[] = [];
  for (let at = bytes.indexOf(what); at >= 0; at = bytes.indexOf(what, at + 1)) places.push(at);
  return places;
}

function nextRequest(): Buffer {
  const bytes = Buffer.from(template);
  const uuid = randomUUID();
  for (const at of holes) bytes.write(uuid, at, "latin1");
  const namespace = task.namespaces[sent % task.namespaces.length] ?? NAMESPACE;
  sent += 1;
  for (const at of namespaceHoles) bytes.write(namespace, at, "latin1");
  return bytes;
}

const LENGTH = /\r\ncontent-length: *(\d+)/i;
const HEAD_END = "\r\n\r\n";

/** Sends one, waits for the whole answer. */
async function exchange(socket: TLSSocket): Promise<void> {
  socket.write(nextRequest());
  let bytes: Buffer = Buffer.alloc(0);
  for (;;) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    const end = bytes.indexOf(HEAD_END);
    if (end < 0) continue;
    const head = bytes.toString("latin1", 0, end);
    if (bytes.length < end + HEAD_END.length + Number(LENGTH.exec(head)?.[1] ?? 0)) continue;
    if (!head.startsWith("HTTP/1.1 200") || !bytes.includes(`"allowed":true`)) {
      throw new Error(`the webhook did not say yes: ${bytes.toString("utf8").slice(0, 500)}`);
    }
    return;
  }
}

const began = performance.now();
const from = began + task.warmSeconds * 1000;
const until = from + task.seconds * 1000;
const latencies: number[] = [];

async function lane(): Promise<void> {
  const socket = connect({ port: task.port, host: "127.0.0.1", ca: task.ca, servername: "localhost" });
  socket.setNoDelay(true);
  await once(socket, "secureConnect");
  for (let now = performance.now(); now < until;) {
    await exchange(socket);
    const answered = performance.now();
    if (now >= from) latencies.push(answered - now);
    now = answered;
  }
  socket.destroy();
}

await Promise.all(Array.from({ length: task.connections }, lane));
const seconds = (performance.now() - from) / 1000;
const sorted = latencies.toSorted((a, b) => a - b);
console.log(
  JSON.stringify({ rate: sorted.length / seconds, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) }),
);
