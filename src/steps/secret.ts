import {
  ANNOTATION_KEY_SEAL,
  ANNOTATION_KEY_VERSION,
  FIELD_MANAGER,
  LABEL_MANAGED_BY,
  LABEL_TENANT,
  LABEL_USER_UUID,
} from "../api/meta.ts";
import { sagaUUID, secretName } from "../api/names.ts";
import { REASON } from "../api/reasons.ts";
import type { SecretBody, SecretObject } from "../kube/cluster.ts";
import { ConflictError, TerminalError } from "../lib/errors.ts";
import type { Sensitive } from "../lib/sensitive.ts";
import type { Account } from "../newapi/gateway.ts";
import type { StepResult } from "../saga/advance.ts";
import type { Desired } from "../saga/desired.ts";
import type { RowPatch, SagaRow, SecretPlace } from "../saga/row.ts";
import { entry, keyToWrite, sealedKey, verify } from "./key.ts";
import { keyStanding } from "./person.ts";
import type { Step, StepContext, UpContext } from "./step.ts";

/** The Secret with the key, in the tenant's namespace: ours by its recorded uid, and by nothing weaker. */
export const secretStep: Step = { name: "secret", up, down };

async function up(context: UpContext, signal: AbortSignal): Promise<StepResult> {
  const { row, desired, cluster } = context;
  const place = { namespace: desired.secret.namespace, name: desired.secret.name ?? secretName(sagaUUID(row.uuid)) };
  if (isFirst(context)) {
    try {
      return await put(context, place, undefined, signal);
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      // One stands there: perhaps ours, and only the answer was lost.
    }
  }
  return put(context, place, await cluster.getSecret(place.namespace, place.name, signal), signal);
}

/** No Secret of this person is known of, and the key is at hand: it is made without a look at its place before. */
function isFirst({ row, carry, gateway }: UpContext): boolean {
  return row.secretUID === undefined && carry.account !== undefined && gateway().capabilities.keyIsFree;
}

async function put(
  context: UpContext,
  { namespace, name }: SecretPlace,
  current: SecretObject | undefined,
  signal: AbortSignal,
): Promise<StepResult> {
  const { row, desired } = context;
  if (current !== undefined && !mayBeOurs(row, current)) throw foreign(name);
  const { apiKey, account, verdict } = await keyToWrite(context, current, signal);
  const seal = context.gateway().seal({ uuid: row.uuid, userID: account.userID }, apiKey);
  const wanted = body(row, desired, { namespace, name, apiKey, seal });
  const written = await ensureSecret(context, current, wanted, { account, apiKey }, signal);
  await removeElsewhere(context, wanted, signal);
  return {
    learned: {
      secretNamespace: wanted.namespace,
      secretName: wanted.name,
      secretUID: written.metadata.uid ?? null,
      secretVersion: written.metadata.resourceVersion ?? null,
      ...(row.secretPlaces.length === 0 ? {} : { secretPlaces: [] }),
      masterKey: account.masterKey ?? null,
      managed: {
        ...row.managed,
        labels: Object.keys(desired.secret.labels),
        annotations: Object.keys(desired.secret.annotations),
      },
    },
    key: written === current && verdict !== undefined ? verdict : await verify(context, apiKey, signal),
  };
}

function body(
  row: SagaRow,
  desired: Desired,
  to: { namespace: string; name: string; apiKey: Sensitive; seal: string | undefined },
): SecretBody {
  return {
    namespace: to.namespace,
    name: to.name,
    labels: {
      ...desired.secret.labels,
      [LABEL_TENANT]: row.tenantID,
      [LABEL_USER_UUID]: row.uuid,
      [LABEL_MANAGED_BY]: FIELD_MANAGER,
    },
    annotations: {
      ...desired.secret.annotations,
      ...(to.seal === undefined
        ? {}
        : { [ANNOTATION_KEY_SEAL]: to.seal, [ANNOTATION_KEY_VERSION]: keyStanding(row, desired) }),
    },
    data: { [desired.secret.apiKeyEntry]: to.apiKey.reveal(), [desired.secret.baseURLEntry]: desired.secret.baseURL },
  };
}

async function ensureSecret(
  context: UpContext,
  current: SecretObject | undefined,
  wanted: SecretBody,
  held: { account: Account; apiKey: Sensitive },
  signal: AbortSignal,
): Promise<SecretObject> {
  const { cluster, row, wrote } = context;
  if (current === undefined) {
    const made = await cluster.createSecret(wanted, signal);
    wrote({ action: "created", target: `${wanted.namespace}/${wanted.name}` });
    return made;
  }
  if (!isOurs(context, current, held)) throw foreign(wanted.name);
  const merged = merge(current, wanted, row);
  if (sameSecret(current, merged)) return current;
  const replaced = await cluster.replaceSecret(current, merged, signal);
  wrote({ action: "updated", target: `${wanted.namespace}/${wanted.name}` });
  return replaced;
}

