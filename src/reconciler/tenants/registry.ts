import type { Clock, Random } from "../../lib/clock.ts";
import type { TenantAccess, TenantRegistry } from "../access.ts";
import { type AccessChecks, makeAccessChecks } from "./accessChecks.ts";
import type { KnownTenant } from "./known.ts";

/** The Tenants that this process knows. Plain data: the tenants' room writes it, everybody reads it. */
export interface Registry extends TenantRegistry {
  /** By uid. For the room alone. */
  readonly known: Map<string, KnownTenant>;
  /** For the room alone. */
  readonly accessChecks: AccessChecks;
  /** Every namespace that a Tenant has. */
  namespaces(): readonly string[];
  /** Who has this id by what is accepted, worked with or not. */
  knownByID(tenantID: string): KnownTenant | undefined;
  /** From now on everybody reads what the entries say. */
  publish(): void;
  /** Resolves with the first `publish`. */
  readonly firstLoaded: Promise<void>;
}

export function makeTenantRegistry(deps: { readonly clock: Clock; readonly random: Random }): Registry {
  const known = new Map<string, KnownTenant>();
  const first = Promise.withResolvers<void>();
  let byID: ReadonlyMap<string, TenantAccess> = new Map();
  let byNamespace: ReadonlyMap<string, TenantAccess> = new Map();
  let isLoaded = false;

  return {
    known,
    accessChecks: makeAccessChecks(deps),
    get: (tenantID) => byID.get(tenantID),
    byNamespace: (namespace) => byNamespace.get(namespace),
    all: () => [...byID.values()],
    loaded: () => isLoaded,
    namespaces: () => [...byNamespace.keys()],
    knownByID: (tenantID) => [...known.values()].find(({ acceptance }) => acceptance.accepted?.tenantID === tenantID),
    publish() {
      const worked = [...known.values()].flatMap(({ published, acceptance: { accepted } }) =>
        published === undefined ? [] : [{ access: published.access, namespaces: accepted?.namespaces ?? [] }],
      );
      byID = new Map(worked.map(({ access }) => [access.tenantID, access]));
      // By what is granted now, also while an older spec is still worked with: a namespace has one owner at any moment.
      byNamespace = new Map(
        worked.flatMap(({ access, namespaces }) => namespaces.map((name) => [name, access] as const)),
      );
      isLoaded = true;
      first.resolve();
    },
    firstLoaded: first.promise,
  };
}
