import { REASON } from "../../api/reasons.ts";
import type { DialectName, TenantSpec } from "../../api/tenant.ts";
import type { GatewaySettings } from "../../gateway/dialect.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import type { Realm } from "../../keycloak/realm.ts";
import { isSagaError } from "../../lib/errors.ts";
import type { Sensitive } from "../../lib/sensitive.ts";
import { canonicalJSON } from "../../saga/revision.ts";
import type { Credential, TenantCredentials } from "./credentials.ts";
import type { Finding } from "../../saga/tenantReport.ts";

export interface RealmSettings {
  readonly url: string;
  readonly realm: string;
  readonly clientID: string;
  readonly clientSecret: Sensitive;
  /** PEM, to trust beside the system's own. */
  readonly caBundle: string | undefined;
}

/** An upstream's client, or why there is none. */
export type Client<T> =
  | { readonly kind: "made"; readonly client: T }
  | { readonly kind: "wrong"; readonly finding: Finding }
  | { readonly kind: "unread" };

export interface TenantClients {
  readonly realm: Client<Realm>;
  readonly gateway: Client<Gateway>;
}

export interface ClientFactories {
  /** May throw a TerminalError: settings that can never work. */
  readonly makeRealm: (settings: RealmSettings) => Realm;
  readonly makeGateway: (settings: GatewaySettings & { readonly dialect: DialectName }) => Gateway;
}

/** One tenant's clients, made again only when address or credential change: they keep tokens and what they learned. */
export function makeTenantClients(factories: ClientFactories) {
  const realm = remembered<Realm>();
  const gateway = remembered<Gateway>();

  return ({ tenantID, keycloak, newapi }: TenantSpec, credentials: TenantCredentials): TenantClients => ({
    realm: realm(
      credentials.keycloak,
      { url: keycloak.url, realm: keycloak.realm, ca: keycloak.caBundle, version: credentials.versions.keycloak },
      (value) =>
        factories.makeRealm({ url: keycloak.url, realm: keycloak.realm, caBundle: keycloak.caBundle, ...value }),
    ),
    gateway: gateway(
      credentials.newapi,
      { tenantID, url: newapi.url, dialect: newapi.dialect, version: credentials.versions.newapi },
      (credential) => factories.makeGateway({ tenantID, url: newapi.url, dialect: newapi.dialect, credential }),
    ),
  });
}

function remembered<T>() {
  let last: { key: string; client: Client<T> } | undefined;
  return <Value>(
    credential: Credential<Value>,
    settings: { readonly url: string; readonly [name: string]: unknown },
    make: (value: Value) => T,
  ): Client<T> => {
    // Of an international host only its decoding tells whether it is one, which no rule of the API server can do.
    if (!URL.canParse(settings.url)) return { kind: "wrong", finding: unreadable(settings.url) };
    if (credential.kind !== "present") return credential;
    const key = canonicalJSON(settings);
    if (last?.key !== key) last = { key, client: attempt(() => make(credential.value)) };
    return last.client;
  };
}

function unreadable(url: string): Finding {
  return {
    reason: REASON.InvalidSpec,
    message: `The address ${JSON.stringify(url)} cannot be read; correct it in the Tenant's spec.`,
    effect: "blocks",
  };
}

function attempt<T>(make: () => T): Client<T> {
  try {
    return { kind: "made", client: make() };
  } catch (error) {
    if (!isSagaError(error)) throw error;
    return { kind: "wrong", finding: { reason: error.code, message: error.message, effect: "blocks" } };
  }
}