/**
 * By the recorded uid; or, where none or another is recorded (a cut after the POST, a lost database, a restored
 * backup), by both labels and a key that we sealed, or the very one that the gateway holds now.
 */
function isOurs(
  context: UpContext,
  current: SecretObject,
  { account, apiKey }: { account: Account; apiKey: Sensitive },
): boolean {
  const { row, desired } = context;
  if (row.secretUID !== undefined && current.metadata.uid === row.secretUID) return true;
  if (!mayBeOurs(row, current)) return false;
  if (sealedKey(context, account, current) !== undefined) return true;
  return entry(current, desired.secret.apiKeyEntry)?.equals(apiKey) ?? false;
}

/** Seen without a look at its key: one that is certainly foreign ends it before any key is asked for. */
function mayBeOurs(row: SagaRow, { metadata }: SecretObject): boolean {
  if (row.secretUID !== undefined && metadata.uid === row.secretUID) return true;
  return metadata.labels?.[LABEL_TENANT] === row.tenantID && metadata.labels[LABEL_USER_UUID] === row.uuid;
}

function foreign(name: string): TerminalError {
  return new TerminalError({
    code: REASON.SecretForeign,
    neighbour: "kubernetes",
    message: `Secret ${name} exists and is not ours; it was left as it is. Remove it, or choose another spec.secret.name.`,
  });
}

/** Data is exactly ours; labels and annotations of others stay, ours that are no longer wanted go. */
function merge(current: SecretObject, wanted: SecretBody, row: SagaRow): SecretBody {
  const foreign = (all: Readonly<Record<string, string>> | undefined, ours: readonly string[]) =>
    Object.fromEntries(Object.entries(all ?? {}).filter(([name]) => !ours.includes(name)));
  return {
    ...wanted,
    labels: { ...foreign(current.metadata.labels, row.managed.labels), ...wanted.labels },
    annotations: { ...foreign(current.metadata.annotations, row.managed.annotations), ...wanted.annotations },
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

/** Wherever a Secret of this person may stand: as recorded, and where one was about to be made. */
function placesOf({ uuid, secretNamespace: namespace, secretName: recorded, secretPlaces }: SagaRow): SecretPlace[] {
  if (namespace === undefined) return [...secretPlaces];
  return [{ namespace, name: recorded ?? secretName(sagaUUID(uuid)) }, ...secretPlaces];
}

/** The Secret moved to another name or namespace: what is left of it elsewhere is removed. */
async function removeElsewhere(context: UpContext, wanted: SecretPlace, signal: AbortSignal): Promise<void> {
  for (const place of placesOf(context.row)) {
    if (place.namespace !== wanted.namespace || place.name !== wanted.name) await removeFrom(context, place, signal);
  }
}

async function down(context: StepContext, _how: "lock" | "remove", signal: AbortSignal): Promise<RowPatch> {
  const places = placesOf(context.row);
  for (const place of places) await removeFrom(context, place, signal);
  if (places.length === 0) return {};
  return { secretUID: null, ...(context.row.secretPlaces.length === 0 ? {} : { secretPlaces: [] }) };
}

/** Ours by the recorded uid; one that was posted and not recorded bears our labels. A foreign one in its place stays. */
async function removeFrom(context: StepContext, { namespace, name }: SecretPlace, signal: AbortSignal): Promise<void> {
  const { row, cluster, wrote } = context;
  const current = await absentWhenTerminating(context, namespace, name, signal);
  if (current?.metadata.uid === undefined) return;
  const { uid, labels = {} } = current.metadata;
  const isOurs =
    uid === row.secretUID ||
    (labels[LABEL_TENANT] === row.tenantID &&
      labels[LABEL_USER_UUID] === row.uuid &&
      labels[LABEL_MANAGED_BY] === FIELD_MANAGER);
  if (!isOurs) return;
  await cluster.deleteSecret(namespace, name, uid, signal);
  wrote({ action: "deleted", target: `${namespace}/${name}` });
}

/** In a namespace that goes, our rights may be gone before the Secret: that is its end too. */
async function absentWhenTerminating(
  context: StepContext,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<SecretObject | undefined> {
  try {
    return await context.cluster.getSecret(namespace, name, signal);
  } catch (error) {
    if (
      error instanceof TerminalError &&
      error.upstreamStatus === 403 &&
      !(await context.cluster.namespaceActive(namespace, signal))
    ) {
      return undefined;
    }
    throw error;
  }
}
