import type { WantedAccount } from "../../gateway.ts";
import { corrections } from "./align.ts";
import { type UserID, userID } from "./ids.ts";
import { type User, type Users, USERS_AT_ONCE } from "./users.ts";

/** The uuids of those whose account is not as wanted, with as few calls as the gateway's size allows. */
export async function driftedAccounts(
  { users, adminID }: { readonly users: Users; readonly adminID: number },
  wanted: readonly WantedAccount[],
  pace: () => Promise<void>,
  signal: AbortSignal,
): Promise<string[]> {
  if (wanted.length === 0) return [];
  const all = new Set(wanted.flatMap((person) => userID(person.userID, adminID) ?? []));
  const found = new Map<UserID, User>();
  /** Of nobody else: how many accounts there are, and how much stands in them, is the gateway's choice. */
  const keep = (seen: readonly User[]): void =>
    seen.filter(({ id }) => all.has(id)).forEach((user) => found.set(user.id, user));

  const first = await users.page(1, signal);
  keep(first.users);
  const pages = Math.ceil(first.total / USERS_AT_ONCE);
  const ids = [...all].filter((id) => !found.has(id));
  if (pages - 1 <= ids.length) {
    for (let number = 2; number <= pages; number += 1) {
      await pace();
      keep((await users.page(number, signal)).users);
    }
  } else {
    // A few people in a gateway of many.
    for (const id of ids) {
      await pace();
      const user = await users.get(id, signal);
      if (user !== undefined) keep([user]);
    }
  }
  return wanted.filter((person) => differs(found.get(userID(person.userID, adminID) as UserID), person)).map(byUUID);
}

function differs(user: User | undefined, person: WantedAccount): boolean {
  if (user === undefined || user.deleted || user.enabled !== person.enabled) return true;
  const { fields, quotaLeft } = corrections(user, person);
  return fields !== undefined || quotaLeft !== undefined;
}

function byUUID({ uuid }: WantedAccount): string {
  return uuid;
}
