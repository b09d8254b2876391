/** The place of a person's Secret: whose it is that stands there, and how ours is written there, made writable, made again. */
import {
  ANNOTATION_KEY_SIGNATURE,
  ANNOTATION_KEY_VERSION,
  FIELD_MANAGER,
  LABEL_MANAGED_BY,
  LABEL_TENANT,
  LABEL_USER_UUID,
} from "../api/meta.ts";
import { REASON } from "../api/reasons.ts";
import type { SecretBody, SecretObject } from "../kube/cluster.ts";
import { ConflictError, TerminalError, WaitingError } from "../lib/errors.ts";
import type { Sensitive } from "../lib/sensitive.ts";
import type { Account } from "../gateway/gateway.ts";
import { wantedPlace } from "../saga/decide.ts";
import { isKnownSecret, isSamePlace, type RowPatch, type SagaRow, type SecretPlace } from "../saga/row.ts";
import { entry, signedKey } from "./key.ts";
import { keyState } from "./accountHolder.ts";
import type { StepContext, UpContext } from "./step.ts";

const TYPE = "Opaque";
/** Stands for a key that is not there yet, where a write is only tried. */
const NO_KEY = "unified-rbac-tries-whether-a-key-can-be-written-here";

export function secretBody(
  { row, desired }: UpContext,
  { namespace, name }: SecretPlace,
  held: { readonly apiKey: string; readonly signature: string | undefined },
): SecretBody {
  return {
    namespace,
    name,
    labels: {
      ...desired.secret.labels,
      [LABEL_TENANT]: row.tenantID,
      [LABEL_USER_UUID]: row.uuid,
      [LABEL_MANAGED_BY]: FIELD_MANAGER,
    },
    annotations: {
      ...desired.secret.annotations,
      ...(held.signature === undefined
        ? {}
        : { [ANNOTATION_KEY_SIGNATURE]: held.signature, [ANNOTATION_KEY_VERSION]: keyState(row, desired) }),
    },
    data: { [desired.secret.apiKeyEntry]: held.apiKey, [desired.secret.baseURLEntry]: desired.secret.baseURL },
  };
}

/**
 * What can be said without the key: one that is certainly foreign ends it before any key is asked for, and so does one
 * that is on its way out, for what is written into it goes with it.
 */
export function refuseWhatStands({ row }: StepContext, current: SecretObject): void {
  if (!mayBeOurs(row, current)) throw foreign(current.metadata.name);
  if (current.metadata.deletionTimestamp !== undefined) throw terminating(current);
}

/**
 * By the recorded uid; or, where none or another is recorded (a cut after the POST, a lost database, a restored
 * backup), by both labels and a key that we signed, or the very one that the gateway holds now.
 */
function isOurs(
  context: UpContext,
  current: SecretObject,
  { account, apiKey }: { readonly account: Account; readonly apiKey: Sensitive },
): boolean {
  if (!mayBeOurs(context.row, current)) return false;
  if (isKnownSecret(context.row, current.metadata.uid)) return true;
  return signedKey(context, account, current) !== undefined || holds(current, apiKey);
}

function mayBeOurs(row: SagaRow, { metadata }: SecretObject): boolean {
  if (isKnownSecret(row, metadata.uid)) return true;
  return metadata.labels?.[LABEL_TENANT] === row.tenantID && metadata.labels[LABEL_USER_UUID] === row.uuid;
}

/** Whether a Secret stands where this person's is to be, with the key of this account in it. */
export async function holdsKeyOf(context: UpContext, account: Account, signal: AbortSignal): Promise<boolean> {
  const { namespace, name } = wantedPlace(context.row, context.desired);
  const current = await context.cluster.getSecret(namespace, name, signal);
  if (current === undefined || !mayBeOurs(context.row, current)) return false;
  if (signedKey(context, account, current) !== undefined) return true;
  return context.gateway().capabilities.keyIsFree && holds(current, await account.apiKey(signal));
}

/** Under whatever name: an edit may rename the entry in the same moment. */
function holds(secret: SecretObject, apiKey: Sensitive): boolean {
  return Object.keys(secret.data ?? {}).some((name) => entry(secret, name)?.equals(apiKey) ?? false);
}

