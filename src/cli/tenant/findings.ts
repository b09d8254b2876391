/** What `tenant check` finds, and what the Tenant's own conditions say. Pure. */
import type { Condition } from "../../api/meta.ts";
import { CONDITION, REASON } from "../../api/reasons.ts";
import type { LiveTenant, TenantSpec } from "../../api/tenant.ts";
import type { RealmSubject } from "../../keycloak/realm.ts";
import { mendingOf, renewCredential } from "./mending.ts";
import { OPERATOR_NAMESPACE } from "./values.ts";

export const AREAS = ["Tenant", "Keycloak", "Gateway", "Namespaces", "Flux"] as const;
export type Area = (typeof AREAS)[number];

export interface Finding {
  readonly area: Area;
  /** `missing`: something must be done. `advice`: worth a look. `unknown`: it could not be asked. */
  readonly level: "missing" | "advice" | "unknown";
  /** A reason of the API, where there is one. */
  readonly reason?: string;
  /** One sentence. */
  readonly message: string;
  /** Lines for a shell. */
  readonly mend: readonly string[];
}

export interface CheckReport {
  readonly tenant: string;
  /** The Tenant's Ready condition, when there is one at its newest generation. */
  readonly ready: Pick<Condition, "status" | "reason"> | undefined;
  /** Where it was looked, or the reconciler's word was taken. */
  readonly areas: readonly Area[];
  readonly findings: readonly Finding[];
}

/** What a look of our own gave; undefined: there was none, so that the conditions alone speak. */
export type Looks = Readonly<Partial<Record<Area, readonly Finding[] | undefined>>>;

const NEIGHBOUR: readonly (readonly [Area, string])[] = [
  ["Keycloak", CONDITION.KeycloakReady],
  ["Gateway", CONDITION.NewAPIReady],
  ["Namespaces", CONDITION.KubernetesReady],
];
const ADVICE: readonly string[] = [
  CONDITION.EmailDomainsUnrestricted,
  CONDITION.NoLoginPath,
  CONDITION.GatewayLimited,
  CONDITION.Suspended,
];

/** One problem that a neighbour's own check named. */
export function problem(
  name: string,
  spec: TenantSpec,
  area: "Keycloak" | "Gateway",
  found: { reason: string; message: string; blocking: boolean; subject?: RealmSubject | undefined },
): Finding {
  const mend =
    found.reason === REASON.CredentialsRefused
      ? renewCredential(spec, area === "Keycloak" ? "keycloak" : "newapi")
      : mendingOf(name, spec, found.reason, found.subject);
  return { area, level: found.blocking ? "missing" : "advice", reason: found.reason, message: found.message, mend };
}

/**
 * All that is known, without saying a thing twice: where we looked ourselves and found something, that; where we found
 * nothing and the reconciler still complains, its sentence; where we could not look, its word.
 */
export function compose(tenant: LiveTenant, looks: Looks): CheckReport {
  const name = tenant.metadata.name;
  const { spec, status } = tenant;
  const conditions = status?.conditions ?? [];
  const current = (type: string): Condition | undefined =>
    conditions.find((each) => each.type === type && each.observedGeneration === tenant.metadata.generation);
  const findings: Finding[] = [];
  const told = new Set<string>();
  const add = (finding: Finding): void => {
    if (told.has(finding.message)) return;
    told.add(finding.message);
    findings.push(finding);
  };
  const sayCondition = (area: Area, level: Finding["level"], { reason, message }: Condition): void =>
    add({ area, level, reason, message, mend: mendingFor(name, spec, area, reason) });

  const ready = current(CONDITION.Ready);
  if (ready === undefined) add(unseen());
  for (const [area, type] of NEIGHBOUR) {
    const own = looks[area] ?? [];
    own.forEach(add);
    const said = current(type);
    if (said === undefined || said.status === "True") continue;
    // What we saw with our own eyes explains it; a reason beside that would be told twice.
    if (own.some(({ level }) => level === "missing")) told.add(said.message);
    else sayCondition(area, said.status === "Unknown" ? "unknown" : "missing", said);
  }
  (looks.Flux ?? []).forEach(add);
  for (const type of ADVICE) {
    const said = current(type);
    if (said?.status !== "True" || findings.some(({ reason }) => reason === said.reason)) continue;
    sayCondition(
      type === CONDITION.NoLoginPath ? "Keycloak" : type === CONDITION.GatewayLimited ? "Gateway" : "Tenant",
      "advice",
      said,
    );
  }
  const aboutNeighbours = NEIGHBOUR.some(([, type]) => current(type)?.message === ready?.message);
  if (ready?.status === "False" && !aboutNeighbours && !findings.some(({ level }) => level === "missing")) {
    sayCondition("Tenant", "missing", ready);
  }
  const order = (finding: Finding): number => AREAS.indexOf(finding.area);
  return {
    tenant: name,
    ready: ready === undefined ? undefined : { status: ready.status, reason: ready.reason },
    areas: AREAS,
    findings: findings.toSorted((a, b) => order(a) - order(b)),
  };
}

function mendingFor(name: string, spec: TenantSpec, area: Area, reason: string): readonly string[] {
  if (reason !== REASON.CredentialsRefused) return mendingOf(name, spec, reason);
  return renewCredential(spec, area === "Keycloak" ? "keycloak" : "newapi");
}

function unseen(): Finding {
  return {
    area: "Tenant",
    level: "missing",
    message: "The reconciler has not looked at the Tenant as it stands now; does it run?",
    mend: [
      `kubectl -n ${OPERATOR_NAMESPACE} get pods`,
      `kubectl -n ${OPERATOR_NAMESPACE} logs deployment/unified-rbac -c reconciler --since=10m`,
    ],
  };
}
