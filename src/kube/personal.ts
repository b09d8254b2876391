/** The API server as a person's own kubeconfig reaches it. What fails is typed; each program puts it into its own words. */
import * as z from "zod";
import { systemClock } from "../lib/clock.ts";
import { parsedJSON } from "../lib/json.ts";
import { type Access, contextOf, fromKubeconfig, inCluster } from "./access.ts";
import { type ApiRequest, makeApiClient } from "./apiClient.ts";
import { eachPage } from "./pages.ts";

const statusBody = z.looseObject({
  kind: z.literal("Status"),
  message: z.string().default(""),
  details: z
    .looseObject({
      name: z.string().optional(),
      causes: z.array(z.looseObject({ reason: z.string().optional(), message: z.string().optional() })).default([]),
    })
    .prefault({}),
});
const list = z.looseObject({
  metadata: z.looseObject({ continue: z.string().optional() }).prefault({}),
  items: z.array(z.unknown()).nullish(),
});

/** The kubeconfig names nothing usable. */
export class KubeconfigError extends Error {
  override readonly name = "KubeconfigError";
}

/** Nobody answered. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
}

/** The answer is not a 2xx, or no JSON. `details`: where it is a Status of the API server's. */
export class RefusalError extends Error {
  override readonly name = "RefusalError";
  readonly status: number;
  readonly details: z.infer<typeof statusBody>["details"] | undefined;

  constructor(status: number, body: unknown) {
    const said = statusBody.safeParse(body).data;
    super(said?.message ?? "");
    this.status = status;
    this.details = said?.details;
  }
}

export interface KubeconfigChoice {
  /** The value of KUBECONFIG. */
  readonly paths: string;
  readonly context?: string | undefined;
}

export interface PersonalCluster {
  /** The name of the context. */
  readonly context: string;
  /** The body of a 2xx. Throws NoAnswerError or RefusalError. */
  ask(request: ApiRequest): Promise<unknown>;
  /** Every item of a collection, page by page. */
  list(path: string, query?: Readonly<Record<string, string>>): Promise<unknown[]>;
  close(): void;
}

/** Name and namespace of the context. Throws KubeconfigError. */
export function readContext({ paths, context }: KubeconfigChoice): ReturnType<typeof contextOf> {
  return usable(() => contextOf(paths, context));
}

/** Reads the kubeconfig; nothing is asked yet. Throws KubeconfigError. */
export async function openPersonalCluster(choice: KubeconfigChoice, signal: AbortSignal): Promise<PersonalCluster> {
  const { name } = await readContext(choice);
  const deps = { clock: systemClock };
  const access = await usable(() => fromKubeconfig(deps, choice.paths, choice.context));
  return openCluster(name, access, signal);
}

/** With the Pod's own ServiceAccount. `host` and `port`: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. */
export function openPodCluster(place: Parameters<typeof inCluster>[1], signal: AbortSignal): PersonalCluster {
  return openCluster("(this Pod's ServiceAccount)", inCluster({ clock: systemClock }, place), signal);
}

function openCluster(name: string, access: Access, signal: AbortSignal): PersonalCluster {
  const client = makeApiClient(access, { clock: systemClock });

  async function ask(request: ApiRequest): Promise<unknown> {
    const { status, text } = await client.send(request, signal).catch((cause: unknown) => {
      signal.throwIfAborted();
      throw new NoAnswerError(cause instanceof Error ? cause.message : String(cause), { cause });
    });
    const body = parsedJSON(text);
    if (status >= 200 && status < 300 && body !== undefined) return body;
    throw new RefusalError(status, body);
  }

  return {
    context: name,
    ask,
    async list(path, query = {}) {
      const items: unknown[] = [];
      await eachPage(async (page) => {
        const answer = list.parse(await ask({ method: "GET", path, query: { ...query, ...page } }));
        for (const item of answer.items ?? []) items.push(item);
        return answer.metadata.continue;
      });
      return items;
    },
    close: () => client.close(),
  };
}

async function usable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new KubeconfigError(cause instanceof Error ? cause.message : "it is unreadable", { cause });
  }
}