/** Brings the Secret to what is wanted; `remade`: it was made again just now, so it is ours whatever is recorded. */
export async function writeSecret(
  context: UpContext,
  current: SecretObject | undefined,
  wanted: SecretBody,
  held: { readonly account: Account; readonly apiKey: Sensitive; readonly remade: boolean },
  signal: AbortSignal,
): Promise<SecretObject> {
  const { cluster, row, wrote } = context;
  const target = `${wanted.namespace}/${wanted.name}`;
  if (current === undefined) {
    const made = await cluster.createSecret(wanted, signal);
    wrote({ action: "created", target });
    return made;
  }
  if (!held.remade && !isOurs(context, current, held)) throw foreign(wanted.name);
  const merged = merge(current, wanted, row);
  if (sameSecret(current, merged)) return current;
  if (isFrozen(current)) return remake(context, current, merged, signal);
  const replaced = await cluster.replaceSecret(current, merged, signal);
  wrote({ action: "updated", target });
  return replaced;
}

/**
 * Before a key is asked for that is expensive, or that takes away the one before: whether the place would take it. One of ours
 * that nobody can change is made again, with what it holds. Returns what stands there now, and throws what the write
 * would be refused with.
 */
export async function makeWritable(
  context: UpContext,
  place: SecretPlace,
  current: SecretObject | undefined,
  signal: AbortSignal,
): Promise<SecretObject | undefined> {
  const { cluster, row } = context;
  const wanted = secretBody(context, place, { apiKey: NO_KEY, signature: undefined });
  if (current === undefined) {
    await cluster.tryCreateSecret(wanted, signal);
    return undefined;
  }
  refuseWhatStands(context, current);
  let present = current;
  if (isFrozen(current)) {
    present = await remake(context, current, asItIs(place, current), signal);
    await context.note(placeFound(row, place, present));
  }
  await cluster.tryReplaceSecret(present, merge(present, wanted, row), signal);
  return present;
}

/**
 * At a gateway that keeps one key: whether a rotation is still to be done, the place made ready for its key. As long as
 * the gateway's key is the one that the person's Secret holds, it has not happened; a key that nobody has been given is
 * as good as new. The key that stands in a Secret is not taken away while another cannot be put in its place.
 */
export async function readyForNewKey(context: UpContext, account: Account, signal: AbortSignal): Promise<boolean> {
  const { cluster, row, desired } = context;
  const place = wantedPlace(row, desired);
  const apiKey = await account.apiKey(signal);
  const current = await cluster.getSecret(place.namespace, place.name, signal);
  const recorded = await recordedSecret(context, place, current, signal);
  const held = { account, apiKey };
  const isForeign = current !== undefined && !isOurs(context, current, held);
  const ours = recorded ?? (isForeign ? undefined : current);
  if (ours !== undefined && holdsAnother(ours, apiKey, desired.secret.baseURL)) return false;
  if (isForeign) throw foreign(place.name);
  await noteUnrecorded(context, { ...place, secret: current }, held, signal);
  await makeWritable(context, place, current, signal);
  return true;
}

/**
 * Secrets that were posted here or where it was to move, and whose answers were lost: once the key is another, nothing
 * else would tell that they are ours.
 */
async function noteUnrecorded(
  context: UpContext,
  wanted: SecretPlace & { readonly secret: SecretObject | undefined },
  held: { readonly account: Account; readonly apiKey: Sensitive },
  signal: AbortSignal,
): Promise<void> {
  const { row, cluster } = context;
  const beside = await Promise.all(
    row.secretPlaces
      .filter((noted) => !isSamePlace(noted, wanted))
      .map(async (noted) => ({ ...noted, secret: await cluster.getSecret(noted.namespace, noted.name, signal) })),
  );
  let patch: RowPatch = {};
  for (const { namespace, name, secret } of [wanted, ...beside]) {
    if (secret === undefined || isKnownSecret(row, secret.metadata.uid) || !isOurs(context, secret, held)) continue;
    patch = { ...patch, ...placeFound({ ...row, ...patch }, { namespace, name }, secret) };
  }
  if (Object.keys(patch).length > 0) await context.note(patch);
}

/**
 * What is to be recorded of one of ours that stands at this place. While it is to move there, the Secret of before stays
 * the recorded one, for that one is to be removed, and may yet be wanted again.
 */
