/** What a saga must know of its realm, read at most once a minute. */
import { REASON } from "../api/reasons.ts";
import type { Clock } from "../lib/clock.ts";
import { TerminalError } from "../lib/errors.ts";
import { makeMemo } from "./memo.ts";
import { clientsAnswer, type Profile, profileAnswer, realmAnswer, type RealmSettings } from "./representations.ts";
import type { Ask } from "./session.ts";

export interface Facts {
  settings(ask: Ask): Promise<RealmSettings>;
  profile(ask: Ask): Promise<Profile>;
  /** Internal id of client realm-management, whose roles make administrators. */
  realmManagementID(ask: Ask): Promise<string>;
  forget(): void;
}

export function makeFacts(deps: { realm: string; clock: Clock }): Facts {
  const settings = makeMemo<RealmSettings>(deps.clock);
  const profile = makeMemo<Profile>(deps.clock);
  const realmManagement = makeMemo<string>(deps.clock);

  return {
    settings: (ask) =>
      settings.get("", () =>
        ask("reading the realm's settings", realmAnswer, (client) => client.realms.findOne({ realm: deps.realm })),
      ),
    profile: (ask) =>
      profile.get("", () =>
        ask("reading the realm's user profile", profileAnswer, (client) => client.users.getProfile()),
      ),
    realmManagementID: (ask) =>
      realmManagement.get("", async () => {
        const clients = await ask("looking up client realm-management", clientsAnswer, (client) =>
          client.clients.find({ clientId: "realm-management" }),
        );
        const found = clients.find(({ clientId }) => clientId === "realm-management");
        if (found === undefined) {
          // Without it nobody could be told from an administrator, so nothing is written at all.
          throw new TerminalError({
            code: REASON.CredentialsRefused,
            neighbour: "keycloak",
            message: `Realm ${deps.realm} shows no client realm-management; grant our service account the role view-clients (realm "master" cannot be a tenant's).`,
          });
        }
        return found.id;
      }),
    forget() {
      settings.forget();
      profile.forget();
      realmManagement.forget();
    },
  };
}
