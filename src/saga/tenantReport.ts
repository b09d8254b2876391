import type { Condition } from "../api/meta.ts";
import { CONDITION, REASON, type ConditionType } from "../api/reasons.ts";
import type { TenantSpec, TenantStatus } from "../api/tenant.ts";
import type { Acceptance } from "./accept.ts";
import { sameJSON } from "./revision.ts";

export const CHECKED = ["keycloak", "newapi", "kubernetes"] as const;
export type Checked = (typeof CHECKED)[number];

/** One thing that is not as needed. */
export interface Finding {
  /** A reason of src/api/reasons.ts. */
  readonly reason: string;
  /** One sentence: what is missing and how to mend it. */
  readonly message: string;
  /** `blocks`: no users are made until it is mended. `shows`: the Tenant is not Ready, users are made. `advises`: a warning. */
  readonly effect: "blocks" | "shows" | "advises";
}

export type CheckResult =
  | {
      readonly kind: "checked";
      readonly findings: readonly Finding[];
      /** Reasons of advice that could not be judged this time: what was said before stands. */
      readonly unknown?: readonly string[] | undefined;
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

type Verdict = Pick<Condition, "status" | "reason" | "message">;
/** Who has to act while Ready is not True: a person, or nobody. */
type Readiness = Verdict & { readonly turn: "nobody" | "person" };

const STEP_CONDITION = {
  keycloak: CONDITION.KeycloakReady,
  newapi: CONDITION.NewAPIReady,
  kubernetes: CONDITION.KubernetesReady,
} as const satisfies Record<Checked, ConditionType>;

/** What keeps users from being made. */
export function blocking(checks: Checks | undefined): Finding[] {
  return findings(checks).filter((finding) => finding.effect === "blocks");
}

/** Whether one neighbour was found as users need it; undefined: it could not be asked. */
export function wellness(result: CheckResult): boolean | undefined {
  if (result.kind !== "checked") return undefined;
  return result.findings.every((finding) => finding.effect !== "blocks");
}

/** Whether every neighbour was asked. */
export function conclusive(checks: Checks): boolean {
  return CHECKED.every((neighbour) => checks[neighbour].kind === "checked");
}

/** Projects what is known of a Tenant to its status. Pure; equal on every replica but for transition times. */
export function tenantReport(reported: TenantReported, now: Date): TenantStatus {
  const { acceptance, generation, previous, users } = reported;
  const { accepted } = acceptance;
  const conditions: Condition[] = [];
  const put = (type: ConditionType, verdict: Verdict | undefined): void => {
    if (verdict === undefined) return;
    const { status, reason, message } = verdict;
    const before = conditionOf(previous, type);
    // What a neighbour's silence looks like differs from replica to replica: the first telling stands.
    const silent = reason === REASON.NeighbourUnavailable && before?.reason === reason && before.status === status;
    conditions.push({
      type,
      status,
      reason,
      message: silent ? before.message : message,
      observedGeneration: generation,
      lastTransitionTime:
        before?.status === status ? before.lastTransitionTime : now.toISOString().replace(/\.\d+Z$/, "Z"),
    });
  };

  const ready = readiness(reported);
  put(CONDITION.Ready, ready);
  if (ready.status !== "True") {
    const type = ready.turn === "person" ? CONDITION.Stalled : CONDITION.Reconciling;
    const reason = ready.reason === REASON.NeighbourUnavailable ? REASON.ProgressingWithRetry : ready.reason;
    put(type, { status: "True", reason, message: conditions[0]?.message ?? ready.message });
  }
  if (accepted?.suspend === true) {
    put(CONDITION.Suspended, {
      status: "True",
      reason: REASON.Suspended,
      message: "Nothing outside is written for this tenant until spec.suspend is false; deletion still runs.",
    });
  }
  if (accepted !== undefined) {
    for (const neighbour of CHECKED) put(STEP_CONDITION[neighbour], neighbourVerdict(reported, accepted, neighbour));
    put(CONDITION.EmailDomainsUnrestricted, domainAdvice(accepted));
    put(CONDITION.NoLoginPath, adviceOf(reported, "keycloak", CONDITION.NoLoginPath));
    put(CONDITION.GatewayLimited, adviceOf(reported, "newapi", CONDITION.GatewayLimited));
  }
  return definedOnly({
    observedGeneration: generation,
    accepted,
    users: users === undefined ? previous?.users : { total: users.total, byState: { ...users.byState } },
    conditions,
  });
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

/** The Ready condition, when it says something else than before: worth an Event. */
export function changedReadiness(before: TenantStatus | undefined, after: TenantStatus): Condition | undefined {
  const was = conditionOf(before, CONDITION.Ready);
  const is = conditionOf(after, CONDITION.Ready);
  return is === undefined || (was?.status === is.status && was.reason === is.reason) ? undefined : is;
}

function conditionOf(status: TenantStatus | undefined, type: string): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

function findings(checks: Checks | undefined): Finding[] {
  if (checks === undefined) return [];
  return CHECKED.flatMap((neighbour) => {
    const result = checks[neighbour];
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
      reason: REASON.NeighbourUnavailable,
      message: "Postgres does not answer, so a new Tenant cannot be taken in; it is tried again by itself.",
    };
  }
  const wrong = findings(checks).filter((finding) => finding.effect !== "advises");
  const first = wrong.find((finding) => finding.effect === "blocks") ?? wrong[0];
  if (first !== undefined) {
    return { status: "False", turn: "person", reason: first.reason, message: all(wrong) };
  }
  if (checks === undefined) {
    return { status: "False", turn: "nobody", reason: REASON.Progressing, message: "The neighbours are being asked." };
  }
  const silent = CHECKED.map((neighbour) => checks[neighbour]).filter((result) => result.kind === "unreachable");
  if (silent.length > 0) {
    return { status: "False", turn: "nobody", reason: REASON.NeighbourUnavailable, message: all(silent) };
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

function neighbourVerdict({ checks, previous }: TenantReported, accepted: TenantSpec, neighbour: Checked): Verdict {
  const result = checks?.[neighbour];
  if (result === undefined) {
    const before = conditionOf(previous, STEP_CONDITION[neighbour]);
    return before ?? { status: "Unknown", reason: REASON.Progressing, message: "Not asked yet." };
  }
  if (result.kind === "unreachable") {
    return { status: "False", reason: REASON.NeighbourUnavailable, message: result.message };
  }
  const wrong = result.findings.filter((finding) => finding.effect !== "advises");
  const first = wrong.find((finding) => finding.effect === "blocks") ?? wrong[0];
  if (first !== undefined) return { status: "False", reason: first.reason, message: all(wrong) };
  if (neighbour === "newapi" && cannotDelete(accepted)) {
    return {
      status: "True",
      reason: REASON.NotSupportedByGateway,
      message:
        "Dialect admin-v1 cannot delete accounts; those of deleted people are disabled, whatever newapi.deletion says.",
    };
  }
  return { status: "True", reason: REASON.Ready, message: allWell(accepted, neighbour) };
}

function cannotDelete({ newapi }: TenantSpec): boolean {
  return newapi.deletion === "Delete" && newapi.dialect === "admin-v1";
}

function allWell(accepted: TenantSpec, neighbour: Checked): string {
  switch (neighbour) {
    case "keycloak":
      return `Realm ${JSON.stringify(accepted.keycloak.realm)} has the rights, groups, roles and profile that are needed.`;
    case "newapi":
      return "The gateway answers and takes our credential.";
    case "kubernetes":
      return "Every namespace is there, with the rights that are needed.";
    default:
      return neighbour satisfies never;
  }
}

function domainAdvice(accepted: TenantSpec): Verdict | undefined {
  if (accepted.allow.emailDomains.length > 0) return undefined;
  return {
    status: "True",
    reason: REASON.EmailDomainsUnrestricted,
    message: "Users of every email domain can be committed; name the tenant's own in spec.allow.emailDomains.",
  };
}

/** What a neighbour's check advises, under the condition of that name. */
function adviceOf(
  { checks, previous }: TenantReported,
  neighbour: Checked,
  type: typeof CONDITION.NoLoginPath | typeof CONDITION.GatewayLimited,
): Verdict | undefined {
  const result = checks?.[neighbour];
  // Not asked is not the same as mended: the advice stands until the neighbour says otherwise.
  if (result?.kind !== "checked" || result.unknown?.includes(type) === true) return conditionOf(previous, type);
  const advice = result.findings.filter((finding) => finding.effect === "advises");
  const first = advice[0];
  return first === undefined ? undefined : { status: "True", reason: first.reason, message: all(advice) };
}

/** Enough for every sentence that a person can act on at once, far under the API server's limit. */
const LONGEST_MESSAGE = 4096;

function all(sentences: readonly { readonly message: string }[]): string {
  const text = [...new Set(sentences.map(({ message }) => message))].join(" ");
  return text.length <= LONGEST_MESSAGE ? text : `${text.slice(0, LONGEST_MESSAGE - 1)}…`;
}

/** Absent and undefined are the same to the API server; only the first compares equal. */
function definedOnly<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}