function placeFound(
  { secretPlaces }: Pick<SagaRow, "secretPlaces">,
  place: SecretPlace,
  { metadata: { uid, resourceVersion } }: SecretObject,
): RowPatch {
  if (secretPlaces.some((noted) => isSamePlace(noted, place))) {
    return { secretPlaces: secretPlaces.map((noted) => (isSamePlace(noted, place) ? { ...noted, uid } : noted)) };
  }
  return {
    secretNamespace: place.namespace,
    secretName: place.name,
    secretUID: uid ?? null,
    secretVersion: resourceVersion ?? null,
  };
}

/** The Secret on record, where it stands; it may be about to move. */
async function recordedSecret(
  { row, cluster }: UpContext,
  place: SecretPlace,
  current: SecretObject | undefined,
  signal: AbortSignal,
): Promise<SecretObject | undefined> {
  const { secretNamespace: namespace, secretName: name, secretUID } = row;
  if (namespace === undefined || name === undefined || secretUID === undefined) return undefined;
  const found = isSamePlace({ namespace, name }, place) ? current : await cluster.getSecret(namespace, name, signal);
  return found?.metadata.uid === secretUID ? found : undefined;
}

function holdsAnother(secret: SecretObject, apiKey: Sensitive, baseURL: string): boolean {
  const keys = Object.keys(secret.data ?? {}).filter((name) => entry(secret, name)?.reveal() !== baseURL);
  return keys.length > 0 && !holds(secret, apiKey);
}

/** Nobody can put other data into it: only a Secret in its place can have them. */
function isFrozen({ immutable, type }: SecretObject): boolean {
  return immutable === true || (type !== undefined && type !== TYPE);
}

/**
 * Deletes ours, by its uid, and posts another under its name, once it is known that the post would be let in. Cut in
 * between, none stands there, and the next attempt makes it.
 */
async function remake(
  context: UpContext,
  current: SecretObject,
  wanted: SecretBody,
  signal: AbortSignal,
): Promise<SecretObject> {
  const { cluster, wrote } = context;
  const target = `${wanted.namespace}/${wanted.name}`;
  await cluster.tryCreateSecret(wanted, signal);
  await cluster.deleteSecret(wanted.namespace, wanted.name, current.metadata.uid ?? "", signal);
  wrote({ action: "deleted", target });
  try {
    const made = await cluster.createSecret(wanted, signal);
    wrote({ action: "created", target });
    return made;
  } catch (error) {
    const held = (current.metadata.finalizers ?? []).length > 0;
    throw held && error instanceof ConflictError ? terminating(current) : error;
  }
}

/** What stands there, to be posted again; finalizers and owners of others end with it. */
function asItIs({ namespace, name }: SecretPlace, { metadata, data = {} }: SecretObject): SecretBody {
  return {
    namespace,
    name,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    data: Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]),
    ),
  };
}

function foreign(name: string): TerminalError {
  const message = `Secret ${name} exists and is not ours; it was left as it is. Remove it, or choose another spec.secret.name.`;
  return new TerminalError({ code: REASON.SecretForeign, upstream: "kubernetes", message });
}

function terminating({ metadata: { name, finalizers = [] } }: SecretObject): WaitingError {
  const by = finalizers.length === 0 ? "" : ` and is held by ${finalizers.slice(0, 3).join(", ").slice(0, 200)}`;
  const message = `Secret ${name} is being deleted${by}; it is made again as soon as it is gone.`;
  return new WaitingError({ code: REASON.SecretTerminating, upstream: "kubernetes", message });
}

/** Data is exactly ours; labels and annotations of others stay, ours that are no longer wanted go. */
function merge(current: SecretObject, wanted: SecretBody, row: SagaRow): SecretBody {
  const others = (all: Readonly<Record<string, string>> | undefined, ours: readonly string[]) =>
    Object.fromEntries(Object.entries(all ?? {}).filter(([name]) => !ours.includes(name)));
  return {
    ...wanted,
    labels: { ...others(current.metadata.labels, row.managed.labels), ...wanted.labels },
    annotations: { ...others(current.metadata.annotations, row.managed.annotations), ...wanted.annotations },
  };
}

function sameSecret(current: SecretObject, wanted: SecretBody): boolean {
  const encoded = Object.fromEntries(
    Object.entries(wanted.data).map(([name, value]) => [name, Buffer.from(value, "utf8").toString("base64")]),
  );
  return (
    sameMap(current.data ?? {}, encoded) &&
    sameMap(current.metadata.labels ?? {}, wanted.labels) &&
    sameMap(current.metadata.annotations ?? {}, wanted.annotations)
  );
}

function sameMap(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
