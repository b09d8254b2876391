/** The product in real Pods on the stack that STACK_NAME names, as its users install it. */
import { randomBytes } from "node:crypto";
import type { Pool } from "pg";
import { assert } from "vitest";
import * as z from "zod";

import { OPERATOR_NAMESPACE } from "../../src/api/meta.ts";
import { makePool } from "../../src/store/pool.ts";
import { DEPLOYMENT, insideValues, rolledOut } from "../../stack/cluster/install.ts";
import { readStackEnv, type StackEnv } from "../../stack/index.ts";
import { connectKube, kubectl, type Kube } from "../../stack/kube.ts";
import { onNode } from "../../stack/node/images.ts";
import { type ApiServer, connectApiServer } from "./apiServer.ts";
import { soon } from "./soon.ts";
import { standInControl, type StandInControl } from "./standInControl.ts";
import { makeTenant, type TestTenant } from "./tenant.ts";

const status = z.object({
  name: z.string(),
  ready: z.boolean(),
  restartCount: z.number(),
  containerID: z.string().default(""),
});
const pod = z.object({
  metadata: z.object({ name: z.string(), uid: z.string(), deletionTimestamp: z.string().optional() }),
  status: z.object({
    phase: z.string(),
    podIP: z.string().default(""),
    containerStatuses: z.array(status).default([]),
  }),
});
export type Pod = z.infer<typeof pod>;
export type PodContainer = "webhook" | "reconciler";

export interface Pods {
  readonly env: StackEnv;
  readonly api: ApiServer;
  readonly kube: Kube;
  readonly gateway: StandInControl;
  readonly db: Pool;
  kubectl(...args: string[]): Promise<string>;
  /** The Pods of the product that are not ending, oldest name first. */
  running(): Promise<Pod[]>;
  /** Waits until this many Pods run, each with both containers ready, and the Deployment has nothing left to do. */
  settled(replicas?: number): Promise<Pod[]>;
  /** Runs JavaScript in a container of the product, with the image's own Node. Gives what it prints. */
  evaluate(podName: string, container: PodContainer, code: string): Promise<string>;
  /** SIGKILL to the container's first process. */
  kill(pod: Pod, container: PodContainer): Promise<void>;
  /** A tenant of its own; it goes when the platform closes. */
  tenant(label: string): Promise<TestTenant>;
  close(): Promise<void>;
}

export async function openPods(): Promise<Pods> {
  const env = readStackEnv(process.env["STACK_NAME"] ?? "pods");
  const gateway = standInControl(env.NEWAPI_URL);
  await gateway.heal();
  const [api, kube] = await Promise.all([connectApiServer(env.KUBECONFIG), connectKube(env)]);
  const db = makePool({ url: env.DATABASE_URL, max: 4, applicationName: "pods", onIdleError: () => {} });
  const tenants: TestTenant[] = [];
  const own = (...args: string[]): Promise<string> => kubectl(env, ["-n", OPERATOR_NAMESPACE, ...args]);

  const running = async (): Promise<Pod[]> => {
    const list = await own("get", "pods", "-l", `app.kubernetes.io/name=${DEPLOYMENT}`, "-o", "json");
    return z
      .object({ items: z.array(pod) })
      .parse(JSON.parse(list))
      .items.filter(
        ({ metadata, status: { phase } }) => metadata.deletionTimestamp === undefined && phase !== "Failed",
      );
  };

  return {
    env,
    api,
    kube,
    gateway,
    db,
    kubectl: own,
    running,
    async settled(replicas = 2) {
      await rolledOut(env);
      return soon(async () => {
        const found = await running();
        const whole = found.filter(
          ({ status: { containerStatuses } }) =>
            containerStatuses.length === 2 && containerStatuses.every(({ ready }) => ready),
        );
        assert.equal(whole.length, replicas);
        assert.equal(found.length, replicas);
        return found;
      }, 120_000);
    },
    evaluate: (podName, container, code) => own("exec", podName, "-c", container, "--", "node", "-e", code),
    async kill({ status: { containerStatuses } }, container) {
      const id = containerStatuses.find(({ name }) => name === container)?.containerID.replace("containerd://", "");
      assert(id !== undefined && id !== "", `the Pod has no running container ${container}`);
      await onNode(env.STACK_DIR, "ctr", ["--namespace=k8s.io", "task", "kill", "--signal=SIGKILL", id]);
    },
    async tenant(label) {
      const tenant = await makeTenant({ env, api, kube, gateway, db }, label, { values: insideValues(env) });
      tenants.push(tenant);
      return tenant;
    },
    async close() {
      await Promise.all(tenants.map((tenant) => tenant.leave()));
      await Promise.all(tenants.map(({ realm }) => realm.remove()));
      await db.end();
      kube.close();
      api.close();
    },
  };
}

export interface Probe {
  /** JavaScript, in another Pod of the cluster. */
  evaluate(code: string): Promise<string>;
  close(): Promise<void>;
}

/** A Pod in a namespace of this name, which is none of the product's. */
export async function openProbe(pods: Pods, namespace: string): Promise<Probe> {
  const { env } = pods;
  const name = `probe-${randomBytes(3).toString("hex")}`;
  const image = await pods.kubectl(
    "get",
    "deployment",
    DEPLOYMENT,
    "-o",
    "jsonpath={.spec.template.spec.containers[0].image}",
  );
  const spec = {
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    containers: [{ name: "probe", image, command: ["node", "-e", "setInterval(() => {}, 1e6)"] }],
  };
  const objects = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    { apiVersion: "v1", kind: "Pod", metadata: { name, namespace }, spec },
  ];
  await kubectl(
    env,
    ["apply", "--server-side", "-f", "-"],
    objects.map((object) => JSON.stringify(object)).join("\n---\n"),
  );
  // The API server takes no Pod before the namespace has its ServiceAccount.
  await kubectl(env, ["wait", "-n", namespace, "--for=condition=Ready", "--timeout=60s", `pod/${name}`]);
  return {
    evaluate: (code) => kubectl(env, ["exec", "-n", namespace, name, "--", "node", "-e", code]),
    close: async () => {
      await kubectl(env, ["delete", "pod", "-n", namespace, name, "--wait=false"]);
    },
  };
}

/** JavaScript that prints `open`, or the error's code, or `timeout` after two seconds. */
export const connectTo = (host: string, port: number): string =>
  `const s = require("net").connect({ host: "${host}", port: ${port}, timeout: 2000 });
   const end = (word) => { console.log(word); process.exit(0); };
   s.on("connect", () => end("open")).on("timeout", () => end("timeout")).on("error", (e) => end(e.code));`;
