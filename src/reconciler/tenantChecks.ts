import pLimit from "p-limit";
import { REASON } from "../api/reasons.ts";
import type { TenantSpec } from "../api/tenant.ts";
import type { Cluster } from "../kube/cluster.ts";
import type { Clock, Random } from "../lib/clock.ts";
import { isSagaError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type CheckResult, type Checks, type Checked, type Finding } from "../saga/tenantReport.ts";
import { originAt } from "./access.ts";
import type { Breakers } from "./breakers.ts";
import type { Client, TenantClients } from "./tenantClients.ts";

/** A check is many calls, each with a deadline of its own; this bounds their sum. */
const CHECK_DEADLINE_MS = 30_000;
/** An origin that was silent is asked again at most this often, until its breaker opens. */
const PROBE_EVERY_MS = 1_000;
const NAMESPACES_AT_ONCE = 4;
/**
 * Our rights in a namespace change rarely, and whoever misses one says so (`doubt`): one that was well is asked about
 * again only after this, give or take a third. A thousand namespaces cost 33 calls a minute, not 2,000.
 */
const NAMESPACE_WELL_MS = 60 * 60_000;

export interface Subject {
  readonly name: string;
  readonly spec: TenantSpec;
  readonly clients: TenantClients;
  /** The last results under the same spec and credentials. */
  readonly previous: Checks | undefined;
}

export interface TenantChecks {
  /** Undefined: somebody is asking there already, and it is not known whether anybody answers; again in a moment. */
  check(subject: Subject, signal: AbortSignal): Promise<Checks> | undefined;
  /** The next check asks about this namespace, however well it was. False: it would have done so anyway. */
  doubt(namespace: string): boolean;
}

/** What a check found. */
type Looked = Omit<Extract<CheckResult, { kind: "checked" }>, "kind">;

