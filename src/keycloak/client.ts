/** One tenant's realm as the saga sees it: `Realm`, on @keycloak/keycloak-admin-client. */
import type { ObserveCall } from "../api/upstreamOperations.ts";
import type { Clock } from "../lib/clock.ts";
import { usableID } from "../lib/ids.ts";
import type { Sensitive } from "../lib/sensitive.ts";
import { checkRealm } from "./check.ts";
import { type AdminClients, makeAdminClients, type Server } from "./adminClients.ts";
import { driftedUsers } from "./userDrift.ts";
import { ensureUser } from "./ensure.ts";
import type { Parts } from "./parts.ts";
import { makeFacts } from "./facts.ts";
import { makeGroups } from "./groups.ts";
import { makeMemory } from "./memo.ts";
import { makeNewUsers } from "./newUsers.ts";
import type { Realm } from "./realm.ts";
import { makeRoles } from "./roles.ts";
import { makeSession } from "./session.ts";
import { unmanagedUsers } from "./unmanagedUsers.ts";
import { makeTokens } from "./token.ts";
import { makeTrust, type Trust } from "./trust.ts";
import {
  deleteUser,
  findUser,
  invite,
  releaseUser,
  restoreEmail,
  setEnabled,
  takeAddress,
  uuidByEmail,
} from "./users.ts";

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
  /** The same. */
  readonly trust?: Trust;
  /** For metrics and traces: every request. */
  readonly observe?: ObserveCall;
}

/** Make one per tenant and credential, and keep it: it holds the token and what it knows of the realm. */
export function makeRealm(config: RealmConfig): Realm {
  const { clock, realm } = config;
  const { trust = makeTrust(clock), caBundle } = config;
  // Now, for a bundle that nobody can read.
  if (caBundle !== undefined) trust.dispatcherFor(caBundle);
  const server: Server = {
    url: config.url,
    realm,
    dispatcher: () => (caBundle === undefined ? undefined : trust.dispatcherFor(caBundle)),
    observe: config.observe,
  };
  const tokens = makeTokens({ ...server, clientID: config.clientID, clientSecret: config.clientSecret, clock });
  const newUsers = makeNewUsers({ clock });
  const { clients = makeAdminClients() } = config;
  const memory = makeMemory(clock);
  const session = makeSession({
    server,
    clients,
    tokens,
    clock,
    away: () => newUsers.forget(),
    gone: () => memory.forget(),
  });
  const facts = makeFacts({ realm, memory });
  const parts: Parts = {
    realm,
    memory,
    facts,
    groups: makeGroups({ facts, memory }),
    roles: makeRoles({ facts, memory }),
    newUsers,
  };

  return {
    ensureUser: (user, hint, adoption, signal) =>
      ensureUser(parts, session(signal, user.uuid), user, usableID(hint), adoption),
    uuidByEmail: (email, tenantID, signal) => uuidByEmail(session(signal), email, tenantID),
    restoreEmail: (holder, own, signal) => restoreEmail(parts, session(signal, holder.uuid), holder, own),
    takeAddress: (holder, email, signal) => takeAddress(parts, session(signal, holder.uuid), holder, email),
    findUser: (uuid, tenantID, signal) => findUser(session(signal, uuid), uuid, tenantID),
    setEnabled: (uuid, tenantID, userID, enabled, signal) =>
      setEnabled(parts, session(signal, uuid), { uuid, tenantID, userID: usableID(userID) }, enabled),
    deleteUser: (uuid, tenantID, userID, signal) =>
      deleteUser(parts, session(signal, uuid), { uuid, tenantID, userID: usableID(userID) }),
    releaseUser: (uuid, tenantID, userID, managed, signal) =>
      releaseUser(parts, session(signal, uuid), { uuid, tenantID, userID: usableID(userID) }, managed),
    invite: (userID, actions, signal) => invite(session(signal), userID, actions),
    drifted: (users, signal) => driftedUsers(parts, session(signal), users),
    unmanagedUsers: (request, signal) => unmanagedUsers(parts, session(signal), request),
    check: (request, signal) =>
      checkRealm({ ...parts, clientID: config.clientID, tokens }, session(signal), request, signal),
    identity: (signal) => facts.identity(session(signal)),
  };
}
