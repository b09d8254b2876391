import { answers } from "../lib/http.ts";
import { type Dispatcher, dispatcherTrusting } from "../keycloak/trust.ts";
import { originAt, type TenantRegistry } from "./access.ts";

/**
 * One cheap look whether anybody answers at an origin, with the trust of a tenant who is there: behind a certificate
 * authority of its own, a Keycloak that is back would look dead for ever.
 */
export function makeProbe(tenants: Pick<TenantRegistry, "all">) {
  /** The last one by origin; a dispatcher keeps its connections. */
  const trusted = new Map<string, { caBundle: string; dispatcher: Dispatcher }>();

  function trustAt(origin: string): Dispatcher | undefined {
    const caBundle = tenants
      .all()
      .find(({ spec }) => spec.keycloak.caBundle !== undefined && originAt(spec, "keycloak") === origin)?.spec
      .keycloak.caBundle;
    if (caBundle === undefined) return undefined;
    const held = trusted.get(origin);
    if (held?.caBundle === caBundle) return held.dispatcher;
    const dispatcher = dispatcherTrusting(caBundle);
    trusted.set(origin, { caBundle, dispatcher });
    return dispatcher;
  }

  return async (origin: string, signal: AbortSignal): Promise<boolean> => answers(origin, signal, trustAt(origin));
}
