/** What `tenant check` finds, and what the Tenant's own conditions say. Pure. */
import { type Condition, OPERATOR_NAMESPACE } from "../../api/meta.ts";
import { CONDITION } from "../../api/reasons.ts";
import type { LiveTenant, TenantSpec } from "../../api/tenant.ts";
import { type MissingPart, reconcilerLogs } from "../../api/setupCommands.ts";
import { shell } from "../../lib/shell.ts";
import { remediationOf } from "./remediation.ts";

export const AREAS = ["Tenant", "Keycloak", "Gateway", "Namespaces", "Flux"] as const;
export type Area = (typeof AREAS)[number];

export interface CheckFinding {
  readonly area: Area;
  /** `missing`: something must be done. `advice`: worth a look. `unknown`: it could not be asked. */
  readonly level: "missing" | "advice" | "unknown";
  /** A reason of the API, where there is one. */
  readonly reason?: string;
  /** One sentence. */
  readonly message: string;
  /** Lines for a shell. */
  readonly fix: readonly string[];
}

export function finding(
  area: Area,
  level: CheckFinding["level"],
  message: string,
  fix: readonly string[] = [],
  reason?: string,
): CheckFinding {
  return { area, level, ...(reason === undefined ? {} : { reason }), message, fix };
}

export interface CheckReport {
  readonly tenant: string;
  /** The Tenant's Ready condition, when there is one at its newest generation. */
  readonly ready: Pick<Condition, "status" | "reason"> | undefined;
  /** What was checked, from here or by the reconciler. */
  readonly areas: readonly Area[];
  readonly findings: readonly CheckFinding[];
}

/** What was observed from here; undefined: it could not be checked from here, and the conditions alone count. */
export type Observations = Readonly<Partial<Record<Area, readonly CheckFinding[] | undefined>>>;

const REQUIRED: readonly (readonly [string, Area])[] = [
  [CONDITION.KeycloakReady, "Keycloak"],
  [CONDITION.NewAPIReady, "Gateway"],
  [CONDITION.KubernetesReady, "Namespaces"],
];
const ADVICE: readonly (readonly [string, Area])[] = [
  [CONDITION.EmailDomainsUnrestricted, "Tenant"],
  [CONDITION.NoLoginPath, "Keycloak"],
  [CONDITION.ProfileIncomplete, "Keycloak"],
  [CONDITION.GatewayLimited, "Gateway"],
  [CONDITION.Suspended, "Tenant"],
];
const UPSTREAM: Readonly<Partial<Record<Area, "keycloak" | "gateway">>> = { Keycloak: "keycloak", Gateway: "gateway" };

/** One problem that an upstream's own check named. */
export function problem(
  name: string,
  spec: TenantSpec,
  area: "Keycloak" | "Gateway",
  found: { reason: string; message: string; blocking: boolean; subject?: MissingPart | undefined },
): CheckFinding {
  const { reason, message, blocking, subject } = found;
  const fix = remediationOf(name, spec, reason, { upstream: UPSTREAM[area], missing: subject });
  return { area, level: blocking ? "missing" : "advice", reason, message, fix };
}

/**
 * All that is known, each fact once: a finding from here counts before the condition about the same area; the condition
 * counts where nothing was found from here, or nothing could be checked.
 */
export function compose(tenant: LiveTenant, observed: Observations): CheckReport {
  const name = tenant.metadata.name;
  const { spec, status } = tenant;
  const conditions = status?.conditions ?? [];
  const current = (type: string): Condition | undefined =>
    conditions.find((each) => each.type === type && each.observedGeneration === tenant.metadata.generation);
  const findings: CheckFinding[] = [];
  const reported = new Set<string>();
  const add = (finding: CheckFinding): void => {
    if (reported.has(finding.message)) return;
    reported.add(finding.message);
    findings.push(finding);
  };
  const addCondition = (area: Area, level: CheckFinding["level"], { reason, message }: Condition): void =>
    add({ area, level, reason, message, fix: remediationOf(name, spec, reason, { upstream: UPSTREAM[area] }) });
  const isMissing = ({ level }: CheckFinding): boolean => level === "missing";

  const ready = current(CONDITION.Ready);
  if (ready === undefined) add(unobserved());
  for (const [type, area] of REQUIRED) {
    const own = observed[area] ?? [];
    own.forEach(add);
    const condition = current(type);
    if (condition === undefined || condition.status === "True") continue;
    // What was observed from here explains it; the condition would repeat it.
    if (own.some(isMissing)) reported.add(condition.message);
    else addCondition(area, condition.status === "Unknown" ? "unknown" : "missing", condition);
  }
  (observed.Flux ?? []).forEach(add);
  for (const [type, area] of ADVICE) {
    const condition = current(type);
    if (condition?.status !== "True" || findings.some(({ reason }) => reason === condition.reason)) continue;
    addCondition(area, "advice", condition);
  }
  const isAboutUpstream = REQUIRED.some(([type]) => current(type)?.message === ready?.message);
  if (ready?.status === "False" && !isAboutUpstream && !findings.some(isMissing)) {
    addCondition("Tenant", "missing", ready);
  }
  const order = (finding: CheckFinding): number => AREAS.indexOf(finding.area);
  return {
    tenant: name,
    ready: ready === undefined ? undefined : { status: ready.status, reason: ready.reason },
    areas: AREAS,
    findings: findings.toSorted((a, b) => order(a) - order(b)),
  };
}

function unobserved(): CheckFinding {
  const message = "The reconciler has not observed the current Tenant; check that it runs.";
  return finding("Tenant", "missing", message, [shell`kubectl -n ${OPERATOR_NAMESPACE} get pods`, reconcilerLogs()]);
}
