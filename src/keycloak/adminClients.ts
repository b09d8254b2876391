/**
 * How a call leaves: through @keycloak/keycloak-admin-client, with a client of its own for each call.
 *
 * What the library does not offer by itself it hands through: `requestOptions` goes to fetch as it is, so the
 * idempotency header, the manual redirect, a tenant's own CA, the limit of an answer and the signal travel there. The library's types leave
 * `signal` out (its `timeout` replaces it, which no caller could cut); the contract test "cuts a call by its signal"
 * guards this across upgrades. 404s are never swallowed (`catchNotFound`): whose 404 it was is decided in classify.
 * Nothing is retried here: retries are data in Postgres.
 */
import KeycloakAdminClient from "@keycloak/keycloak-admin-client";
import type { Sensitive } from "../lib/sensitive.ts";
import { bounded } from "./bounded.ts";
import type { Dispatcher } from "./trust.ts";
import type { ObserveCall } from "../api/upstreamOperations.ts";

export interface Server {
  /** Without the realm and without a slash at the end. */
  readonly url: string;
  readonly realm: string;
  /** For a call that begins now. */
  readonly dispatcher: () => Dispatcher | undefined;
  /** For metrics and traces: every request. */
  readonly observe?: ObserveCall | undefined;
}

const ARGUMENTS = { catchNotFound: false };

/** How one call is made. */
export interface CallOptions {
  readonly signal: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A client that nobody else has, for a login. */
export function adminClient(server: Server, call: CallOptions): KeycloakAdminClient {
  return new KeycloakAdminClient({
    baseUrl: server.url,
    realmName: server.realm,
    requestOptions: requestOptions(server, call),
    requestArgOptions: ARGUMENTS,
  });
}

export interface AdminClients {
  /**
   * Lends `use` a client that asks this server with this token. It is its own until the promise settles, so `use` makes
   * one call and waits for it.
   */
  lend<T>(
    server: Server,
    token: Sensitive,
    call: CallOptions,
    use: (client: KeycloakAdminClient) => Promise<T>,
  ): Promise<T>;
}

/** Kept for the next calls; more at once are made and forgotten. */
const MOST_KEPT = 32;

interface Lent {
  readonly client: KeycloakAdminClient;
  token: Sensitive | undefined;
}

/** Clients for all realms of a process: each takes 0.1 MB and some tenths of a millisecond to make, several times a call's own. */
export function makeAdminClients(): AdminClients {
  const idle: Lent[] = [];

  function make(): Lent {
    const lent: Lent = { client: new KeycloakAdminClient({ requestArgOptions: ARGUMENTS }), token: undefined };
    lent.client.registerTokenProvider({
      getAccessToken: async () => {
        if (lent.token === undefined) throw new Error("a call to Keycloak outlived its client");
        return lent.token.reveal();
      },
    });
    return lent;
  }

  return {
    async lend(server, token, call, use) {
      const lent = idle.pop() ?? make();
      const { url: baseUrl, realm: realmName } = server;
      lent.client.setConfig({ baseUrl, realmName, requestOptions: requestOptions(server, call) });
      lent.token = token;
      try {
        return await use(lent.client);
      } finally {
        // Nothing of this tenant stays on it.
        lent.token = undefined;
        lent.client.setConfig({ requestOptions: {} });
        if (idle.length < MOST_KEPT) idle.push(lent);
      }
    },
  };
}

function requestOptions({ dispatcher, observe }: Server, { signal, headers = {} }: CallOptions) {
  return {
    headers: { ...headers },
    redirect: "manual" as const,
    dispatcher: bounded(dispatcher(), observe),
    signal,
  };
}
