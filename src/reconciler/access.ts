import type { TenantSpec } from "../api/tenant.ts";
import type { Gateway } from "../newapi/gateway.ts";
import type { Realm } from "../keycloak/realm.ts";
import type { TenantNeighbour } from "../saga/decide.ts";

/** One tenant as the saga works with it: the last accepted spec, never the newest written one. */
export interface TenantAccess {
  readonly tenantID: string;
  /** Name of the Tenant object. */
  readonly name: string;
  readonly spec: TenantSpec;
  /** Changes with the accepted spec and with the credentials: a saga that was handled under another one looks again. */
  readonly revision: string;
  /** Whether the checks against the neighbours let users be made. Sagas wait (`TenantNotReady`) while false. */
  readonly ready: boolean;
  /** One sentence for those who wait; empty when ready. */
  readonly notReadyMessage: string;
  /** Whether no other Tenant uses the same realm: adoption is allowed only then. */
  readonly realmIsExclusive: boolean;
  /** Undefined while the credentials are missing. */
  readonly realm: Realm | undefined;
  readonly gateway: Gateway | undefined;
}

/** Scheme, host and port of one of its neighbours. */
export function originAt(spec: TenantSpec, neighbour: TenantNeighbour): string {
  const { url } = spec[neighbour];
  return URL.canParse(url) ? new URL(url).origin : url;
}

/** The tenants this process knows; kept current by the tenant loop. */
export interface TenantRegistry {
  get(tenantID: string): TenantAccess | undefined;
  byNamespace(namespace: string): TenantAccess | undefined;
  all(): readonly TenantAccess[];
  /** True once the first list of Tenants was taken in: before that, "no Tenant" is not known. */
  loaded(): boolean;
}
