/** Objects by their metadata alone: what a watch reads and delivers, and the list that it begins with. */
import * as z from "zod";
import {
  ANNOTATION_REQUESTED_AT,
  ANNOTATION_ROTATE_REQUESTED_AT,
  FINALIZER,
  type ObjectMeta,
  objectMeta,
} from "../api/meta.ts";
import { mark } from "../lib/text.ts";
import { classify } from "./classify.ts";
import type { WatchTarget } from "./cluster.ts";
import type { ApiClient } from "./apiClient.ts";
import { read } from "./exchange.ts";
import { eachPage } from "./pages.ts";

const ACCEPT_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

const withMeta = z.object({ metadata: objectMeta });
const page = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string(), continue: z.string().optional() }),
  // null: how the API server writes an empty list of metadata.
  items: z.array(z.unknown()).nullable(),
});

export interface ListDeps {
  readonly connection: ApiClient;
  /** Hears of each page. */
  readonly onPage: () => void;
  /** Is given what is no object of Kubernetes; the others of its page are taken in. */
  readonly skipped: (object: unknown) => void;
}

/** The whole collection, in pages. Throws what `classify` makes of a refusal. */
export async function listMetadata(
  { connection, onPage, skipped }: ListDeps,
  target: WatchTarget,
  signal: AbortSignal,
): Promise<{ readonly items: readonly ObjectMeta[]; readonly version: string }> {
  const items: ObjectMeta[] = [];
  let version = "";
  await eachPage(async (query) => {
    signal.throwIfAborted();
    const request = {
      method: "GET",
      path: target.path,
      query: { ...selector(target), ...query },
      accept: ACCEPT_LIST,
    } as const;
    const answer = await connection.send(request, signal);
    // 410 here: the list took so long that its snapshot is gone. The next try begins again.
    if (answer.status !== 200) throw classify(answer, `list ${target.path}`, connection.clock.now());
    const { metadata, items: some } = read(page, answer, `list ${target.path}`);
    onPage();
    for (const item of some ?? []) {
      const meta = metadataOf(item);
      if (meta === undefined) skipped(item);
      else items.push(meta);
    }
    version = metadata.resourceVersion;
    return metadata.continue;
  });
  return { items, version };
}

/** As much of an object's metadata as anybody here reads; undefined: it is no object. */
export function metadataOf(object: unknown): ObjectMeta | undefined {
  const parsed = withMeta.safeParse(object);
  return parsed.success ? lean(parsed.data.metadata) : undefined;
}

export function selector(target: WatchTarget): Record<string, string> {
  return {
    ...(target.labelSelector === undefined ? {} : { labelSelector: target.labelSelector }),
    ...(target.fieldSelector === undefined ? {} : { fieldSelector: target.fieldSelector }),
  };
}

/**
 * Most of an object's metadata is others' business, and as large as they like: what is kept of a thousand objects is bounded
 * by their number, whatever stands in them.
 */
function lean(meta: ObjectMeta): ObjectMeta {
  const { name, namespace, uid, resourceVersion, generation, creationTimestamp, deletionTimestamp } = meta;
  return {
    name,
    namespace,
    uid,
    resourceVersion,
    generation,
    creationTimestamp,
    deletionTimestamp,
    ...(meta.finalizers?.includes(FINALIZER) === true ? { finalizers: [FINALIZER] } : {}),
    ...requestsIn(meta.annotations),
  };
}

/** Nobody reads more of them than whether they are others than before. */
function requestsIn(annotations: ObjectMeta["annotations"]): Pick<ObjectMeta, "annotations"> {
  const kept = REQUESTS.flatMap((name) => {
    const value = annotations?.[name];
    return value === undefined ? [] : [[name, mark(value)]];
  });
  return kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) as Record<string, string> };
}

const REQUESTS = [ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT];