interface Deps {
  readonly cluster: Pick<Cluster, "namespaceActive" | "missingSecretRights">;
  /** Those of the neighbours' origins, which sagas have too: one that is open is not asked. */
  readonly breakers: Pick<Breakers, "ask" | "success" | "failure">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What is known of one origin. */
interface Origin {
  /** The last question was answered. */
  isWell: boolean;
  asking: number;
  /** After a silence, the moment from which the next check may ask. */
  askAgainAt: number;
}

const KUBERNETES = "kubernetes";

/**
 * Asks a tenant's neighbours whether its users can be made, before the first one suffers. Throws only when aborted.
 * A thousand tenants may be behind one origin: until it has answered, one check at a time asks there, at most once a
 * second, and nobody while its breaker is open.
 */
export function makeTenantChecks(deps: Deps): TenantChecks {
  const origins = new Map<string, Origin>();
  /** Until when a namespace that was well is taken to be. */
  const wellUntil = new Map<string, number>();
  let doubts = 0;

  function at(name: string): Origin {
    const known = origins.get(name) ?? { isWell: false, asking: 0, askAgainAt: 0 };
    origins.set(name, known);
    return known;
  }

  /** The API server has no breaker: everything else needs it too. */
  const isClosed = (name: string): boolean => name !== KUBERNETES && deps.breakers.ask(name) !== undefined;

  function isInDoubt(name: string): boolean {
    const { isWell, asking, askAgainAt } = at(name);
    return !isWell && asking > 0 && deps.clock.now() >= askAgainAt && !isClosed(name);
  }

  async function ask(
    subject: Subject,
    neighbour: Checked,
    origin: string,
    look: (signal: AbortSignal) => Promise<Looked>,
    signal: AbortSignal,
  ): Promise<CheckResult> {
    const unreachable = { kind: "unreachable", message: SILENCE[neighbour](subject.spec) } as const;
    if (isClosed(origin)) return unreachable;
    const known = at(origin);
    if (deps.clock.now() < known.askAgainAt) return subject.previous?.[neighbour] ?? unreachable;
    known.asking += 1;
    const deadline = AbortSignal.timeout(CHECK_DEADLINE_MS);
    try {
      const looked = await look(AbortSignal.any([signal, deadline]));
      answered(origin);
      return { kind: "checked", ...looked };
    } catch (error) {
      signal.throwIfAborted();
      if (isSagaError(error) && error.class === "terminal") {
        answered(origin);
        return { kind: "checked", findings: [{ reason: error.code, message: error.message, effect: "blocks" }] };
      }
      known.isWell = false;
      known.askAgainAt = deps.clock.now() + PROBE_EVERY_MS;
      const isSilent = !isSagaError(error) || error.class === "transient";
      if (isSilent && origin !== KUBERNETES) deps.breakers.failure(origin);
      if (subject.previous?.[neighbour].kind !== "unreachable") {
        deps.log.warn("a tenant's neighbour does not answer its check", { name: subject.name, neighbour, error });
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

  async function namespace(name: string, signal: AbortSignal): Promise<Finding[]> {
    if (deps.clock.now() < (wellUntil.get(name) ?? 0)) return [];
    const doubtsBefore = doubts;
    const findings = await lookAt(name, signal);
    // What was found may be from before a doubt that came meanwhile.
    if (findings.length > 0 || doubts > doubtsBefore) wellUntil.delete(name);
    else wellUntil.set(name, deps.clock.now() + NAMESPACE_WELL_MS * (2 / 3 + (deps.random() * 2) / 3));
    return findings;
  }

  async function lookAt(name: string, signal: AbortSignal): Promise<Finding[]> {
    if (!(await deps.cluster.namespaceActive(name, signal))) {
      return [
        {
          reason: REASON.NamespaceNotFound,
          message: `Namespace ${JSON.stringify(name)} does not exist or is being deleted; create it, or take it out of spec.namespaces.`,
          // Nobody can be committed there, so nobody suffers.
          effect: "shows",
        },
      ];
    }
    const missing = await deps.cluster.missingSecretRights(name, signal);
    if (missing.length === 0) return [];
    return [
      {
        reason: REASON.MissingPermission,
        message: `Our ServiceAccount may not ${missing.join(", ")}; apply the onboarding Role and RoleBinding in namespace ${JSON.stringify(name)}.`,
        effect: "blocks",
      },
    ];
  }

  async function checkAll(subject: Subject, signal: AbortSignal): Promise<Checks> {
    const { spec, clients, previous } = subject;
    // Another spec or another credential: whoever changed something wants to see what came of it.
    if (previous === undefined) for (const name of spec.namespaces) wellUntil.delete(name);
    const limit = pLimit(NAMESPACES_AT_ONCE);
    const [keycloak, newapi, kubernetes] = await Promise.all([
      withClient(clients.realm, UNREAD, (realm) =>
        ask(subject, "keycloak", originAt(spec, "keycloak"), (cut) => problems(realm, spec, cut), signal),
      ),
      withClient(clients.gateway, UNREAD, (gateway) =>
        ask(subject, "newapi", originAt(spec, "newapi"), (cut) => obstacles(gateway, spec, cut), signal),
      ),
      ask(
        subject,
        "kubernetes",
        KUBERNETES,
        async (cut) => ({ findings: (await limit.map(spec.namespaces, (name) => namespace(name, cut))).flat() }),
        signal,
      ),
    ]);
    return { keycloak, newapi, kubernetes };
  }

  return {
    check(subject, signal) {
      const { spec } = subject;
      const concerned = [originAt(spec, "keycloak"), originAt(spec, "newapi"), KUBERNETES];
      return concerned.some(isInDoubt) ? undefined : checkAll(subject, signal);
    },
    doubt(name) {
      doubts += 1;
      return wellUntil.delete(name);
    },
  };
}

async function withClient<T>(
  of: Client<T>,
  unread: string,
  look: (client: T) => Promise<CheckResult>,
): Promise<CheckResult> {
  if (of.kind === "made") return look(of.client);
  return of.kind === "wrong" ? { kind: "checked", findings: [of.finding] } : { kind: "unreachable", message: unread };
}

async function problems(
  realm: Extract<TenantClients["realm"], { kind: "made" }>["client"],
  { keycloak, allow }: TenantSpec,
  signal: AbortSignal,
): Promise<Looked> {
  const found = await realm.check(
    {
      defaultGroups: keycloak.defaultGroups,
      allowedGroups: allow.groups,
      allowedRealmRoles: allow.realmRoles,
    },
    signal,
  );
  return { findings: found.map(finding) };
}

async function obstacles(
  gateway: Extract<TenantClients["gateway"], { kind: "made" }>["client"],
  { newapi }: TenantSpec,
  signal: AbortSignal,
): Promise<Looked> {
  const { problems: found, unknown } = await gateway.check({ tiers: [newapi.tier] }, signal);
  return { findings: found.map(finding), ...(unknown.length === 0 ? {} : { unknown }) };
}

function finding({ reason, message, blocking }: { reason: string; message: string; blocking: boolean }): Finding {
  return { reason, message, effect: blocking ? "blocks" : "advises" };
}

const UNREAD = "The API server does not answer, so the credential could not be read; it is tried again by itself.";

/** The same sentence on every replica, whatever the silence looked like from there; the log has the details. */
const SILENCE: Readonly<Record<Checked, (spec: TenantSpec) => string>> = {
  keycloak: ({ keycloak }) =>
    `Keycloak at ${keycloak.url} does not answer, or answers with errors; it is tried again by itself.`,
  newapi: ({ newapi }) =>
    `The gateway at ${newapi.url} does not answer, or answers with errors; it is tried again by itself.`,
  kubernetes: () =>
    "The API server does not answer questions about the tenant's namespaces; it is tried again by itself.",
};
