/** One tenant's realm as the saga sees it: `Realm`, on @keycloak/keycloak-admin-client. */
import type { Clock } from "../lib/clock.ts";
import type { Sensitive } from "../lib/sensitive.ts";
import { checkRealm } from "./check.ts";
import { type AdminClients, makeAdminClients, type Server } from "./connection.ts";
import { drifted } from "./drift.ts";
import { ensureUser, type Parts } from "./ensure.ts";
import { makeFacts } from "./facts.ts";
import { makeGroups } from "./groups.ts";
import { makeNewcomers } from "./newcomers.ts";
import type { Realm } from "./realm.ts";
import { makeRoles } from "./roles.ts";
import { makeSession } from "./session.ts";
import { strangers } from "./strangers.ts";
import { makeTokens } from "./token.ts";
import { dispatcherTrusting } from "./trust.ts";
import { deleteUser, findUser, invite, releaseUser, setEnabled, uuidByEmail } from "./users.ts";

export interface RealmConfig {
  /** Keycloak's address, without the realm and without a slash at the end. */
  readonly url: string;
  readonly realm: string;
  readonly clientID: string;
  readonly clientSecret: Sensitive;
  readonly clock: Clock;
  /** PEM. Trusted for this realm's calls alone, beside what the process trusts. */
  readonly caBundle?: string | undefined;
  /** Shared by all realms of a process; without, this realm has its own. */
  readonly clients?: AdminClients;
}

/** Make one per tenant and credential, and keep it: it holds the token and what it knows of the realm. */
export function makeRealm(config: RealmConfig): Realm {
  const { clock, realm } = config;
  const server: Server = {
    url: config.url,
    realm,
    dispatcher: config.caBundle === undefined ? undefined : dispatcherTrusting(config.caBundle),
  };
  const tokens = makeTokens({ ...server, clientID: config.clientID, clientSecret: config.clientSecret, clock });
  const newcomers = makeNewcomers({ clock });
  const { clients = makeAdminClients() } = config;
  const session = makeSession({ server, clients, tokens, clock, away: () => newcomers.forget() });
  const facts = makeFacts({ realm, clock });
  const parts: Parts = {
    realm,
    facts,
    groups: makeGroups({ facts, clock }),
    roles: makeRoles({ facts, clock }),
    newcomers,
  };

  return {
    ensureUser: (user, hint, adoption, signal) => ensureUser(parts, session(signal, user.uuid), user, hint, adoption),
    uuidByEmail: (email, tenantID, signal) => uuidByEmail(session(signal), email, tenantID),
    findUser: (uuid, tenantID, signal) => findUser(session(signal, uuid), uuid, tenantID),
    setEnabled: (uuid, tenantID, userID, enabled, signal) =>
      setEnabled(parts, session(signal, uuid), { uuid, tenantID, userID }, enabled),
    deleteUser: (uuid, tenantID, userID, signal) =>
      deleteUser(parts, session(signal, uuid), { uuid, tenantID, userID }),
    releaseUser: (uuid, tenantID, userID, managed, signal) =>
      releaseUser(session(signal, uuid), { uuid, tenantID, userID }, managed),
    invite: (userID, actions, signal) => invite(session(signal), userID, actions),
    drifted: (users, signal) => drifted(parts, session(signal), users),
    strangers: (request, signal) => strangers(facts, session(signal), request),
    check: (request, signal) =>
      checkRealm({ ...parts, clientID: config.clientID, tokens }, session(signal), request, signal),
  };
}
