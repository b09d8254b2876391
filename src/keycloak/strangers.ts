/** The people who were in a realm before us: who they are, and whether they may be taken over. Reads only. */
import type { Stranger } from "../api/operator.ts";
import { canonicalEmail } from "../api/names.ts";
import { adoptionObstacle } from "./adopt.ts";
import type { Facts } from "./facts.ts";
import { groupPath } from "./groups.ts";
import { marksOf } from "./marks.ts";
import { DISPLAY_NAME } from "./merge.ts";
import type { StrangersPage } from "./realm.ts";
import { type User, usersAnswer } from "./representations.ts";
import type { Ask } from "./session.ts";
import { standingOf } from "./standing.ts";

/** Each of them costs four calls, so that a page takes a second or two. */
const PAGE = 50;

/** One page of the realm's users, without those that carry a mark of ours, be it one. */
export async function strangers(
  facts: Facts,
  ask: Ask,
  request: { readonly first: number; readonly allowedGroups: readonly string[] },
): Promise<StrangersPage> {
  const { first } = request;
  const users = await ask("reading the realm's users", usersAnswer, (client) =>
    client.users.find({ first, max: PAGE, briefRepresentation: false }),
  );
  const rules = {
    allowedGroups: request.allowedGroups.map(groupPath),
    defaultRole: (await facts.settings(ask)).defaultRole?.name,
  };
  const found: Stranger[] = [];
  for (const user of users) {
    const { tenantID, uuid } = marksOf(user);
    if (tenantID !== undefined || uuid !== undefined || user.serviceAccountClientId !== undefined) continue;
    found.push(described(user, await obstacle(facts, ask, user, rules)));
  }
  return { strangers: found, next: users.length < PAGE ? undefined : first + PAGE };
}

async function obstacle(
  facts: Facts,
  ask: Ask,
  user: User,
  rules: { readonly allowedGroups: readonly string[]; readonly defaultRole: string | undefined },
): Promise<string | undefined> {
  if (user.email === undefined || user.email === "") return "it has no email";
  return adoptionObstacle(await standingOf(facts, ask, user), { ...rules, email: canonicalEmail(user.email) });
}

function described(user: User, why: string | undefined): Stranger {
  const { id, username, email, enabled = false, firstName, lastName } = user;
  return {
    id,
    username,
    email,
    enabled,
    firstName,
    lastName,
    displayName: user.attributes?.[DISPLAY_NAME]?.[0],
    obstacle: why,
  };
}
