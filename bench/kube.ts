/** The API server as the benchmark sees it, with an administrator's rights. */
import { fromKubeconfig } from "../src/kube/access.ts";
import { type ApiRequest, makeApiClient } from "../src/kube/apiClient.ts";
import { systemClock } from "../src/lib/clock.ts";

export interface Api {
  /** The answer's body; undefined for a 404. Throws on any other refusal. */
  send(request: ApiRequest): Promise<Readonly<Record<string, unknown>> | undefined>;
  /** Where the path is no JSON: metrics. */
  text(path: string): Promise<string>;
  close(): void;
}

export async function connectApi(kubeconfig: string): Promise<Api> {
  const connection = makeApiClient(await fromKubeconfig({ clock: systemClock }, kubeconfig), { clock: systemClock });
  const never = new AbortController().signal;
  return {
    async send(request) {
      const answer = await connection.send(request, never);
      if (answer.status === 404) return undefined;
      if (answer.status >= 300) throw new Error(`${request.method} ${request.path}: ${answer.text.slice(0, 300)}`);
      return JSON.parse(answer.text) as Readonly<Record<string, unknown>>;
    },
    text: async (path) => (await connection.send({ method: "GET", path, accept: "text/plain" }, never)).text,
    close: () => connection.close(),
  };
}

/** One person as this tenant's Flux applies it. */
export function applyRequest(path: string, name: string, email: string, apiVersion: string, kind: string): ApiRequest {
  return {
    method: "PATCH",
    path: `${path}/${name}`,
    query: { fieldManager: "kustomize-controller", force: "true" },
    patchType: "apply",
    body: { apiVersion, kind, metadata: { name }, spec: { email, displayName: "Grace Hopper" } },
  };
}
