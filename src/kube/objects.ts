/** What both our kinds have in common: their paths, the status that is applied, the finalizer. */
import * as z from "zod";
import {
  API_VERSION,
  FIELD_MANAGER,
  FINALIZER,
  GROUP,
  type Kind,
  KINDS,
  type ObjectMeta,
  VERSION,
} from "../api/meta.ts";
import { ConflictError, TerminalError } from "../lib/errors.ts";
import type { HttpAnswer } from "../lib/http.ts";
import { pathSegment } from "../lib/ids.ts";
import { type ApiRequest, type ApiClient, METADATA_ONLY } from "./apiClient.ts";
import { ask, moved, read } from "./exchange.ts";

export interface OwnObject {
  readonly kind: Kind;
  readonly metadata: ObjectMeta;
}

/** Where objects of a kind are: all of them, or a namespace's. */
export function collectionPath(kind: Kind, namespace?: string): string {
  const place = namespace === undefined ? "" : `/namespaces/${pathSegment(namespace)}`;
  return `/apis/${GROUP}/${VERSION}${place}/${KINDS[kind].plural}`;
}

export function objectPath(kind: Kind, meta: { readonly name: string; readonly namespace?: string }): string {
  return `${collectionPath(kind, meta.namespace)}/${pathSegment(meta.name)}`;
}

/** For messages: "tenantusers tenant-a/jane". */
export function label(object: Named): string {
  const { name, namespace } = object.metadata;
  return `${KINDS[object.kind].plural} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}

const metadataOnly = z.looseObject({
  metadata: z.looseObject({
    uid: z.string(),
    resourceVersion: z.string(),
    finalizers: z.array(z.string()).optional(),
  }),
});

type Named = Pick<OwnObject, "kind"> & { readonly metadata: Pick<ObjectMeta, "name" | "namespace"> };

const looking = (object: Named): string => `get ${label(object)}`;

/** The live object as the API server has it, or its metadata alone; undefined when there is none of that name. */
export async function get(
  connection: ApiClient,
  object: Named,
  signal: AbortSignal,
  accept?: typeof METADATA_ONLY,
): Promise<HttpAnswer | undefined> {
  const request: ApiRequest = {
    method: "GET",
    path: objectPath(object.kind, object.metadata),
    ...(accept === undefined ? {} : { accept }),
  };
  return ask(connection, { doing: looking(object), request }, signal);
}

async function look(connection: ApiClient, object: OwnObject, signal: AbortSignal) {
  const answer = await get(connection, object, signal, METADATA_ONLY);
  return answer === undefined ? undefined : read(metadataOnly, answer, looking(object)).metadata;
}

/** A change by our field manager; undefined when the object is gone. */
function patch(
  connection: ApiClient,
  object: OwnObject,
  change: Pick<ApiRequest, "patchType" | "body"> & { readonly part?: "status"; readonly force?: "true" },
  signal: AbortSignal,
): Promise<HttpAnswer | undefined> {
  const { part, force, ...rest } = change;
  const path = objectPath(object.kind, object.metadata);
  const request: ApiRequest = {
    method: "PATCH",
    path: part === undefined ? path : `${path}/${part}`,
    query: { fieldManager: FIELD_MANAGER, ...(force === undefined ? {} : { force }) },
    ...rest,
  };
  const doing = part === undefined ? `patch ${label(object)}` : `patch ${part} of ${label(object)}`;
  return ask(connection, { doing, request }, signal);
}

/** How often other writers may get in between before it is left to a later attempt. */
const ATTEMPTS = 4;

/**
 * Server-side apply of the whole status, forced: it is ours alone, so a change of anything else is no reason to give way.
 * The answer's body is the object; undefined when it is gone or the name belongs to another object by now.
 *
 * The guard is the resourceVersion, which names one object at one moment. A uid in the body guards nothing: the status
 * endpoint takes the metadata from the stored object before it compares them (kube-apiserver 1.37 answers 200).
 */
export async function applyStatus(
  connection: ApiClient,
  object: OwnObject,
  status: object,
  signal: AbortSignal,
  attempts = ATTEMPTS,
): Promise<HttpAnswer | undefined> {
  const { name, namespace, uid } = object.metadata;
  let { resourceVersion } = object.metadata;
  // Without one the apply would guard nothing.
  if (resourceVersion === undefined) throw new TypeError(`${label(object)} was not read from the API server`);
  for (let attempt = 1; ; attempt += 1) {
    const body = { apiVersion: API_VERSION, kind: object.kind, metadata: { name, namespace, resourceVersion }, status };
    try {
      return await patch(connection, object, { part: "status", patchType: "apply", force: "true", body }, signal);
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt >= attempts) throw error;
    }
    const live = await look(connection, object, signal);
    if (live === undefined || live.uid !== uid) return undefined;
    resourceVersion = live.resourceVersion;
  }
}

/**
 * Adds our finalizer. The resourceVersion in a merge patch is a precondition with a clear 409 when it fails (a JSON
 * patch whose `test` fails answers the same 422 as an invalid object).
 * Returns the answer's body, undefined when the object is gone; ConflictError when it moved or is being deleted.
 */
export async function addFinalizer(connection: ApiClient, object: OwnObject, signal: AbortSignal) {
  const { resourceVersion, finalizers = [], deletionTimestamp } = object.metadata;
  // Under a deletionTimestamp the API server refuses new finalizers.
  if (deletionTimestamp !== undefined) throw moved(`${label(object)} is being deleted: it`);
  const body = { metadata: { resourceVersion, finalizers: [...finalizers, FINALIZER] } };
  return patch(connection, object, { patchType: "merge", body }, signal);
}

/**
 * Removes our finalizer and nothing else, whatever else changed in the object meanwhile: `test` operations name the
 * uid and the place in the list. Done also when finalizer or object are gone, or the name belongs to another object.
 */
export async function removeFinalizer(connection: ApiClient, object: OwnObject, signal: AbortSignal): Promise<void> {
  let finalizers: readonly string[] = object.metadata.finalizers ?? [];
  for (let attempt = 1; ; attempt += 1) {
    const index = finalizers.indexOf(FINALIZER);
    if (index >= 0) {
      const failure = await removeAt(connection, object, index, signal);
      if (failure === undefined) return;
      if (attempt === ATTEMPTS) throw moved(label(object), failure);
    }
    const live = await look(connection, object, signal);
    if (live === undefined || live.uid !== object.metadata.uid) return;
    finalizers = live.finalizers ?? [];
    if (!finalizers.includes(FINALIZER)) return;
  }
}

async function removeAt(
  connection: ApiClient,
  object: OwnObject,
  index: number,
  signal: AbortSignal,
): Promise<Error | undefined> {
  const body = [
    { op: "test", path: "/metadata/uid", value: object.metadata.uid },
    { op: "test", path: `/metadata/finalizers/${index}`, value: FINALIZER },
    { op: "remove", path: `/metadata/finalizers/${index}` },
  ];
  try {
    await patch(connection, object, { patchType: "json", body }, signal);
    return undefined;
  } catch (error) {
    // 422: a test failed. 409: somebody else wrote in the same moment.
    if (error instanceof ConflictError || (error instanceof TerminalError && error.upstreamStatus === 422))
      return error;
    throw error;
  }
}
