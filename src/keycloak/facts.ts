/** What a saga must know of its realm, read at most once a minute. */
import { hash } from "node:crypto";
import { REASON } from "../api/reasons.ts";
import type { Memory } from "./memo.ts";
import { clientsAnswer, type Profile, profileAnswer, realmAnswer, type RealmSettings } from "./representations.ts";
import type { Ask } from "./session.ts";
import { terminal } from "./failures.ts";

export interface Facts {
  settings(ask: Ask): Promise<RealmSettings>;
  profile(ask: Ask): Promise<Profile>;
  /** The realm's id, and, for that may have been imported, the one of a client that every realm has. */
  identity(ask: Ask): Promise<string>;
  /** Internal id of client realm-management, whose roles make administrators. */
  realmManagementID(ask: Ask): Promise<string>;
}

export function makeFacts(deps: { realm: string; memory: Memory }): Facts {
  const settings = deps.memory.memo<RealmSettings>();
  const profile = deps.memory.memo<Profile>();
  const realmManagement = deps.memory.memo<string>();

  const settingsOf = (ask: Ask): Promise<RealmSettings> =>
    settings.get("", () =>
      ask("reading the realm's settings", realmAnswer, (client) => client.realms.findOne({ realm: deps.realm })),
    );
  const realmManagementID = (ask: Ask): Promise<string> =>
    realmManagement.get("", async () => {
      const clients = await ask("looking up client realm-management", clientsAnswer, (client) =>
        client.clients.find({ clientId: "realm-management" }),
      );
      const found = clients.find(({ clientId }) => clientId === "realm-management");
      if (found === undefined) {
        // Without it nobody could be told from an administrator, so nothing is written at all.
        throw terminal(
          REASON.CredentialsRefused,
          `Realm ${deps.realm} shows no client realm-management; grant our service account the role view-clients (realm "master" cannot be a tenant's).`,
        );
      }
      return found.id;
    });

  return {
    settings: settingsOf,
    realmManagementID,
    identity: async (ask) => {
      const { id = "" } = await settingsOf(ask);
      return hash("sha256", JSON.stringify([id, await realmManagementID(ask)]));
    },
    profile: (ask) =>
      profile.get("", () =>
        ask("reading the realm's user profile", profileAnswer, (client) => client.users.getProfile()),
      ),
  };
}
