import { answers } from "../lib/http.ts";
import type { Dispatcher, Trust } from "../keycloak/trust.ts";
import { originAt, type TenantRegistry } from "./access.ts";

/**
 * One cheap question whether anybody answers at an origin, with the trust of a tenant who is there: behind a certificate
 * authority of its own, a Keycloak that is back would look dead for ever.
 */
export function makeProbe(tenants: Pick<TenantRegistry, "all">, trust: Trust) {
  function trustAt(origin: string): Dispatcher | undefined {
    const caBundle = tenants
      .all()
      .find(({ spec }) => spec.keycloak.caBundle !== undefined && originAt(spec, "keycloak") === origin)?.spec
      .keycloak.caBundle;
    return caBundle === undefined ? undefined : trust.dispatcherFor(caBundle);
  }

  return async (origin: string, signal: AbortSignal): Promise<boolean> => answers(origin, signal, trustAt(origin));
}
