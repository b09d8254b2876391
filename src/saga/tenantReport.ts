import type { Condition } from "../api/meta.ts";
import { CONDITION, REASON, type ConditionType } from "../api/reasons.ts";
import type { TenantSpec, TenantStatus } from "../api/tenant.ts";
import type { Acceptance } from "./accept.ts";
import { conditionAfter, conditionOf, type ConditionState, isFalse, isTrue } from "./conditions.ts";
import { sameJSON } from "./revision.ts";
import { definedOnly } from "../lib/json.ts";

export const CHECKED = ["keycloak", "newapi", "kubernetes"] as const;
export type Checked = (typeof CHECKED)[number];

/** One thing that is not as needed. */
export interface Finding {
  /** A reason of src/api/reasons.ts. */
  readonly reason: string;
  /** One sentence: what is missing and how to fix it. */
  readonly message: string;
  /** `blocks`: no users are made until it is fixed. `shows`: the Tenant is not Ready, users are made. `advises`: a warning. */
  readonly effect: "blocks" | "shows" | "advises";
}

export type CheckResult =
  | {
      readonly kind: "checked";
      readonly findings: readonly Finding[];
      /** Reasons of advice that could not be judged this time: what was said before stands. */
      readonly unknown?: readonly string[] | undefined;
      /** Another Tenant was first in the realm. */
      readonly isShared?: boolean | undefined;
    }
  /** It could not be asked: nothing is known to be wrong with the tenant. */
  | { readonly kind: "unreachable"; readonly message: string };
export type Checks = Readonly<Record<Checked, CheckResult>>;

export interface UserCounts {
  /** Living TenantUsers, waiting ones included. */
  readonly total: number;
  /** `waiting` beside the states of rows; none is zero. */
  readonly byState: Readonly<Record<string, number>>;
}

export interface TenantReported {
  readonly generation: number;
  readonly deleting: boolean;
  readonly acceptance: Acceptance;
  /** Undefined: not asked yet. */
  readonly checks: Checks | undefined;
  /** Undefined: Postgres does not answer. */
  readonly users: UserCounts | undefined;
  readonly previous: TenantStatus | undefined;
}

/** Who has to act while Ready is not True: a person, or nobody. */
type Readiness = ConditionState & { readonly turn: "nobody" | "person" };

const STEP_CONDITION = {
  keycloak: CONDITION.KeycloakReady,
  newapi: CONDITION.NewAPIReady,
  kubernetes: CONDITION.KubernetesReady,
} as const satisfies Record<Checked, ConditionType>;

/** What keeps users from being made. */
export function blocking(checks: Checks | undefined): Finding[] {
  return findings(checks).filter((finding) => finding.effect === "blocks");
}

/** Whether one upstream was found as users need it; undefined: it could not be asked. */
export function wellness(result: CheckResult): boolean | undefined {
  if (result.kind !== "checked") return undefined;
  return result.findings.every((finding) => finding.effect !== "blocks");
}

/** Whether every upstream was asked. */
export function conclusive(checks: Checks): boolean {
  return CHECKED.every((upstream) => checks[upstream].kind === "checked");
}

