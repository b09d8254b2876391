import { FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_TENANT, LABEL_USER_UUID } from "../api/meta.ts";
import { sagaUUID, secretName } from "../api/names.ts";
import { REASON } from "../api/reasons.ts";
import type { SecretBody, SecretObject } from "../kube/cluster.ts";
import { ConflictError, TerminalError, TransientError } from "../lib/errors.ts";
import { Sensitive } from "../lib/sensitive.ts";
import type { StepResult } from "../saga/advance.ts";
import type { Desired } from "../saga/desired.ts";
import type { RowPatch, SagaRow } from "../saga/row.ts";
import type { Step, StepContext, UpContext } from "./step.ts";

/** The Secret with the key, in the tenant's namespace: ours by its recorded uid, and by nothing weaker. */
export const secretStep: Step = { name: "secret", up, down };

async function up(context: UpContext, signal: AbortSignal): Promise<StepResult> {
  const { row, desired } = context;
  const apiKey = await currentKey(context, signal);
  const wanted = body(row, desired, apiKey);
  const written = await ensureSecret(context, wanted, apiKey, desired, signal);
  await removeOldPlace(context, wanted, signal);
  return {
    learned: {
      secretNamespace: wanted.namespace,
      secretName: wanted.name,
      secretUID: written.metadata.uid ?? null,
      secretVersion: written.metadata.resourceVersion ?? null,
      managed: {
        ...row.managed,
        labels: Object.keys(desired.secret.labels),
        annotations: Object.keys(desired.secret.annotations),
      },
    },
    key: await verify(context, apiKey, signal),
  };
}

/** The key that the gateway holds for this person now: from the step before, or asked for. */
async function currentKey(context: UpContext, signal: AbortSignal): Promise<Sensitive> {
  if (context.carry.apiKey !== undefined) return context.carry.apiKey;
  const account = await context.gateway().find(context.row.uuid, context.row.tenantID, signal);
  if (account === undefined) {
    throw new ConflictError({
      code: REASON.AccountGone,
      neighbour: "newapi",
      message: "The gateway no longer has this account; it is made again.",
    });
  }
  return account.apiKey;
}

function body(row: SagaRow, desired: Desired, apiKey: Sensitive): SecretBody {
  return {
    namespace: desired.secret.namespace,
    name: desired.secret.name ?? secretName(sagaUUID(row.uuid)),
    labels: {
      ...desired.secret.labels,
      [LABEL_TENANT]: row.tenantID,
      [LABEL_USER_UUID]: row.uuid,
      [LABEL_MANAGED_BY]: FIELD_MANAGER,
    },
    annotations: desired.secret.annotations,
    data: { [desired.secret.apiKeyEntry]: apiKey.reveal(), [desired.secret.baseURLEntry]: desired.secret.baseURL },
  };
}

async function ensureSecret(
  context: UpContext,
  wanted: SecretBody,
  apiKey: Sensitive,
  desired: Desired,
  signal: AbortSignal,
): Promise<SecretObject> {
  const { cluster, row, wrote } = context;
  const current = await cluster.getSecret(wanted.namespace, wanted.name, signal);
  if (current === undefined) {
    const made = await cluster.createSecret(wanted, signal);
    wrote({ action: "created", target: `${wanted.namespace}/${wanted.name}` });
    return made;
  }
  if (!isOurs(current, row, apiKey, desired)) {
    throw new TerminalError({
      code: REASON.SecretForeign,
      neighbour: "kubernetes",
      message: `Secret ${wanted.name} exists and is not ours; it was left as it is. Remove it, or choose another spec.secret.name.`,
    });
  }
  const merged = merge(current, wanted, row);
  if (sameSecret(current, merged)) return current;
  const replaced = await cluster.replaceSecret(current, merged, signal);
  wrote({ action: "updated", target: `${wanted.namespace}/${wanted.name}` });
  return replaced;
}

/**
 * By the recorded uid; or, where none or another is recorded (a cut after the POST, a lost database, a restored
 * backup), by both labels and the very key that the gateway holds now.
 */
