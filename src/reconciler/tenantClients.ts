import type { Dialect, TenantSpec } from "../api/tenant.ts";
import type { Realm } from "../keycloak/realm.ts";
import { isSagaError } from "../lib/errors.ts";
import type { Sensitive } from "../lib/sensitive.ts";
import type { Gateway } from "../newapi/gateway.ts";
import { canonicalJSON } from "../saga/revision.ts";
import type { Credential, TenantCredentials } from "./credentials.ts";
import type { Finding } from "../saga/tenantReport.ts";

export interface RealmSettings {
  readonly url: string;
  readonly realm: string;
  readonly clientID: string;
  readonly clientSecret: Sensitive;
  /** PEM, to trust beside the system's own. */
  readonly caBundle: string | undefined;
}

export interface GatewaySettings {
  readonly tenantID: string;
  readonly dialect: Dialect;
  readonly url: string;
  readonly token: Sensitive;
  /** Dialect new-api only: whose token it is. */
  readonly userID: string | undefined;
}

/** A neighbour's client, or why there is none. */
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
  readonly makeGateway: (settings: GatewaySettings) => Gateway;
}

/** One tenant's clients, made anew only when address or credential change: they keep tokens and what they learned. */
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
      (value) => factories.makeGateway({ tenantID, url: newapi.url, dialect: newapi.dialect, ...value }),
    ),
  });
}

function remembered<T>() {
  let last: { key: string; client: Client<T> } | undefined;
  return <Value>(credential: Credential<Value>, settings: object, make: (value: Value) => T): Client<T> => {
    if (credential.kind !== "present") return credential;
    const key = canonicalJSON(settings);
    if (last?.key !== key) last = { key, client: attempt(() => make(credential.value)) };
    return last.client;
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
