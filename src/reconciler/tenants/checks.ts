import pLimit from "p-limit";
import { REASON } from "../../api/reasons.ts";
import type { TenantSpec } from "../../api/tenant.ts";
import type { Cluster } from "../../kube/cluster.ts";
import type { Realm } from "../../keycloak/realm.ts";
import { RETRIES } from "../../lib/backoff.ts";
import type { Clock } from "../../lib/clock.ts";
import { withDeadline } from "../../lib/deadline.ts";
import { isSagaError, isSilence } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { type CheckResult, type Checks, type Checked, type Finding } from "../../saga/tenantReport.ts";
import { originAt } from "../access.ts";
import type { Breakers } from "../breakers.ts";
import type { TenantStore } from "../../store/tenants.ts";
import type { AccessChecks } from "./accessChecks.ts";
import type { Client, TenantClients } from "./clients.ts";

/** A check is many calls, each with a deadline of its own; this bounds their sum. */
const CHECK_DEADLINE_MS = 30_000;
/** How long one who asks keeps the others of an origin from asking. */
const PATIENCE_MS = 3_000;
const NAMESPACES_AT_ONCE = 4;

export interface CheckSubject {
  readonly name: string;
  readonly spec: TenantSpec;
  readonly clients: TenantClients;
  /** The last results under the same spec and credentials. */
  readonly previous: Checks | undefined;
  /** Its status says that it is Ready: it had its realm when it was asked last. */
  readonly saysReady: boolean;
}

export interface TenantChecks {
  /** Undefined: somebody is asking there already, and it is not known whether anybody answers; again in a moment. */
  check(subject: CheckSubject, signal: AbortSignal): Promise<Checks> | undefined;
}

/** What a check found. */
type CheckFindings = Omit<Extract<CheckResult, { kind: "checked" }>, "kind">;

