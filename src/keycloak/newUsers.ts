/** In a rush of new users, one list of the tenant's marked users in the place of a search for each. */
import type { Clock } from "../lib/clock.ts";
import { MARK_TENANT_ID } from "../api/meta.ts";
import { marksOf } from "./marks.ts";
import { usersAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";

/** Searches before a list is worth its while. */
const RUSH = 25;
/** A realm with more of them is not listed: each search costs less than all of it. */
const MOST = 2_000;
const GOOD_FOR_MS = 10 * 60_000;

/** Somebody for whom nothing was begun yet, as far as the database of this worker session knows. */
export interface NewUser {
  readonly tenantID: string;
  readonly uuid: string;
  readonly session: number;
}

export interface NewUsers {
  /**
   * True: no user of the realm carries this uuid. False: search. Whoever marks a user has recorded that it will in the
   * same database, so a list stays true for those who are new to that database: until its session ends, for a database
   * that was lost or put back ends every session.
   */
  areNowhere(ask: Ask, newUser: NewUser): Promise<boolean>;
  /** Keycloak was away: it may have come back as it was earlier. */
  forget(): void;
}

interface Knowledge {
  readonly session: number;
  searches: number;
  listing: boolean;
  /** The uuids that were there. */
  listed?: { readonly uuids: ReadonlySet<string>; readonly at: number };
  tooMany: boolean;
}

/** One per realm and tenant. */
export function makeNewUsers({ clock }: { readonly clock: Clock }): NewUsers {
  let known: Knowledge | undefined;

  function knowledge(session: number): Knowledge {
    const { listed } = known ?? {};
    const old = listed !== undefined && clock.now() - listed.at > GOOD_FOR_MS;
    if (known?.session !== session || old) known = { session, searches: 0, listing: false, tooMany: false };
    return known;
  }

  async function list(ask: Ask, into: Knowledge, tenantID: string): Promise<void> {
    into.listing = true;
    try {
      const at = clock.now();
      // One answer and no pages: between two of them a user can move from the one to the other.
      const users = await ask("listing the tenant's users", usersAnswer, (client) =>
        client.users.find({ q: `${MARK_TENANT_ID}:${tenantID}`, first: 0, max: MOST + 1 }),
      );
      if (users.length > MOST) into.tooMany = true;
      else into.listed = { uuids: new Set(users.flatMap((user) => marksOf(user).uuid ?? [])), at };
    } finally {
      into.listing = false;
    }
  }

  return {
    async areNowhere(ask, { tenantID, uuid, session }) {
      const now = knowledge(session);
      if (now.listed === undefined) {
        now.searches += 1;
        if (now.searches <= RUSH || now.listing || now.tooMany) return false;
        await list(ask, now, tenantID);
      }
      return now === known && now.listed !== undefined && !now.listed.uuids.has(uuid);
    },
    forget: () => {
      known = undefined;
    },
  };
}
