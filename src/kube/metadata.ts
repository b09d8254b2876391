/** Objects by their metadata alone: what a watch reads and delivers, and the list that it begins with. */
import * as z from "zod";
import { type ObjectMeta, objectMeta } from "../api/meta.ts";
import { classify } from "./classify.ts";
import type { WatchTarget } from "./cluster.ts";
import { type Connection, json } from "./connection.ts";

const PAGE = 500;

const ACCEPT_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

const withMeta = z.looseObject({ metadata: objectMeta });
const page = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string(), continue: z.string().optional() }),
  // null: how the API server writes an empty list of metadata.
  items: z.array(withMeta).nullable(),
});

/** The whole collection, in pages; `onPage` hears of each. Throws what `classify` makes of a refusal. */
export async function listMetadata(
  { connection, onPage }: { readonly connection: Connection; readonly onPage: () => void },
  target: WatchTarget,
  signal: AbortSignal,
): Promise<{ readonly items: readonly ObjectMeta[]; readonly version: string }> {
  const items: ObjectMeta[] = [];
  let next: string | undefined;
  for (;;) {
    signal.throwIfAborted();
    const query = { ...selector(target), limit: String(PAGE), ...(next ? { continue: next } : {}) };
    const request = { method: "GET", path: target.path, query, accept: ACCEPT_LIST } as const;
    const answer = await connection.send(request, signal);
    // 410 here: the list took so long that its snapshot is gone. The next try begins anew.
    if (answer.status !== 200) throw classify(answer, `list ${target.path}`, connection.clock.now());
    const { metadata, items: some } = page.parse(json(answer));
    onPage();
    for (const item of some ?? []) items.push(lean(item.metadata));
    next = metadata.continue;
    if (!next) return { items, version: metadata.resourceVersion };
  }
}

export function metadataOf(object: unknown): ObjectMeta {
  return lean(withMeta.parse(object).metadata);
}

export function selector(target: WatchTarget): Record<string, string> {
  return target.labelSelector === undefined ? {} : { labelSelector: target.labelSelector };
}

/** managedFields are most of an object's metadata, and nobody here reads them. */
function lean(meta: ObjectMeta): ObjectMeta {
  const { managedFields: _managedFields, ...rest } = meta;
  return rest;
}
