/** The invitation: one mail per Keycloak user. What was refused was not sent, what nobody answered counts as sent. */
import { REASON } from "../api/reasons.ts";
import { exactPauseMs, RETRIES } from "../lib/backoff.ts";
import { isSagaError, type SagaError } from "../lib/errors.ts";
import { NotAsked } from "../keycloak/realm.ts";
import { awaitsInvitation } from "../saga/decide.ts";
import type { RefusedInvitation, RunReason, SagaRow } from "../saga/row.ts";
import type { UpContext } from "./step.ts";

/** Runs that nobody asked for: they do not send before it is time. */
const UNASKED: readonly RunReason[] = ["drift", "rotate", "retire"];

export function mayInvite({ row, desired, now }: UpContext, userID: string): boolean {
  if (!awaitsInvitation({ ...row, keycloakUserID: userID }, desired)) return false;
  const refused = refusedBefore(row, userID);
  return refused === undefined || !isUnasked(row) || new Date(refused.nextAt).getTime() <= now();
}

/**
 * The intent is recorded before it is sent, so that a lost reply counts as sent; a refusal withdraws it. Returns why it was
 * not sent, or why that is not known.
 */
export async function invite(context: UpContext, userID: string, signal: AbortSignal): Promise<SagaError | undefined> {
  const { row, desired, wrote } = context;
  const intent = { keycloakUserID: userID, invitedKeycloakUserID: userID };
  await context.note(row.refusedInvitation === undefined ? intent : { ...intent, refusedInvitation: null });
  try {
    await context.realm().invite(userID, desired.requiredActions ?? ["UPDATE_PASSWORD"], signal);
  } catch (error) {
    const failure = error instanceof NotAsked ? error.failure : error;
    if (!isSagaError(failure)) throw error;
    if (!(error instanceof NotAsked) && !wasRefused(failure)) return failure;
    const refusedInvitation = refusal(context, userID, failure);
    await context.note({ invitedKeycloakUserID: row.invitedKeycloakUserID ?? null, refusedInvitation });
    return failure;
  }
  wrote({ action: "invited", target: userID });
  return undefined;
}

export async function inviteAgain(context: UpContext, signal: AbortSignal): Promise<void> {
  const { keycloakUserID } = context.row;
  if (keycloakUserID !== undefined) await invite(context, keycloakUserID, signal);
}

/** The account is as wanted, and only the mail is not: that holds nothing up. */
export function isAboutTheMail({ class: kind, code, upstreamStatus }: SagaError): boolean {
  if (upstreamStatus === undefined || !isRefusal(upstreamStatus)) return false;
  return kind === "transient" || code === REASON.RequestRefused;
}

function wasRefused({ upstreamStatus }: SagaError): boolean {
  return upstreamStatus !== undefined && isRefusal(upstreamStatus);
}

/** 408 and 504 say that somebody in between has heard nothing. */
function isRefusal(status: number): boolean {
  return status >= 400 && status !== 408 && status !== 504;
}

function refusal({ row, now }: UpContext, userID: string, failure: SagaError): RefusedInvitation {
  const before = isUnasked(row) ? (refusedBefore(row, userID)?.attempts ?? 0) : 0;
  // What a person must correct may be corrected where nobody sees it: in the realm.
  const policy = failure.class === "terminal" ? RETRIES.refusedInvitation : RETRIES.invitation;
  const pause = exactPauseMs(policy, before + 1);
  return {
    keycloakUserID: userID,
    attempts: before + 1,
    message: failure.message,
    nextAt: new Date(now() + pause).toISOString(),
  };
}

function refusedBefore({ refusedInvitation: refused }: SagaRow, userID: string): RefusedInvitation | undefined {
  return refused?.keycloakUserID === userID ? refused : undefined;
}

/** Without a run it is time that asks. */
function isUnasked({ run }: SagaRow): boolean {
  return run === undefined || UNASKED.includes(run.reason);
}
