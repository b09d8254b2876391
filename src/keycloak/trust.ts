/** A tenant's own certificate authority, for that tenant's calls alone. */
import { X509Certificate } from "node:crypto";
import { getCACertificates } from "node:tls";
import { REASON } from "../api/reasons.ts";
import { TerminalError } from "../lib/errors.ts";

export type Dispatcher = NonNullable<RequestInit["dispatcher"]>;
type DispatcherClass = new (options: { connect: { ca: string[] } }) => Dispatcher;

/**
 * A dispatcher for the built-in fetch that trusts `caBundle` (PEM) beside what the process trusts.
 * `tls.setDefaultCACertificates` would be simpler, but it would let one tenant's authority vouch for every other
 * tenant's server. The class comes from the built-in fetch itself: an Agent of another undici must not be mixed with it.
 */
export function dispatcherTrusting(caBundle: string): Dispatcher {
  const certificates = caBundle.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length === 0 || !certificates.every(isCertificate)) {
    throw refused("spec.keycloak.caBundle of the Tenant holds no readable PEM certificate; correct it.");
  }
  // Reading the Headers class loads the built-in fetch, which then publishes its dispatcher under this symbol.
  void new Headers();
  const shared: unknown = Reflect.get(globalThis, Symbol.for("undici.globalDispatcher.1"));
  if (!isDispatcher(shared)) {
    throw refused(
      "This Node cannot trust one tenant's caBundle alone; set NODE_EXTRA_CA_CERTS for the process instead.",
    );
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the class of an object known to be a dispatcher
  const Agent = shared.constructor as DispatcherClass;
  return new Agent({ connect: { ca: [...getCACertificates("default"), ...certificates] } });
}

function isDispatcher(value: unknown): value is Dispatcher {
  return typeof value === "object" && value !== null && "dispatch" in value && typeof value.dispatch === "function";
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function refused(message: string): TerminalError {
  return new TerminalError({ code: REASON.RequestRefused, neighbour: "keycloak", message });
}
