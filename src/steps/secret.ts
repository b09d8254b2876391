import { FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_TENANT, LABEL_USER_UUID } from "../api/meta.ts";
import { sagaUUID, secretName } from "../api/names.ts";
import type { SecretObject } from "../kube/cluster.ts";
import { ConflictError, TerminalError } from "../lib/errors.ts";
import type { StepResult } from "../saga/advance.ts";
import { wantedPlace } from "../saga/decide.ts";
import { isKnownSecret, isSamePlace, type RowPatch, type SagaRow, type SecretPlace } from "../saga/row.ts";
import { keyToWrite, verify } from "./key.ts";
import { makeWritable, refuseWhatStands, secretBody, writeSecret } from "./secretPlace.ts";
import type { Step, StepContext, UpContext } from "./step.ts";

/** The Secret with the key, in the tenant's namespace: ours by its recorded uid, and by nothing weaker. */
export const secretStep: Step = { name: "secret", up, down };

async function up(context: UpContext, signal: AbortSignal): Promise<StepResult> {
  const { cluster, row, desired } = context;
  const place = wantedPlace(row, desired);
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
  place: SecretPlace,
  current: SecretObject | undefined,
  signal: AbortSignal,
): Promise<StepResult> {
  const { row, desired } = context;
  if (current !== undefined) refuseWhatStands(context, current);
  let present = current;
  const beforeAsking = async (): Promise<void> => {
    present = await makeWritable(context, place, current, signal);
  };
  const { apiKey, account, verdict } = await keyToWrite(context, current, beforeAsking, signal);
  const signature = context.gateway().sign({ uuid: row.uuid, userID: account.userID }, apiKey);
  const wanted = secretBody(context, place, { apiKey: apiKey.reveal(), signature });
  const held = { account, apiKey, remade: present !== current };
  const written = await writeSecret(context, present, wanted, held, signal);
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

/** Wherever a Secret of this person may stand: as recorded, and where one was about to be made. */
function placesOf({ uuid, secretNamespace: namespace, secretName: recorded, secretPlaces }: SagaRow): SecretPlace[] {
  if (namespace === undefined) return [...secretPlaces];
  return [{ namespace, name: recorded ?? secretName(sagaUUID(uuid)) }, ...secretPlaces];
}

/** The Secret moved to another name or namespace: what is left of it elsewhere is removed. */
async function removeElsewhere(context: UpContext, wanted: SecretPlace, signal: AbortSignal): Promise<void> {
  for (const place of placesOf(context.row)) {
    if (!isSamePlace(place, wanted)) await removeFrom(context, place, signal);
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
    isKnownSecret(row, uid) ||
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
