/** The stack's control plane for those who set it up and look at it, with an administrator's rights. */
import { spawn } from "node:child_process";
import { text as readAll } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";

import { fromKubeconfig } from "../src/kube/access.ts";
import { type ApiRequest, makeApiClient } from "../src/kube/apiClient.ts";
import { systemClock } from "../src/lib/clock.ts";
import type { StackEnv } from "./env.ts";

const anyObject = z.looseObject({
  metadata: z.looseObject({
    name: z.string(),
    uid: z.string().optional(),
    namespace: z.string().optional(),
    resourceVersion: z.string().optional(),
    generation: z.number().optional(),
    deletionTimestamp: z.string().optional(),
  }),
});
/** Any object, as the API server gives it. */
export type KubeObject = z.infer<typeof anyObject>;

const listAnswer = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  items: z.array(anyObject),
});
const watchLine = z.object({ type: z.string(), object: z.unknown() });

export interface Observation {
  readonly gone: boolean;
  readonly object: KubeObject;
  /** When it was seen, in milliseconds since the epoch. */
  readonly at: number;
}

export interface Kube {
  /** Undefined: there is none. */
  get(path: string): Promise<KubeObject | undefined>;
  /** A merge patch. The manager's name must not begin with "kubectl": Flux takes such fields away. */
  patch(path: string, body: object, fieldManager: string): Promise<void>;
  /** Every object of a collection that is there or comes, changes or goes, until the signal aborts. */
  follow(path: string, onObservation: (observation: Observation) => void, signal: AbortSignal): Promise<void>;
  close(): void;
}

export async function connectKube(env: Pick<StackEnv, "KUBECONFIG">): Promise<Kube> {
  const clock = systemClock;
  const connection = makeApiClient(await fromKubeconfig({ clock }, env.KUBECONFIG), { clock });
  const never = new AbortController().signal;

  async function send(request: ApiRequest, signal: AbortSignal = never): Promise<unknown> {
    const answer = await connection.send(request, signal);
    if (answer.status === 404) return undefined;
    if (answer.status >= 300) throw new Error(`${request.method} ${request.path}: ${answer.text.slice(0, 300)}`);
    return JSON.parse(answer.text);
  }

  async function followOnce(
    path: string,
    onObservation: (observation: Observation) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const list = listAnswer.parse(await send({ method: "GET", path }, signal));
    for (const object of list.items) onObservation({ gone: false, object, at: Date.now() });
    const query = { watch: "true", resourceVersion: list.metadata.resourceVersion };
    const stream = await connection.stream({ method: "GET", path, query }, () => {}, signal);
    if ("text" in stream) throw new Error(`watch ${path}: ${stream.text.slice(0, 300)}`);
    signal.addEventListener("abort", () => stream.cancel(), { once: true });
    for (let line = await stream.next(); line !== undefined; line = await stream.next()) {
      const { type, object } = watchLine.parse(JSON.parse(line));
      if (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED") return;
      onObservation({ gone: type === "DELETED", object: anyObject.parse(object), at: Date.now() });
    }
  }

  return {
    get: async (path) => anyObject.optional().parse(await send({ method: "GET", path })),
    async patch(path, body, fieldManager) {
      await send({ method: "PATCH", path, query: { fieldManager }, patchType: "merge", body });
    },
    async follow(path, onObservation, signal) {
      while (!signal.aborted) {
        try {
          await followOnce(path, onObservation, signal);
        } catch (error) {
          if (signal.aborted) return;
          if (error instanceof z.ZodError) throw error;
          await sleep(250, undefined, { signal }).catch(() => undefined);
        }
      }
    },
    close: () => connection.close(),
  };
}

/** Runs kubectl as the stack's administrator and gives what it prints. */
export async function kubectl(
  env: Pick<StackEnv, "KUBECTL" | "KUBECONFIG">,
  args: readonly string[],
  input?: string,
): Promise<string> {
  const child = spawn(env.KUBECTL, [...args], {
    env: { ...process.env, KUBECONFIG: env.KUBECONFIG },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  // A child that ended early has closed its end; what it said tells why.
  child.stdin.on("error", () => {});
  child.stdin.end(input ?? "");
  const [out, err, code] = await Promise.all([readAll(child.stdout), readAll(child.stderr), ended]);
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")} failed: ${err.trim() || out.trim()}`);
  return out;
}

/** Applies YAML as the platform would. */
export async function applyText(env: StackEnv, yaml: string): Promise<void> {
  await kubectl(env, ["apply", "--server-side", "--force-conflicts", "--field-manager=platform", "-f", "-"], yaml);
}