interface Deps {
  readonly cluster: Pick<Cluster, "namespaceActive" | "missingSecretRights">;
  readonly accessChecks: AccessChecks;
  readonly store: Pick<TenantStore, "claimRealm">;
  /** Those of the upstreams' origins, which sagas have too: one that is open is not asked. */
  readonly breakers: Pick<Breakers, "ask" | "success" | "failure">;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is known of one origin. */
interface Origin {
  /** The last question was answered. */
  isWell: boolean;
  asking: number;
  /** When the last one began to. */
  askedAt: number;
  /** After a silence, the moment from which the next check may ask. */
  askAgainAt: number;
}

const KUBERNETES = "kubernetes";

/**
 * Asks a tenant's upstreams whether its users can be made, before the first one suffers. Throws only when aborted.
 * A thousand tenants may be behind one origin: until it has answered, one check at a time asks there, at most once a
 * second, and nobody while its breaker is open.
 */
export function makeTenantChecks(deps: Deps): TenantChecks {
  const { accessChecks } = deps;
  const origins = new Map<string, Origin>();

  function at(name: string): Origin {
    const known = origins.get(name) ?? { isWell: false, asking: 0, askedAt: 0, askAgainAt: 0 };
    origins.set(name, known);
    return known;
  }

  /** The API server has no breaker: everything else needs it too. */
  const isClosed = (name: string): boolean => name !== KUBERNETES && deps.breakers.ask(name) !== undefined;

  function isUncertain(name: string): boolean {
    const { isWell, asking, askedAt, askAgainAt } = at(name);
    const now = deps.clock.now();
    // Who waits for an answer that long may be waiting for its own realm alone: the next one asks as well.
    return !isWell && asking > 0 && now - askedAt < PATIENCE_MS && now >= askAgainAt && !isClosed(name);
  }

  async function ask(
    subject: CheckSubject,
    upstream: Checked,
    origin: string,
    query: (signal: AbortSignal) => Promise<CheckFindings>,
    signal: AbortSignal,
  ): Promise<CheckResult> {
    const unreachable = { kind: "unreachable", message: SILENCE[upstream](subject.spec) } as const;
    if (isClosed(origin)) return unreachable;
    const known = at(origin);
    if (deps.clock.now() < known.askAgainAt) return subject.previous?.[upstream] ?? unreachable;
    known.asking += 1;
    const began = deps.clock.now();
    known.askedAt = began;
    try {
      const found = await withDeadline(signal, CHECK_DEADLINE_MS, query);
      answered(origin);
      return { kind: "checked", ...found };
    } catch (error) {
      signal.throwIfAborted();
      if (isSagaError(error) && error.class === "terminal") {
        answered(origin);
        return { kind: "checked", findings: [{ reason: error.code, message: error.message, effect: "blocks" }] };
      }
      // What answered with an error answered: that is this tenant's own failure, and keeps nobody else from asking.
      const isSilent = !isSagaError(error) || isSilence(error);
      if (isSilent) Object.assign(known, { isWell: false, askAgainAt: deps.clock.now() + RETRIES.probe.firstMs });
      if (isSilent && origin !== KUBERNETES) deps.breakers.failure(origin, began);
      if (subject.previous?.[upstream].kind !== "unreachable") {
        deps.log.warn("failed to check a tenant; its upstream does not answer", {
          name: subject.name,
          upstream,
          error,
        });
      }
      return unreachable;
    } finally {
      known.asking -= 1;
    }
  }

  function answered(origin: string): void {
    Object.assign(at(origin), { isWell: true, askAgainAt: 0 });
    if (origin !== KUBERNETES) deps.breakers.success(origin);
  }

  /** Nobody works in a realm that is another Tenant's, under whatever address. */
  async function claimed(subject: CheckSubject, realmID: string, found: CheckResult): Promise<CheckResult> {
    if (found.kind === "unreachable") return found;
    const { name, spec, previous, saysReady } = subject;
    try {
      const claim = await deps.store.claimRealm(spec.tenantID, { realmID, emailDomains: spec.allow.emailDomains });
      if (claim.kind === "held") return { ...found, isShared: claim.isShared };
      return { ...found, findings: [anothers(spec, claim.holder), ...found.findings] };
    } catch (error) {
      deps.log.warn("failed to claim the realm of a Tenant; retrying", { name, error });
      return previous?.keycloak ?? (saysReady ? found : { kind: "unreachable", message: UNCLAIMED });
    }
  }

  async function checkRealm(subject: CheckSubject, realm: Realm, signal: AbortSignal): Promise<CheckResult> {
    const { spec } = subject;
    let realmID: string | undefined;
    const query = async (cut: AbortSignal): Promise<CheckFindings> => {
      const findings = await problems(realm, spec, cut);
      // What is not to be used is not claimed.
      if (findings.every(({ effect }) => effect !== "blocks")) realmID = await realm.identity(cut);
      return { findings };
    };
    const found = await ask(subject, "keycloak", originAt(spec, "keycloak"), query, signal);
    return realmID === undefined ? found : claimed(subject, realmID, found);
  }

  async function checkNamespace(name: string, signal: AbortSignal): Promise<Finding[]> {
    const gone: Finding = {
      reason: REASON.NamespaceNotFound,
      message: `Namespace ${JSON.stringify(name)} does not exist or is being deleted; once it is gone create it again, or take it out of spec.namespaces.`,
      // Nobody can be committed there, so nobody suffers.
      effect: "shows",
    };
    if (!(await deps.cluster.namespaceActive(name, signal))) return [gone];
    const missing = await deps.cluster.missingSecretRights(name, signal);
    if (missing.length === 0) return [];
    // The Role goes first where a namespace goes: that may have begun in between.
    if (!(await deps.cluster.namespaceActive(name, signal))) return [gone];
    return [
      {
        reason: REASON.MissingPermission,
        message: `Our ServiceAccount may not ${missing.join(", ")}; apply the onboarding Role and RoleBinding in namespace ${JSON.stringify(name)}.`,
        effect: "blocks",
      },
    ];
  }

  async function checkAll(subject: CheckSubject, signal: AbortSignal): Promise<Checks> {
    const { spec, clients, previous } = subject;
    // Another spec or another credential: whoever changed something wants to see what came of it.
    if (previous === undefined) for (const name of spec.namespaces) accessChecks.forget(name);
    const limit = pLimit(NAMESPACES_AT_ONCE);
    const [keycloak, newapi, kubernetes] = await Promise.all([
      withClient(clients.realm, UNREAD, (realm) => checkRealm(subject, realm, signal)),
      withClient(clients.gateway, UNREAD, (gateway) =>
        ask(subject, "newapi", originAt(spec, "newapi"), (cut) => obstacles(gateway, spec, cut), signal),
      ),
      ask(
        subject,
        "kubernetes",
        KUBERNETES,
        async (cut) => {
          const asked = spec.namespaces.filter((name) => !accessChecks.isFresh(name));
          const found = await limit.map(asked, (name) => accessChecks.refresh(name, () => checkNamespace(name, cut)));
          return { findings: found.flat() };
        },
        signal,
      ),
    ]);
    return { keycloak, newapi, kubernetes };
  }

  return {
    check(subject, signal) {
      const { spec } = subject;
      const concerned = [originAt(spec, "keycloak"), originAt(spec, "newapi"), KUBERNETES];
      return concerned.some(isUncertain) ? undefined : checkAll(subject, signal);
    },
  };
}

async function withClient<T>(
  of: Client<T>,
  unread: string,
  query: (client: T) => Promise<CheckResult>,
): Promise<CheckResult> {
  if (of.kind === "made") return query(of.client);
  return of.kind === "wrong" ? { kind: "checked", findings: [of.finding] } : { kind: "unreachable", message: unread };
}

async function problems(realm: Realm, { keycloak, allow }: TenantSpec, signal: AbortSignal): Promise<Finding[]> {
  const found = await realm.check(
    {
      defaultGroups: keycloak.defaultGroups,
      allowedGroups: allow.groups,
      allowedRealmRoles: allow.realmRoles,
    },
    signal,
  );
  return found.map(finding);
}

async function obstacles(
  gateway: Extract<TenantClients["gateway"], { kind: "made" }>["client"],
  { newapi }: TenantSpec,
  signal: AbortSignal,
): Promise<CheckFindings> {
  const { problems: found, unknown } = await gateway.check({ tiers: [newapi.tier] }, signal);
  const cannotDelete = newapi.deletion === "Delete" && gateway.remove === undefined;
  const findings = [...found, ...(cannotDelete ? [deletesNothing(newapi.dialect)] : [])].map(finding);
  return { findings, ...(unknown.length === 0 ? {} : { unknown }) };
}

function finding({ reason, message, blocking }: { reason: string; message: string; blocking: boolean }): Finding {
  return { reason, message, effect: blocking ? "blocks" : "advises" };
}

function deletesNothing(dialect: string) {
  const message = `Dialect ${dialect} cannot delete accounts; those of deleted users are disabled, whatever newapi.deletion says.`;
  return { reason: REASON.NotSupportedByGateway, message, blocking: false };
}

function anothers({ keycloak }: TenantSpec, holder: string): Finding {
  return {
    reason: REASON.ClaimRefused,
    message: `Realm ${JSON.stringify(keycloak.realm)} says that it is the realm of Tenant ${JSON.stringify(holder)}, under another address; two Tenants share a realm only where both name their domains in spec.allow.emailDomains and no domain is named twice. Give one of them a realm of its own, or set the domains apart.`,
    effect: "blocks",
  };
}

const UNCLAIMED = "Postgres does not answer, so the realm could not be claimed; it is tried again by itself.";
const UNREAD = "The API server does not answer, so the credential could not be read; it is tried again by itself.";

/** The same sentence on every replica, whatever the silence found like from there; the log has the details. */
const SILENCE: Readonly<Record<Checked, (spec: TenantSpec) => string>> = {
  keycloak: ({ keycloak }) =>
    `Keycloak at ${keycloak.url} does not answer, or answers with errors; it is tried again by itself.`,
  newapi: ({ newapi }) =>
    `The gateway at ${newapi.url} does not answer, or answers with errors; it is tried again by itself.`,
  kubernetes: () =>
    "The API server does not answer questions about the tenant's namespaces; it is tried again by itself.",
};