function isOurs(current: SecretObject, row: SagaRow, apiKey: Sensitive, desired: Desired): boolean {
  if (row.secretUID !== undefined && current.metadata.uid === row.secretUID) return true;
  const labels = current.metadata.labels ?? {};
  if (labels[LABEL_TENANT] !== row.tenantID || labels[LABEL_USER_UUID] !== row.uuid) return false;
  const held = entry(current, desired.secret.apiKeyEntry);
  return held?.equals(apiKey) ?? false;
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

/** The Secret moved to another name or namespace: the one before is removed, by its recorded uid. */
async function removeOldPlace(context: UpContext, wanted: SecretBody, signal: AbortSignal): Promise<void> {
  const { row, cluster, wrote } = context;
  const { secretNamespace, secretName: name, secretUID } = row;
  if (secretNamespace === undefined || name === undefined || secretUID === undefined) return;
  if (secretNamespace === wanted.namespace && name === wanted.name) return;
  try {
    await cluster.deleteSecret(secretNamespace, name, secretUID, signal);
  } catch (error) {
    // By now another Secret has the name: ours is gone, and that one is not ours to touch.
    if (error instanceof ConflictError) return;
    throw error;
  }
  wrote({ action: "deleted", target: `${secretNamespace}/${name}` });
}

/** Opens the gateway with what was written. A dead key is no success: it is tried again from the account on. */
async function verify(context: UpContext, apiKey: Sensitive, signal: AbortSignal): Promise<StepResult["key"]> {
  const { desired, row } = context;
  if (!desired.enabled || !desired.verifyKey) return "unverified";
  const gateway = context.gateway();
  const verdict = await gateway.verifyKey(apiKey, signal);
  switch (verdict) {
    case "works":
    case "exhausted":
      return verdict;
    case "disabled":
      if (row.newapiUserID !== undefined && (await gateway.enable(row.newapiUserID, row.uuid, signal))) {
        context.wrote({ action: "enabled", target: row.newapiUserID });
      }
      throw refusedKey("The gateway says that the account is disabled; it was enabled, and the key is tried again.");
    case "dead":
      throw refusedKey("The gateway does not accept the key that it gave out; it is asked again.");
    default:
      return verdict satisfies never;
  }
}

function refusedKey(message: string): TransientError {
  return new TransientError({ code: REASON.GatewayUnauthorized, neighbour: "newapi", message });
}

/** The key in this person's Secret, if the Secret is ours to read. */
export async function storedKey(
  context: StepContext,
  desired: Desired,
  signal: AbortSignal,
): Promise<Sensitive | undefined> {
  const { row, cluster } = context;
  if (row.secretNamespace === undefined || row.secretName === undefined) return undefined;
  const current = await cluster.getSecret(row.secretNamespace, row.secretName, signal);
  if (current === undefined || current.metadata.uid !== row.secretUID) return undefined;
  return entry(current, desired.secret.apiKeyEntry);
}

function entry(secret: SecretObject, name: string): Sensitive | undefined {
  const value = secret.data?.[name];
  return value === undefined ? undefined : new Sensitive(Buffer.from(value, "base64").toString("utf8"));
}

async function down(context: StepContext, _how: "lock" | "remove", signal: AbortSignal): Promise<RowPatch> {
  const { row, cluster, wrote } = context;
  const { secretNamespace, secretUID } = row;
  const name = row.secretName ?? secretName(sagaUUID(row.uuid));
  if (secretNamespace === undefined) return {};
  const current = await absentWhenTerminating(context, secretNamespace, name, signal);
  if (current === undefined) return { secretUID: null };
  // Ours by uid; one that was posted and not recorded bears both labels. A foreign one under our name stays.
  const labels = current.metadata.labels ?? {};
  const ours =
    current.metadata.uid === secretUID ||
    (labels[LABEL_TENANT] === row.tenantID &&
      labels[LABEL_USER_UUID] === row.uuid &&
      labels[LABEL_MANAGED_BY] === FIELD_MANAGER);
  if (!ours || current.metadata.uid === undefined) return { secretUID: null };
  await cluster.deleteSecret(secretNamespace, name, current.metadata.uid, signal);
  wrote({ action: "deleted", target: `${secretNamespace}/${name}` });
  return { secretUID: null };
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
