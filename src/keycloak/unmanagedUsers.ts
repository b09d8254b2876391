/** The people who were in a realm before us: who they are, and whether they may be taken over. Reads only. */
import type { UnmanagedUser } from "../api/operator.ts";
import { canonicalEmail } from "../api/names.ts";
import { adoptionObstacle } from "./adopt.ts";
import type { Facts } from "./facts.ts";
import type { Groups } from "./groups.ts";
import { marksOf } from "./marks.ts";
import { profileIn } from "./profileFields.ts";
import type { UnmanagedUsersPage } from "./realm.ts";
import { type User, usersAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";
import { adoptionFactsOf } from "./adoptionFacts.ts";

/** Each of them costs four calls, so that a page takes a second or two. */
const PAGE = 50;

/** One page of the realm's users, without those that carry a mark of ours, be it one. */
export async function unmanagedUsers(
  { facts, groups }: { readonly facts: Facts; readonly groups: Groups },
  ask: Ask,
  request: { readonly first: number; readonly allowedGroups: readonly string[] },
): Promise<UnmanagedUsersPage> {
  const { first } = request;
  const users = await ask("reading the realm's users", usersAnswer, (client) =>
    client.users.find({ first, max: PAGE, briefRepresentation: false }),
  );
  const rules = {
    allowedGroupIDs: await groups.ids(ask, request.allowedGroups),
    defaultRole: (await facts.settings(ask)).defaultRole?.name,
  };
  const found: UnmanagedUser[] = [];
  for (const user of users) {
    const { tenantID, uuid } = marksOf(user);
    if (tenantID !== undefined || uuid !== undefined || user.serviceAccountClientId !== undefined) continue;
    found.push(described(user, await obstacle(facts, ask, user, rules)));
  }
  return { unmanagedUsers: found, next: users.length < PAGE ? undefined : first + PAGE };
}

async function obstacle(
  facts: Facts,
  ask: Ask,
  user: User,
  rules: { readonly allowedGroupIDs: ReadonlySet<string>; readonly defaultRole: string | undefined },
): Promise<string | undefined> {
  if (user.email === undefined || user.email === "") return "it has no email";
  return adoptionObstacle(await adoptionFactsOf(facts, ask, user), { ...rules, email: canonicalEmail(user.email) });
}

function described(user: User, why: string | undefined): UnmanagedUser {
  const { id, username, email, enabled = false } = user;
  return { id, username, email, enabled, ...profileIn(user), obstacle: why };
}
