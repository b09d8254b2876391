import type { TenantSpec } from "../api/tenant.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { Realm } from "../keycloak/realm.ts";
import { originOf } from "../lib/http.ts";
import type { TenantUpstream } from "../saga/decide.ts";

/** One tenant as the saga works with it: the last accepted spec, never the newest written one. */
export interface TenantAccess {
  readonly tenantID: string;
  /** Name of the Tenant object. */
  readonly name: string;
  readonly spec: TenantSpec;
  /** Changes with the accepted spec and with the credentials: a saga that was handled under another one is due again. */
  readonly revision: string;
  /** Whether the checks of the upstreams let users be made. Sagas wait (`TenantNotReady`) while false. */
  readonly ready: boolean;
  /** One sentence for those who wait; empty when ready. */
  readonly notReadyMessage: string;
  /** Whether no other Tenant uses the same realm: adoption is allowed only then. */
  readonly realmIsExclusive: boolean;
  /** Undefined while the credentials are missing. */
  readonly realm: Realm | undefined;
  readonly gateway: Gateway | undefined;
}

export const UPSTREAMS = ["keycloak", "newapi"] as const satisfies readonly TenantUpstream[];

/** Scheme, host and port of one of its upstreams. */
export function originAt(spec: TenantSpec, upstream: TenantUpstream): string {
  return originOf(spec[upstream].url);
}

/** The ids of tenants of which an upstream stands behind one of these origins. Never throws, whatever a Tenant says. */
export function tenantsBehind(tenants: readonly TenantAccess[], origins: ReadonlySet<string>): string[] {
  if (origins.size === 0) return [];
  const stands = ({ spec }: TenantAccess): boolean =>
    UPSTREAMS.some((upstream) => origins.has(originAt(spec, upstream)));
  return tenants.filter(stands).map(({ tenantID }) => tenantID);
}

/** The tenants that this process knows, for whoever reads them; kept current by the tenants' loop. */
export interface TenantRegistry {
  get(tenantID: string): TenantAccess | undefined;
  byNamespace(namespace: string): TenantAccess | undefined;
  all(): readonly TenantAccess[];
  /** True once the first list of Tenants was taken in: before that, "no Tenant" is not known. */
  loaded(): boolean;
}
