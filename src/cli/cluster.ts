/** The API server as a person's own kubeconfig reaches it; what goes wrong is a sentence for that person. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import * as z from "zod";

import { fromKubeconfig } from "../kube/access.ts";
import { type ApiRequest, type Connection, makeConnection } from "../kube/connection.ts";
import { systemClock } from "../lib/clock.ts";
import { isSagaError } from "../lib/errors.ts";
import { EXIT, Failure } from "./failure.ts";

const anyObject = z.looseObject({
  metadata: z.looseObject({
    name: z.string(),
    uid: z.string().default(""),
    namespace: z.string().optional(),
    generation: z.int().optional(),
    deletionTimestamp: z.string().optional(),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
});
/** Any object, as the API server gives it. */
export type AnyObject = z.infer<typeof anyObject>;

const list = z.looseObject({
  metadata: z.looseObject({ continue: z.string().optional() }),
  items: z.array(anyObject).nullish(),
});
const said = z.looseObject({ message: z.string() });

/** An answer that is no: this person may not, or the API server refuses what was asked. */
export class Refused extends Failure {
  readonly status: number;

  constructor(message: string, status: number) {
    super(message, EXIT.cluster);
    this.name = "Refused";
    this.status = status;
  }
}

/** Every method throws a Failure: Refused for what was answered with no, else nobody answered. */
export interface ClusterClient {
  /** Undefined: there is no such object, or no such kind. */
  get(path: string): Promise<AnyObject | undefined>;
  /** Whether there is anything at this path. */
  exists(path: string): Promise<boolean>;
  /** A whole collection; empty when there is no such kind. */
  list(path: string, query?: Readonly<Record<string, string>>): Promise<readonly AnyObject[]>;
  /** A merge patch; false when the object is gone. */
  patch(path: string, body: object): Promise<boolean>;
  /** True also when it was gone already. With `uid`: only that very object. */
  remove(path: string, uid: string): Promise<void>;
  /** For reviews: what was answered. */
  post(path: string, body: object): Promise<unknown>;
  close(): void;
}

/** Not "kubectl...": Flux takes the fields of such managers away. */
const FIELD_MANAGER = "unified-rbac-cli";
const PAGE = "500";

export interface ClusterChoice {
  /** The value of KUBECONFIG; absent: ~/.kube/config. */
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
}

/** Reads the kubeconfig; nothing is asked yet. */
export async function connectCluster(choice: ClusterChoice, signal: AbortSignal): Promise<ClusterClient> {
  const paths = choice.kubeconfig ?? join(homedir(), ".kube", "config");
  if (choice.kubeconfig === undefined && !existsSync(paths)) {
    throw new Failure(`There is no kubeconfig: set KUBECONFIG, or make ${paths}.`, EXIT.cluster);
  }
  const clock = systemClock;
  try {
    return client(makeConnection(await fromKubeconfig({ clock }, paths, choice.context), { clock }), signal);
  } catch (error) {
    throw new Failure(`${error instanceof Error ? error.message : String(error)}.`, EXIT.cluster);
  }
}

function client(connection: Connection, signal: AbortSignal): ClusterClient {
  /** Undefined: 404. */
  async function ask(request: ApiRequest): Promise<unknown> {
    const answer = await connection.send(request, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new Failure(isSagaError(error) ? error.message : String(error), EXIT.cluster);
    });
    if (answer.status === 404) return undefined;
    const body = parsed(answer.text);
    if (answer.status < 300 && body !== undefined) return body;
    const why = said.safeParse(body).data?.message ?? `status ${answer.status}`;
    throw new Refused(`The API server refused (${request.method} ${request.path}): ${why}.`, answer.status);
  }

  return {
    get: async (path) => anyObject.optional().parse(await ask({ method: "GET", path })),
    exists: async (path) => (await ask({ method: "GET", path, query: { limit: "1" } })) !== undefined,
    async list(path, query = {}) {
      const all: AnyObject[] = [];
      let next: string | undefined;
      do {
        const page = { ...query, limit: PAGE, ...(next ? { continue: next } : {}) };
        const answer = await ask({ method: "GET", path, query: page });
        if (answer === undefined) return all;
        const { items, metadata } = list.parse(answer);
        all.push(...(items ?? []));
        next = metadata.continue;
      } while (next);
      return all;
    },
    async patch(path, body) {
      const query = { fieldManager: FIELD_MANAGER };
      return (await ask({ method: "PATCH", path, query, patchType: "merge", body })) !== undefined;
    },
    async remove(path, uid) {
      const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid } };
      await ask({ method: "DELETE", path, body }).catch((error: unknown) => {
        // Another object of that name by now: ours is gone.
        if (!(error instanceof Refused && error.status === 409)) throw error;
      });
    },
    post: (path, body) => ask({ method: "POST", path, body }),
    close: () => connection.close(),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
