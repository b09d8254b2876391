/**
 * The least that an admission webhook can be: node:https that parses the review and says yes, with a constant patch on
 * /mutate. With a database it also commits one INSERT for each request on /validate.
 */
import { once } from "node:events";
import { createServer } from "node:https";
import pg from "pg";

interface Task {
  readonly cert: string;
  readonly key: string;
  /** Where to record; absent: nowhere. */
  readonly databaseURL?: string;
}

interface Review {
  readonly request: {
    readonly uid: string;
    readonly namespace: string;
    readonly object: {
      readonly metadata: { readonly name: string; readonly uid: string };
      readonly spec: { readonly email: string };
    };
  };
}

const INSERT = `insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name)
                values ($1, $2, $3, $1, $4, $5) on conflict (sme_user_uuid) do nothing`;
const PATCH = Buffer.from(
  JSON.stringify([
    { op: "add", path: "/metadata/finalizers", value: ["catalyst.openova.io/provisioning"] },
    { op: "add", path: "/metadata/labels", value: { "catalyst.openova.io/sme-tenant": "bench" } },
  ]),
).toString("base64");

const { cert, key, databaseURL } = JSON.parse(process.argv[2] ?? "") as Task;
const pool = databaseURL === undefined ? undefined : new pg.Pool({ connectionString: databaseURL, max: 8 });

/** The API server asks with `?timeout=`. */
async function answer(url: string | undefined, body: Buffer): Promise<string> {
  const { request } = JSON.parse(body.toString("utf8")) as Review;
  const { uid, namespace, object } = request;
  const response =
    url?.startsWith("/mutate?") === true
      ? { uid, allowed: true, patchType: "JSONPatch", patch: PATCH }
      : { uid, allowed: true };
  if (pool !== undefined && url?.startsWith("/validate?") === true) {
    const { name, uid: objectUID } = object.metadata;
    await pool.query({
      name: "record",
      text: INSERT,
      values: [objectUID, "bench", object.spec.email, namespace, name],
    });
  }
  return JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response });
}

const server = createServer({ cert, key, noDelay: true, keepAliveTimeout: 95_000 }, (request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    void answer(request.url, Buffer.concat(chunks)).then((text) => {
      response
        .writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) })
        .end(text);
    });
  });
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const address = server.address();
console.log(JSON.stringify({ port: typeof address === "object" && address !== null ? address.port : 0 }));
