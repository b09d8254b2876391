import type { TenantSpec } from "../../api/tenant.ts";
import { blocking, CHECKED, type Checks, conclusive } from "../../saga/tenantReport.ts";
import type { TenantAccess } from "../access.ts";
import type { TenantClients } from "./clients.ts";

/** What a Tenant would be worked with, were its upstreams asked and found well. */
export interface Candidate {
  readonly name: string;
  readonly deleting: boolean;
  readonly spec: TenantSpec;
  readonly revision: string;
  /** Results of checks are about one of these. */
  readonly checkKey: string;
  readonly clients: TenantClients;
  readonly realmIsExclusive: boolean;
}

export interface Published {
  readonly access: TenantAccess;
  readonly checkKey: string;
}

/**
 * What sagas work with from now on. `checks` are those of the candidate's key; `wasReady`: the mirror says that this very
 * revision was found ready.
 *
 * An upstream that does not answer changes nothing: a ready tenant stays ready, and what its new spec or credential needs
 * to have asked first (an allowed group might make administrators) waits with the old one in force. Were it taken over
 * unasked and not ready, a thousand users would stop being Ready for an upstream's restart.
 */
export function publish(
  current: Published | undefined,
  candidate: Candidate,
  checks: Checks | undefined,
  wasReady: boolean,
): Published {
  const as = (ready: boolean): Published => ({
    access: access(candidate, ready && !candidate.deleting, checks),
    checkKey: candidate.checkKey,
  });
  if (checks !== undefined && blocking(checks).length > 0) return as(false);
  if (checks !== undefined && conclusive(checks)) return as(true);
  if (current === undefined) return as(wasReady);
  if (current.checkKey === candidate.checkKey || !current.access.ready || candidate.deleting) {
    return as(current.checkKey === candidate.checkKey && current.access.ready);
  }
  // A stop does not wait for an upstream.
  const spec = { ...current.access.spec, suspend: candidate.spec.suspend };
  return { ...current, access: { ...current.access, spec, realmIsExclusive: candidate.realmIsExclusive } };
}

/** Whether anybody who works with the tenant sees a difference. */
export function sameAccess(a: TenantAccess | undefined, b: TenantAccess | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.revision === b.revision &&
    a.ready === b.ready &&
    a.notReadyMessage === b.notReadyMessage &&
    a.realmIsExclusive === b.realmIsExclusive &&
    a.spec.suspend === b.spec.suspend &&
    a.name === b.name &&
    a.realm === b.realm &&
    a.gateway === b.gateway
  );
}

function access(candidate: Candidate, ready: boolean, checks: Checks | undefined): TenantAccess {
  const { name, spec, revision, clients, realmIsExclusive } = candidate;
  return {
    tenantID: spec.tenantID,
    name,
    spec,
    revision,
    ready,
    notReadyMessage: ready ? "" : `Tenant ${JSON.stringify(name)} is not ready: ${why(candidate, checks)}`,
    realmIsExclusive: realmIsExclusive && !(checks?.keycloak.kind === "checked" && checks.keycloak.isShared === true),
    realm: clients.realm.kind === "made" ? clients.realm.client : undefined,
    gateway: clients.gateway.kind === "made" ? clients.gateway.client : undefined,
  };
}

function why({ deleting }: Candidate, checks: Checks | undefined): string {
  if (deleting) return "it is being deleted.";
  const wrong = blocking(checks)[0];
  if (wrong !== undefined) return wrong.message;
  const silent = CHECKED.map((upstream) => checks?.[upstream]).find((result) => result?.kind === "unreachable");
  return silent?.kind === "unreachable" ? silent.message : "the reconciler is checking its upstreams.";
}
