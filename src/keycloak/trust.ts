/** A tenant's own certificate authority, for that tenant's calls alone. */
import { X509Certificate } from "node:crypto";
import { getCACertificates } from "node:tls";
import { REASON } from "../api/reasons.ts";
import type { Clock } from "../lib/clock.ts";
import { TerminalError } from "../lib/errors.ts";
import { terminal } from "./failures.ts";

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
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the class of an object known to be a dispatcher
  const Agent = sharedDispatcher().constructor as DispatcherClass;
  return new Agent({ connect: { ca: [...getCACertificates("default"), ...certificates] } });
}

/** How long a dispatcher that nobody uses is kept: longer than any call takes. */
const UNUSED_MS = 10 * 60_000;

export interface Trust {
  /** For the calls that begin now: it may be another one for later ones. Throws TerminalError like `dispatcherTrusting`. */
  dispatcherFor(caBundle: string): Dispatcher;
  /** How many are open. */
  size(): number;
}

/**
 * One dispatcher for each authority, shared by all who trust it: a dispatcher keeps its connections. One that nobody has
 * used for a while is closed; a bundle that was replaced, or a Tenant that is gone, leaves none behind.
 */
export function makeTrust(clock: Clock): Trust {
  const held = new Map<string, { readonly dispatcher: Dispatcher; usedAt: number }>();
  return {
    dispatcherFor(caBundle) {
      const now = clock.now();
      const entry = held.get(caBundle) ?? { dispatcher: dispatcherTrusting(caBundle), usedAt: now };
      entry.usedAt = now;
      held.set(caBundle, entry);
      for (const [bundle, { dispatcher, usedAt }] of held) {
        if (usedAt > now - UNUSED_MS) continue;
        held.delete(bundle);
        // In an orderly way: what is under way ends by its own deadline.
        dispatcher.close().catch(() => undefined);
      }
      return entry.dispatcher;
    },
    size: () => held.size,
  };
}

/** What the built-in fetch goes through where nothing else is given. */
export function sharedDispatcher(): Dispatcher {
  // Reading the Headers class loads the built-in fetch, which then publishes its dispatcher under this symbol.
  void new Headers();
  const shared: unknown = Reflect.get(globalThis, Symbol.for("undici.globalDispatcher.1"));
  if (isDispatcher(shared)) return shared;
  throw refused("This Node does not let the way of its fetch be chosen; run the version that package.json names.");
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
  return terminal(REASON.RequestRefused, message);
}
