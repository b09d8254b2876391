import { isDeepStrictEqual } from "node:util";
import type { Condition } from "../api/meta.ts";
import { CONDITION, REASON, type Reason } from "../api/reasons.ts";
import type { TenantUserStatus } from "../api/tenantUser.ts";
import { conditionAfter, conditionOf, type ConditionState, isFalse, isTrue } from "./conditions.ts";
import type { Desired } from "./desired.ts";
import { REACHED, REACHED_BY, type SagaRow, type StepName, STEPS } from "./row.ts";
import { definedOnly } from "../lib/json.ts";

/** How the claim ended: what the person should read. */
export type Situation =
  | { readonly kind: "ready" }
  | { readonly kind: "retrying"; readonly nextAt: Date }
  | { readonly kind: "waiting"; readonly reason: Reason; readonly message: string }
  | { readonly kind: "stalled"; readonly reason: string; readonly message: string }
  | { readonly kind: "suspended" }
  | { readonly kind: "deleting"; readonly message: string; readonly nextAt: Date | undefined };

export interface Reported {
  /** Undefined: the object has no row yet. */
  readonly row: SagaRow | undefined;
  readonly generation: number;
  /** Undefined where the object's spec or Tenant is of no matter (waiting, deleting). */
  readonly desired: Desired | undefined;
  readonly situation: Situation;
  readonly previous: TenantUserStatus | undefined;
}

/** Projects the row to the object's status. Pure; the same input gives the same status but for transition times. */
export function report(reported: Reported, now: Date): TenantUserStatus {
  const { row, generation, desired, situation, previous } = reported;
  const ready = readiness(reported);
  const conditions: Condition[] = [];
  const put = (type: string, verdict: ConditionState): void => {
    const told = { type, ...verdict, observedGeneration: generation };
    conditions.push(conditionAfter(conditionOf(previous, type), told, now));
  };
  put(CONDITION.Ready, ready);
  const progress = progressing(reported);
  if (progress !== undefined) put(CONDITION.Reconciling, progress);
  const stalled = stalling(reported);
  if (stalled !== undefined) put(CONDITION.Stalled, stalled);
  if (situation.kind === "suspended") {
    put(CONDITION.Suspended, isTrue(REASON.Suspended, SUSPENDED));
  }
  const invited = row === undefined || desired === undefined ? undefined : invitation(row, desired);
  if (invited !== undefined) put(CONDITION.InvitationSent, invited);
  if (row !== undefined) for (const step of STEPS) put(STEP_CONDITION[step], stepState(row, desired, step));

  // Its place is known before the Secret is.
  const secret = row?.secretUID === undefined ? undefined : row.secretName;
  const nextAt = situation.kind === "retrying" || situation.kind === "deleting" ? situation.nextAt : undefined;
  return definedOnly<TenantUserStatus>({
    observedGeneration: generation,
    state: row?.state ?? "waiting",
    userUUID: row?.uuid,
    keycloak: row?.keycloakUserID === undefined ? undefined : { userID: row.keycloakUserID },
    newapi:
      row?.newapiUserID === undefined
        ? undefined
        : definedOnly({ userID: row.newapiUserID, username: row.newapiUsername }),
    secretName: secret,
    binding: secret === undefined ? undefined : { name: secret },
    key:
      row === undefined || row.reached !== "done"
        ? undefined
        : definedOnly({
            generation: row.keyGeneration,
            rotatedAt: row.keyRotatedAt?.toISOString(),
            previousUntil: row.previousKeyUntil?.toISOString(),
            lastHandledRotateRequestedAt: row.handled?.rotateRequestedAt,
          }),
    retryCount: row?.retryCount ?? 0,
    nextRetryAt: nextAt?.toISOString(),
    lastError: row?.lastError === undefined ? previous?.lastError : shownError(row.lastError),
    history:
      row === undefined || row.history.length === 0
        ? undefined
        : row.history.map((entry) => definedOnly({ ...entry, message: entry.message?.slice(0, 1024) })),
    lastHandledRequestedAt: row?.handled?.requestedAt,
    conditions,
  });
}

