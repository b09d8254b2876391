/** Empty watches of Secrets, one a namespace, over node:http2, a hundred to a connection; says when all are open. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { parse } from "yaml";

interface Task {
  readonly kubeconfig: string;
  readonly namespaces: readonly string[];
  readonly labelSelector: string;
}

interface Kubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly "certificate-authority-data": string } },
  ];
  readonly users: readonly [{ readonly user: Readonly<Record<"client-certificate-data" | "client-key-data", string>> }];
}

const PER_CONNECTION = 100;
const task = JSON.parse(process.argv[2] ?? "") as Task;
const { clusters, users } = parse(readFileSync(task.kubeconfig, "utf8")) as Kubeconfig;
const [{ cluster }] = clusters;
const [{ user }] = users;
const plain = (base64: string): Buffer => Buffer.from(base64, "base64");
const tls = {
  ca: plain(cluster["certificate-authority-data"]),
  cert: plain(user["client-certificate-data"]),
  key: plain(user["client-key-data"]),
};

async function watch(session: ClientHttp2Session, namespace: string): Promise<void> {
  const query = new URLSearchParams({ watch: "true", allowWatchBookmarks: "true", labelSelector: task.labelSelector });
  const stream = session.request({
    ":path": `/api/v1/namespaces/${namespace}/secrets?${query.toString()}`,
    accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
  });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  if (headers[":status"] !== 200)
    throw new Error(`the watch of ${namespace} was answered with ${String(headers[":status"])}`);
  // An event is a line; a chunk may end in the middle of one.
  let rest = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) JSON.parse(line);
  });
}

console.log(JSON.stringify({ open: 0 }));
await new Promise((resolve) => setTimeout(resolve, 2_000));
console.log(JSON.stringify({ open: 0 }));
for (let from = 0; from < task.namespaces.length; from += PER_CONNECTION) {
  const session = connect(cluster.server, tls);
  await Promise.all(task.namespaces.slice(from, from + PER_CONNECTION).map((namespace) => watch(session, namespace)));
}
console.log(JSON.stringify({ open: task.namespaces.length }));
