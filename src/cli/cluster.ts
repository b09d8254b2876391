/** The API server as a person's own kubeconfig reaches it; what goes wrong is a sentence for that person. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import * as z from "zod";

import type { ApiRequest } from "../kube/apiClient.ts";
import {
  KubeconfigError,
  NoAnswerError,
  openPersonalCluster,
  openPodCluster,
  type PersonalCluster,
  RefusalError,
} from "../kube/personal.ts";
import { EXIT, CommandFailure } from "./failure.ts";

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

/** An answer that is no: this person may not, or the API server refuses what was asked. */
export class Refused extends CommandFailure {
  readonly status: number;

  constructor(message: string, status: number) {
    super(message, EXIT.cluster);
    this.name = "Refused";
    this.status = status;
  }
}

/** Every method throws a CommandFailure: Refused for what was answered with no, else nobody answered. */
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
  remove(path: string, uid?: string): Promise<void>;
  /** For reviews: what was answered. */
  post(path: string, body: object, query?: Readonly<Record<string, string>>): Promise<unknown>;
  close(): void;
}

/** Not "kubectl...": Flux takes the fields of such managers away. */
const FIELD_MANAGER = "unified-rbac-cli";

export interface ClusterChoice {
  /** The value of KUBECONFIG; absent: ~/.kube/config. */
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** Where a Pod reaches the API server. Used only where there is no kubeconfig at all. */
  readonly pod?: { readonly host: string; readonly port: string | undefined } | undefined;
}

async function open({ kubeconfig, context, pod }: ClusterChoice, signal: AbortSignal): Promise<PersonalCluster> {
  const paths = kubeconfig ?? join(homedir(), ".kube", "config");
  if (kubeconfig === undefined && !existsSync(paths)) {
    if (pod !== undefined) return openPodCluster(pod, signal);
    throw new CommandFailure(`There is no kubeconfig: set KUBECONFIG, or make ${paths}.`, EXIT.cluster);
  }
  return openPersonalCluster({ paths, context }, signal).catch((error: unknown) => {
    throw error instanceof KubeconfigError ? new CommandFailure(`${error.message}.`, EXIT.cluster) : error;
  });
}

/** Reads the kubeconfig; nothing is asked yet. */
export async function connectCluster(choice: ClusterChoice, signal: AbortSignal): Promise<ClusterClient> {
  const cluster = await open(choice, signal);

  /** Undefined: 404. */
  async function found<T>(request: Pick<ApiRequest, "method" | "path">, work: Promise<T>): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof NoAnswerError) throw new CommandFailure(error.message, EXIT.cluster);
      if (!(error instanceof RefusalError)) throw error;
      const { status, message } = error;
      if (status === 404) return undefined;
      const why = message === "" ? `status ${status}` : message;
      throw new Refused(`The API server refused (${request.method} ${request.path}): ${why}.`, status);
    }
  }
  const ask = (request: ApiRequest): Promise<unknown> => found(request, cluster.ask(request));

  return {
    get: async (path) => anyObject.optional().parse(await ask({ method: "GET", path })),
    exists: async (path) => (await ask({ method: "GET", path, query: { limit: "1" } })) !== undefined,
    list: async (path, query) =>
      z.array(anyObject).parse((await found({ method: "GET", path }, cluster.list(path, query))) ?? []),
    async patch(path, body) {
      const query = { fieldManager: FIELD_MANAGER };
      return (await ask({ method: "PATCH", path, query, patchType: "merge", body })) !== undefined;
    },
    async remove(path, uid) {
      const preconditions = uid === undefined ? {} : { preconditions: { uid } };
      const body = { apiVersion: "v1", kind: "DeleteOptions", ...preconditions };
      await ask({ method: "DELETE", path, body }).catch((error: unknown) => {
        // Another object of that name by now: ours is gone.
        if (!(error instanceof Refused && error.status === 409)) throw error;
      });
    },
    post: (path, body, query) => ask({ method: "POST", path, body, query }),
    close: () => cluster.close(),
  };
}