/** Whether there is anything to write. */
export function sameStatus(a: TenantUserStatus | undefined, b: TenantUserStatus): boolean {
  return a !== undefined && isDeepStrictEqual(structuredClone(a), structuredClone(b));
}

const SUSPENDED =
  "The user is suspended: the reconciler writes nothing outside the cluster until suspend is false. A deletion still runs.";

const LOCKED_OUT =
  "Keycloak locked the user out after too many failed logins, and the reconciler leaves that to people. Enable the user in " +
  "Keycloak; or set spec.enabled to false, wait until Ready says Disabled, and set it to true.";

const STEP_CONDITION = {
  keycloak: CONDITION.KeycloakReady,
  newapi: CONDITION.NewAPIReady,
  secret: CONDITION.SecretReady,
} as const satisfies Record<StepName, string>;

function readiness({ row, desired, situation, previous, generation }: Reported): ConditionState {
  const before = conditionOf(previous, CONDITION.Ready);
  switch (situation.kind) {
    case "ready": {
      if (desired?.enabled === false) {
        return isTrue(REASON.Disabled, "The user is disabled, as the spec asks. The Secret is kept.");
      }
      if (row?.handled?.key === "exhausted") {
        return isFalse(
          REASON.QuotaExhausted,
          "The quota at the gateway is used up; ask for more. The key itself is valid.",
        );
      }
      // A person who mistypes a password, or whoever does it for them, must not stop a tenant's Kustomization: all that Git
      // asks for is done, so this is Ready with a reason, and KeycloakReady is not.
      if (row?.handled?.lockedOut === true) {
        return isTrue(REASON.LockedByKeycloak, LOCKED_OUT);
      }
      if (row?.handled?.key !== "works") {
        return isTrue(
          REASON.KeyNotVerified,
          "Everything is in place. The Tenant does not ask for a test of the key at the gateway.",
        );
      }
      return isTrue(REASON.Ready, `The key in Secret ${row.secretName ?? ""} opens the gateway.`);
    }
    case "retrying": {
      // A key that was seen dead is not called ready for another moment.
      const failed = row?.state === "failed" || row?.lastError?.code === REASON.GatewayUnauthorized;
      if (!failed && before?.status === "True") return isTrue(before.reason, before.message);
      const error = row?.lastError;
      return failed
        ? isFalse(
            REASON.UpstreamUnavailable,
            `${error?.message ?? "An upstream does not answer."} The reconciler retries automatically.`,
          )
        : {
            status: "False",
            reason: REASON.Progressing,
            message: error?.message ?? "The reconciler is provisioning the user.",
          };
    }
    case "waiting":
      // An upstream that does not answer shows on the Tenant; it makes nobody unready who was.
      if (situation.reason === REASON.UpstreamUnavailable && before?.status === "True") {
        return isTrue(before.reason, before.message);
      }
      // The key that is to be replaced, or was, works all the while.
      if (situation.reason === REASON.GatewayLimited && before?.status === "True" && keepsItsKey(row)) {
        return isTrue(before.reason, before.message);
      }
      return isFalse(situation.reason, situation.message);
    case "stalled":
      return isFalse(situation.reason, situation.message);
    case "suspended":
      return before !== undefined &&
        before.reason !== REASON.Suspended &&
        before.observedGeneration !== -1 &&
        row?.reached === "done"
        ? { status: before.status, reason: before.reason, message: before.message }
        : isFalse(REASON.Suspended, SUSPENDED);
    case "deleting":
      return isFalse(REASON.Deleting, situation.message);
    default:
      return unreachable(situation, generation);
  }
}

function keepsItsKey(row: SagaRow | undefined): boolean {
  return row?.rotation !== undefined || row?.run?.reason === "retire";
}

