import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { generate } from "selfsigned";

import { writeAtomically } from "./files.ts";
import { NODE_NAME, type NodeAddresses } from "./node/addresses.ts";

interface Pair {
  readonly cert: string;
  readonly key: string;
}

const year = 365 * 24 * 3600 * 1000;
const validity = (): { notBeforeDate: Date; notAfterDate: Date } => ({
  // An hour of grace for a clock that is set back.
  notBeforeDate: new Date(Date.now() - 3600_000),
  notAfterDate: new Date(Date.now() + year),
});

async function makeCa(): Promise<Pair> {
  const made = await generate([{ name: "commonName", value: "unified-rbac local stack" }], {
    keyType: "ec",
    algorithm: "sha256",
    ...validity(),
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, digitalSignature: true, critical: true },
    ],
  });
  return { cert: made.cert, key: made.private };
}

/** `addresses`: for a server, where it is found beside this machine. */
async function makeLeaf(
  ca: Pair,
  user: string,
  group: string | undefined,
  addresses?: readonly string[],
): Promise<Pair> {
  const server = addresses !== undefined;
  const subject = [
    { name: "commonName", value: user },
    ...(group === undefined ? [] : [{ name: "organizationName", value: group }]),
  ];
  const made = await generate(subject, {
    keyType: "ec",
    algorithm: "sha256",
    ca,
    ...validity(),
    extensions: [
      { name: "basicConstraints", cA: false },
      { name: "keyUsage", digitalSignature: true, critical: true },
      { name: "extKeyUsage", ...(server ? { serverAuth: true } : { clientAuth: true }) },
      ...(server
        ? [
            {
              name: "subjectAltName" as const,
              altNames: [
                ...["127.0.0.1", ...addresses].map((ip) => ({ type: 7 as const, ip })),
                { type: 2 as const, value: "localhost" },
                { type: 2 as const, value: "kubernetes.default.svc" },
              ],
            },
          ]
        : []),
    ],
  });
  return { cert: made.cert, key: made.private };
}

/** The name by which the API server shows itself to webhooks. */
export const ADMISSION_CLIENT = "kube-apiserver-admission";

/** As whom the API server calls the kubelet. */
export const KUBELET_CLIENT = "kube-apiserver-kubelet-client";

/** Who gets a client certificate: Kubernetes takes the user from CN and the group from O. */
const clients = {
  admin: ["stack-admin", "system:masters"],
  "controller-manager": ["system:kube-controller-manager", undefined],
  admission: [ADMISSION_CLIENT, undefined],
  "source-controller": ["source-controller", "flux-controllers"],
  "kustomize-controller": ["kustomize-controller", "flux-controllers"],
} as const;
/** Those of a stack with a node. */
const nodeClients = {
  scheduler: ["system:kube-scheduler", undefined],
  kubelet: [`system:node:${NODE_NAME}`, "system:nodes"],
  "kube-proxy": ["system:kube-proxy", undefined],
  "kube-router": ["kube-router", undefined],
  "apiserver-kubelet": [KUBELET_CLIENT, undefined],
} as const;
export type Client = keyof typeof clients | keyof typeof nodeClients;

export const pkiFile = (dir: string, name: string): string => join(dir, "data", "pki", name);

export const kubeconfigFile = (dir: string, client: Client): string =>
  client === "admin" ? join(dir, "kubeconfig") : pkiFile(dir, `${client}.kubeconfig`);

/** Makes the control plane's certificates and keys once per stack, and its kubeconfigs on every start (the port may differ). */
export async function preparePki(dir: string, apiUrl: string, node?: NodeAddresses): Promise<void> {
  mkdirSync(pkiFile(dir, ""), { recursive: true, mode: 0o700 });
  const all = { ...clients, ...(node && nodeClients) };
  const done = pkiFile(dir, "done");
  if (!existsSync(done)) {
    const ca = await makeCa();
    savePair(dir, "ca", ca);
    savePair(
      dir,
      "apiserver",
      await makeLeaf(ca, "kube-apiserver", undefined, node ? [node.apiService, node.hostIP] : []),
    );
    for (const [file, [user, group]] of Object.entries(all)) {
      savePair(dir, file, await makeLeaf(ca, user, group));
    }
    const { privateKey } = generateKeyPairSync("rsa", {
      modulusLength: 2048,
      privateKeyEncoding: { type: "pkcs1", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    });
    writeAtomically(pkiFile(dir, "service-account.key"), privateKey, 0o600);
    const publicKey = createPublicKey(createPrivateKey(privateKey)).export({ type: "spki", format: "pem" });
    writeAtomically(pkiFile(dir, "service-account.pub"), publicKey.toString());
    writeAtomically(done, "");
  }
  for (const client of Object.keys(all) as Client[]) {
    writeAtomically(kubeconfigFile(dir, client), kubeconfig(dir, client, apiUrl), 0o600);
  }
}

function savePair(dir: string, name: string, pair: Pair): void {
  writeAtomically(pkiFile(dir, `${name}.crt`), pair.cert);
  writeAtomically(pkiFile(dir, `${name}.key`), pair.key, 0o600);
}

/** A client's kubeconfig for an API server at this address. */
export function kubeconfig(dir: string, client: Client, server: string): string {
  const inline = (file: string): string => readFileSync(pkiFile(dir, file)).toString("base64");
  const user = { "client-certificate-data": inline(`${client}.crt`), "client-key-data": inline(`${client}.key`) };
  // JSON is YAML, and needs no quoting rules.
  return JSON.stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "stack", cluster: { server, "certificate-authority-data": inline("ca.crt") } }],
      users: [{ name: client, user }],
      contexts: [{ name: "stack", context: { cluster: "stack", user: client, namespace: "default" } }],
      "current-context": "stack",
    },
    null,
    2,
  );
}
