import { ANNOTATION_KEY_SIGNATURE, ANNOTATION_KEY_VERSION } from "../api/meta.ts";
import { REASON } from "../api/reasons.ts";
import type { SecretObject } from "../kube/cluster.ts";
import { ConflictError, TransientError, WaitingError } from "../lib/errors.ts";
import { Sensitive } from "../lib/sensitive.ts";
import type { Account } from "../gateway/gateway.ts";
import type { StepResult } from "../saga/advance.ts";
import { isRotating, keyState, noteWrites, holderOf } from "./accountHolder.ts";
import type { UpContext } from "./step.ts";

export interface KeyToWrite {
  readonly apiKey: Sensitive;
  readonly account: Account;
  /** What the gateway said of it just now; undefined: not asked. */
  readonly verdict: "works" | "exhausted" | undefined;
}

/**
 * The key that belongs into the Secret. Where the gateway makes it expensive to ask, the one that a Secret of this person
 * holds is good enough: when we signed it, nothing is to replace it, and it opens the gateway. There, `beforeAsking` is
 * called before a key is asked for, and stops it by throwing.
 */
export async function keyToWrite(
  context: UpContext,
  current: SecretObject | undefined,
  beforeAsking: () => Promise<void>,
  signal: AbortSignal,
): Promise<KeyToWrite> {
  const { carry, row, desired } = context;
  const account = await currentAccount(context, signal);
  const { freshKey } = carry;
  if (freshKey !== undefined) return { apiKey: freshKey, account, verdict: undefined };
  const gateway = context.gateway();
  if (!gateway.capabilities.keyIsFree && !isRotating(row)) {
    let from = current;
    let held = signedKey(context, account, from);
    if (held === undefined) {
      from = await oldPlace(context, signal);
      held = signedKey(context, account, from);
    }
    if (held !== undefined) {
      await removeForgotten(context, account, held, from, signal);
      if (!desired.enabled || !desired.verifyKey) return { apiKey: held, account, verdict: undefined };
      const verdict = await gateway.verifyKey(held, signal);
      if (verdict === "works" || verdict === "exhausted") return { apiKey: held, account, verdict };
      // Of a locked account the key says nothing; `verify` unlocks it.
      if (verdict === "disabled") return { apiKey: held, account, verdict: undefined };
    }
  }
  if (!gateway.capabilities.keyIsFree) await beforeAsking();
  try {
    const apiKey = await account.apiKey(signal);
    return { apiKey, account, verdict: undefined };
  } catch (error) {
    // Whoever waits for the replacement of a dead or lost key is not ready meanwhile.
    if (error instanceof WaitingError && row.reached === "done" && !isRotating(row)) throw withoutKey(error);
    throw error;
  } finally {
    noteWrites(context, account);
  }
}

/**
 * The row was lost, and with it what it knew of a rotation under way: when the Secret tells of one, its key stays, and
 * those beside it go.
 */
async function removeForgotten(
  context: UpContext,
  account: Account,
  held: Sensitive,
  secret: SecretObject | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { row, desired, wrote } = context;
  if (row.handled !== undefined) return;
  if (secret?.metadata.annotations?.[ANNOTATION_KEY_VERSION] === keyState(row, desired)) return;
  const died = await context.gateway().retire(holderOf(row, desired), signal, held);
  if (died > 0) wrote({ action: "previous-key-deleted", target: account.userID });
}

function withoutKey({ message, upstream, retryAfterMs }: WaitingError): WaitingError {
  return new WaitingError({
    code: REASON.GatewayUnauthorized,
    message: `The Secret has no key that opens the gateway. ${message}`,
    ...(upstream === undefined ? {} : { upstream }),
    retryAfterMs,
  });
}

/** The person's account: from the step before, or asked for. */
async function currentAccount(context: UpContext, signal: AbortSignal): Promise<Account> {
  const { carry, row, desired } = context;
  carry.account ??= await context.gateway().find(holderOf(row, desired), signal);
  if (carry.account !== undefined) return carry.account;
  throw new ConflictError({
    code: REASON.AccountGone,
    upstream: "newapi",
    message: "The gateway no longer has this account; it is made again.",
  });
}

/** The key that this Secret holds for this person, under whatever name, if we signed it. */
export function signedKey(
  { row, gateway }: UpContext,
  { userID }: Account,
  secret: SecretObject | undefined,
): Sensitive | undefined {
  const signature = secret?.metadata.annotations?.[ANNOTATION_KEY_SIGNATURE];
  if (secret === undefined || signature === undefined) return undefined;
  return Object.keys(secret.data ?? {})
    .map((name) => entry(secret, name))
    .find((held) => held !== undefined && gateway().isSigned({ uuid: row.uuid, userID }, held, signature));
}

/** The Secret where it stood until now, when it moves. */
async function oldPlace({ row, cluster }: UpContext, signal: AbortSignal): Promise<SecretObject | undefined> {
  if (row.secretNamespace === undefined || row.secretName === undefined) return undefined;
  const found = await cluster.getSecret(row.secretNamespace, row.secretName, signal);
  return found?.metadata.uid === row.secretUID ? found : undefined;
}

/** Opens the gateway with what was written. A dead key is no success: it is tried again from the account on. */
export async function verify(context: UpContext, apiKey: Sensitive, signal: AbortSignal): Promise<StepResult["key"]> {
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
  return new TransientError({ code: REASON.GatewayUnauthorized, upstream: "newapi", upstreamStatus: 401, message });
}

export function entry(secret: SecretObject, name: string): Sensitive | undefined {
  const value = secret.data?.[name];
  return value === undefined ? undefined : new Sensitive(Buffer.from(value, "base64").toString("utf8"));
}