/** Projects what is known of a Tenant to its status. Pure; equal on every replica but for transition times. */
export function tenantReport(reported: TenantReported, now: Date): TenantStatus {
  const { acceptance, generation, previous, users } = reported;
  const { accepted } = acceptance;
  const conditions: Condition[] = [];
  const put = (type: ConditionType, verdict: ConditionState | undefined): void => {
    if (verdict === undefined) return;
    const { status, reason, message } = verdict;
    const before = conditionOf(previous, type);
    // What an upstream's silence looks like differs from replica to replica: the first telling stands.
    const silent = reason === REASON.UpstreamUnavailable && before?.reason === reason && before.status === status;
    const told = { type, status, reason, message: silent ? before.message : message, observedGeneration: generation };
    conditions.push(conditionAfter(before, told, now));
  };

  const ready = readiness(reported);
  put(CONDITION.Ready, ready);
  if (ready.status !== "True") {
    const type = ready.turn === "person" ? CONDITION.Stalled : CONDITION.Reconciling;
    const reason = ready.reason === REASON.UpstreamUnavailable ? REASON.ProgressingWithRetry : ready.reason;
    put(type, isTrue(reason, conditions[0]?.message ?? ready.message));
  }
  if (accepted?.suspend === true) {
    const message = "Nothing outside is written for this tenant until spec.suspend is false; deletion still runs.";
    put(CONDITION.Suspended, isTrue(REASON.Suspended, message));
  }
  if (accepted !== undefined) {
    for (const upstream of CHECKED) put(STEP_CONDITION[upstream], upstreamState(reported, accepted, upstream));
    put(CONDITION.EmailDomainsUnrestricted, domainAdvice(accepted));
    put(CONDITION.NoLoginPath, adviceOf(reported, "keycloak", CONDITION.NoLoginPath));
    put(CONDITION.ProfileIncomplete, adviceOf(reported, "keycloak", CONDITION.ProfileIncomplete));
    put(CONDITION.DuplicateEmailsAllowed, adviceOf(reported, "keycloak", CONDITION.DuplicateEmailsAllowed));
    put(CONDITION.GatewayLimited, adviceOf(reported, "newapi", CONDITION.GatewayLimited));
  }
  return definedOnly({
    observedGeneration: generation,
    accepted,
    users: users === undefined ? previous?.users : counts(users),
    conditions,
  });
}

/** Without a map that is empty: applied over one that was not, the API server makes null of it, and refuses that. */
function counts({ total, byState }: UserCounts): NonNullable<TenantStatus["users"]> {
  return Object.keys(byState).length === 0 ? { total } : { total, byState: { ...byState } };
}

/** Whether there is anything to write. Transition times are no content, nor, with `butUsers`, are the counts. */
export function sameTenantStatus(
  a: TenantStatus | undefined,
  b: TenantStatus,
  options?: { butUsers?: boolean },
): boolean {
  const content = (status: TenantStatus) => ({
    ...status,
    users: options?.butUsers === true ? undefined : status.users,
    conditions: status.conditions?.map((condition) => ({ ...condition, lastTransitionTime: undefined })),
  });
  return a !== undefined && sameJSON(content(a), content(b));
}

function findings(checks: Checks | undefined): Finding[] {
  if (checks === undefined) return [];
  return CHECKED.flatMap((upstream) => {
    const result = checks[upstream];
    return result.kind === "checked" ? result.findings : [];
  });
}

function readiness(reported: TenantReported): Readiness {
  const { acceptance, checks, users, deleting } = reported;
  if (deleting) return leaving(users);
  const refused = acceptance.refusals[0];
  if (refused !== undefined) {
    return { status: "False", turn: "person", reason: refused.reason, message: all(acceptance.refusals) };
  }
  if (acceptance.accepted === undefined) {
    return {
      status: "False",
      turn: "nobody",
      reason: REASON.UpstreamUnavailable,
      message: "Postgres does not answer, so a new Tenant cannot be accepted. The reconciler retries automatically.",
    };
  }
  const wrong = findings(checks).filter((finding) => finding.effect !== "advises");
  const first = wrong.find((finding) => finding.effect === "blocks") ?? wrong[0];
  if (first !== undefined) {
    return { status: "False", turn: "person", reason: first.reason, message: all(wrong) };
  }
  if (checks === undefined) {
    return {
      status: "False",
      turn: "nobody",
      reason: REASON.Progressing,
      message: "The reconciler is checking the upstreams.",
    };
  }
  const silent = CHECKED.map((upstream) => checks[upstream]).filter((result) => result.kind === "unreachable");
  if (silent.length > 0) {
    return { status: "False", turn: "nobody", reason: REASON.UpstreamUnavailable, message: all(silent) };
  }
  return { status: "True", turn: "nobody", reason: REASON.Ready, message: "Users can be made." };
}