function progressing({ row, situation }: Reported): ConditionState | undefined {
  switch (situation.kind) {
    case "retrying":
      return {
        status: "True",
        reason: (row?.retryCount ?? 0) > 0 ? REASON.ProgressingWithRetry : REASON.Progressing,
        message:
          row?.lastError === undefined
            ? "The reconciler is provisioning the user."
            : `Attempt ${row.retryCount} at step ${row.lastError.step} failed. The next one is at ${situation.nextAt.toISOString()}.`,
      };
    case "waiting":
      return isTrue(situation.reason, situation.message);
    case "deleting":
      return isTrue(REASON.Deleting, situation.message);
    case "ready":
    case "stalled":
    case "suspended":
      return undefined;
    default:
      return unreachable(situation, row?.version);
  }
}

function stalling({ row, situation }: Reported): ConditionState | undefined {
  if (situation.kind === "stalled") return isTrue(situation.reason, situation.message);
  if (situation.kind === "suspended" && row?.reached !== "done") {
    return isTrue(REASON.Suspended, SUSPENDED);
  }
  return undefined;
}

/** Of one who is to be invited: whether that was done, and if not, why. */
function invitation(row: SagaRow, desired: Desired): ConditionState | undefined {
  if (desired.invitation !== "Email" || row.keycloakUserID === undefined) return undefined;
  if (row.invitedKeycloakUserID === row.keycloakUserID) {
    return isTrue(REASON.InvitationSent, "Keycloak accepted the invitation.");
  }
  if (!desired.enabled) {
    return isFalse(REASON.Disabled, "Keycloak mails the invitation when the user is enabled.");
  }
  const refused = row.refusedInvitation;
  if (refused?.keycloakUserID !== row.keycloakUserID) return undefined;
  return isFalse(
    REASON.InvitationRefused,
    `${refused.message} The invitation was not sent. The reconciler retries at ${refused.nextAt}, and whenever the manifest or the Tenant changes.`,
  );
}

function stepState(row: SagaRow, desired: Desired | undefined, step: StepName): ConditionState {
  const error = row.lastError;
  if (error !== undefined && error.step === step && (row.retryCount > 0 || row.blockedOn !== undefined)) {
    return isFalse(error.code, error.message);
  }
  if (row.deleting !== undefined) {
    const gone = row.deleting.undone.includes(step) || (row.deleting.locked?.includes(step) ?? false);
    return { status: "False", reason: REASON.Deleting, message: gone ? "Removed or disabled." : "Not removed yet." };
  }
  if (REACHED.indexOf(row.reached) < REACHED.indexOf(REACHED_BY[step])) {
    return { status: "Unknown", reason: REASON.Progressing, message: "Not reached yet." };
  }
  if (step === "keycloak" && (row.run?.lockedOut ?? row.handled?.lockedOut) === true && desired?.enabled !== false) {
    return isFalse(REASON.LockedByKeycloak, LOCKED_OUT);
  }
  const notes = (row.run?.notes ?? row.handled?.notes ?? []).filter((note) => note.startsWith(`${step}: `));
  if (notes.length > 0) {
    return {
      status: "True",
      reason: REASON.NotSupportedByGateway,
      message: notes.map((note) => note.slice(step.length + 2)).join(" "),
    };
  }
  if (desired?.enabled === false && step !== "secret") {
    return isTrue(REASON.Disabled, "In place and disabled.");
  }
  return isTrue(REASON.Ready, "In place.");
}

function shownError(error: NonNullable<SagaRow["lastError"]>): TenantUserStatus["lastError"] {
  const { step, class: kind, ...rest } = error;
  return definedOnly({
    ...rest,
    message: rest.message.slice(0, 1024),
    step: STEPS.find((name) => name === step),
    class: kind === "waiting" ? undefined : kind,
  });
}

function unreachable(value: never, context: unknown): never {
  throw new Error(`no such situation: ${JSON.stringify(value)} (${String(context)})`);
}
