/**
 * How a call leaves: through @keycloak/keycloak-admin-client, one light client (0.1 ms) per call.
 *
 * What the library does not offer by itself it hands through: `requestOptions` goes to fetch as it is, so the
 * idempotency header, the manual redirect, a tenant's own CA and the signal travel there. The library's types leave
 * `signal` out (its `timeout` replaces it, which no caller could cut); the contract test "cuts a call by its signal"
 * guards this across upgrades. 404s are never swallowed (`catchNotFound`): whose 404 it was is decided in classify.
 * Nothing is retried here: retries are data in Postgres.
 */
import KeycloakAdminClient from "@keycloak/keycloak-admin-client";
import type { Dispatcher } from "./trust.ts";

export interface Server {
  /** Without the realm and without a slash at the end. */
  readonly url: string;
  readonly realm: string;
  readonly dispatcher: Dispatcher | undefined;
}

export function adminClient(
  server: Server,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): KeycloakAdminClient {
  const requestOptions = {
    headers: { ...headers },
    redirect: "manual" as const,
    ...(server.dispatcher === undefined ? {} : { dispatcher: server.dispatcher }),
    signal,
  };
  return new KeycloakAdminClient({
    baseUrl: server.url,
    realmName: server.realm,
    requestOptions,
    requestArgOptions: { catchNotFound: false },
  });
}