function leaving(users: UserCounts | undefined): Readiness {
  const states = Object.entries(users?.byState ?? {}).filter(([state]) => state !== "waiting" && state !== "deleted");
  if (states.length === 0) {
    return { status: "False", turn: "nobody", reason: REASON.Deleting, message: "The Tenant is being deleted." };
  }
  const going = states.every(([state]) => state === "deleting");
  const counted = states
    .map(([state, n]) => `${n} ${state}`)
    .toSorted()
    .join(", ");
  return {
    status: "False",
    turn: going ? "nobody" : "person",
    reason: REASON.TenantInUse,
    message: `The Tenant is being deleted and still has users (${counted}); ${
      going ? "it goes when they are undone." : "remove their TenantUsers, and purge what is retained or orphaned."
    }`,
  };
}

function upstreamState({ checks, previous }: TenantReported, accepted: TenantSpec, upstream: Checked): ConditionState {
  const result = checks?.[upstream];
  if (result === undefined) {
    const before = conditionOf(previous, STEP_CONDITION[upstream]);
    return before ?? { status: "Unknown", reason: REASON.Progressing, message: "Not asked yet." };
  }
  if (result.kind === "unreachable") {
    return isFalse(REASON.UpstreamUnavailable, result.message);
  }
  const wrong = result.findings.filter((finding) => finding.effect !== "advises");
  const first = wrong.find((finding) => finding.effect === "blocks") ?? wrong[0];
  if (first !== undefined) return isFalse(first.reason, all(wrong));
  const unsupported = result.findings.find(({ reason }) => reason === REASON.NotSupportedByGateway);
  if (unsupported !== undefined) return isTrue(unsupported.reason, unsupported.message);
  return isTrue(REASON.Ready, allWell(accepted, upstream));
}

function allWell(accepted: TenantSpec, upstream: Checked): string {
  switch (upstream) {
    case "keycloak":
      return `Realm ${JSON.stringify(accepted.keycloak.realm)} has the rights, groups, roles and profile that are needed.`;
    case "newapi":
      return "The gateway answers and takes our credential.";
    case "kubernetes":
      return "Every namespace is there, with the rights that are needed.";
    default:
      return upstream satisfies never;
  }
}

function domainAdvice(accepted: TenantSpec): ConditionState | undefined {
  if (accepted.allow.emailDomains.length > 0) return undefined;
  return isTrue(
    REASON.EmailDomainsUnrestricted,
    "Users of every email domain can be committed; name the tenant's own in spec.allow.emailDomains.",
  );
}

/** What an upstream's check advises, under the condition of that name. */
function adviceOf(
  { checks, previous }: TenantReported,
  upstream: Checked,
  type:
    | typeof CONDITION.NoLoginPath
    | typeof CONDITION.DuplicateEmailsAllowed
    | typeof CONDITION.ProfileIncomplete
    | typeof CONDITION.GatewayLimited,
): ConditionState | undefined {
  const result = checks?.[upstream];
  // Not asked is not the same as fixed: the advice stands until the upstream says otherwise.
  if (result?.kind !== "checked" || result.unknown?.includes(type) === true) return conditionOf(previous, type);
  const advice = result.findings.filter(({ effect, reason }) => effect === "advises" && reason === type);
  const first = advice[0];
  return first === undefined ? undefined : isTrue(first.reason, all(advice));
}

/** Enough for every sentence that a person can act on at once, far under the API server's limit. */
const LONGEST_MESSAGE = 4096;

function all(sentences: readonly { readonly message: string }[]): string {
  const text = [...new Set(sentences.map(({ message }) => message))].join(" ");
  return text.length <= LONGEST_MESSAGE ? text : `${text.slice(0, LONGEST_MESSAGE - 1)}…`;
}
