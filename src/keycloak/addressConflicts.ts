/** Somebody else has what this one asks for: the sentences of it, and who may solve it. */
import { REASON } from "../api/reasons.ts";
import { ConflictError, type SagaError, TerminalError, TransientError, WaitingError } from "../lib/errors.ts";
import type { Claim } from "./adopt.ts";
import { NOT_FOUND } from "./classify.ts";
import { byEmail } from "./locate.ts";
import { marksOf } from "./marks.ts";
import { sameAddress } from "./merge.ts";
import type { Parts } from "./parts.ts";
import { renames } from "./profile.ts";
import { AddressHeld } from "./realm.ts";
import type { User } from "./representations.ts";
import type { Ask } from "./session.ts";
import { terminal, unavailable, waiting } from "./failures.ts";

/** A realm that allows duplicate emails refuses nobody: whose address it is must be asked before. `of`: whose it may be. */
export async function isDoubled(parts: Parts, ask: Ask, email: string, of?: string): Promise<boolean> {
  if ((await parts.facts.settings(ask)).duplicateEmailsAllowed !== true) return false;
  return (await byEmail(ask, email)).some(({ id }) => id !== of);
}

/** A 409: somebody else has what this one asks for. */
export function isTaken(error: unknown): error is ConflictError {
  return error instanceof ConflictError && error.code !== NOT_FOUND;
}

export function notReady(message: string): WaitingError {
  return waiting(REASON.TenantNotReady, message);
}

/**
 * The colleague's own saga may be about to give the address up, so this waits and is never an end. Where the realm keeps
 * user names, one that was an address once stands in everybody's way (seen: a 409 for the email of another user): then
 * only a person can help, and is told how.
 */
export async function emailInUse(parts: Parts, ask: Ask, email: string, colleague: User): Promise<WaitingError> {
  const onlyByName = !sameAddress(colleague.email, email);
  const kept = onlyByName && !renames(await parts.facts.settings(ask));
  const message = kept
    ? `${email} is still the user name of another Keycloak user of this tenant (${colleague.id}), and realm ${parts.realm} keeps user names; switch on "Edit username" there (editUsernameAllowed).`
    : `Another Keycloak user of this tenant (${colleague.id}) still has ${email}; this one waits until it is free.`;
  return held(message, colleague);
}

/** Of another tenant nothing is told; its own rules, or the next check of its users, may free the address. */
export function foreign(email: string, { why, holder }: Extract<Claim, { kind: "foreign" }>): SagaError {
  if (holder === undefined) return claimed(email, why);
  return held(
    `A Keycloak user of another tenant in this realm has ${email}; this one waits until it is free. Ask the platform if that is not right.`,
    holder,
  );
}

function held(message: string, user: User): WaitingError {
  const { tenantID, uuid } = marksOf(user);
  const failure = { code: REASON.EmailInUse, upstream: "keycloak", upstreamStatus: 409, message } as const;
  if (tenantID === undefined || uuid === undefined) return new WaitingError(failure);
  return new AddressHeld(failure, { tenantID, uuid, userID: user.id });
}

export function claimed(email: string, why: string): TerminalError {
  return terminal(REASON.UserClaimed, `A Keycloak user with ${email} exists already and is left alone: ${why}.`, {
    upstreamStatus: 409,
  });
}

export function vanished(): TransientError {
  return unavailable("keycloak lost the user just created while it was being worked on; it is looked for again.", {
    upstreamStatus: 404,
  });
}
