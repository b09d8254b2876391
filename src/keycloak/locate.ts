/** Finding users: by id, by mark, by address. A search is a hint; only the marks on the user itself decide. */
import { REASON } from "../api/reasons.ts";
import { MARK_USER_UUID } from "../api/meta.ts";
import { isOurs } from "./marks.ts";
import { systemClock } from "../lib/clock.ts";
import { readPages } from "../lib/paging.ts";
import { type User, userAnswer, usersAnswer } from "./representations.ts";
import { type Ask, orMissing } from "./session.ts";
import { terminal } from "./failures.ts";

const PAGE = 100;
/** Of those that carry one uuid; more are no answer, and neither is one that takes longer. */
const MOST = 1_000;
const WITHIN_MS = 10_000;

export interface Located {
  readonly ours: User | undefined;
  /** The user that the hint names, when it is there but not (or no longer) ours. */
  readonly stray: User | undefined;
}

/** Ours by id, else by mark. Throws `UserClaimed` when several users carry the same marks: a person must choose. */
export async function locate(ask: Ask, tenantID: string, uuid: string, hint: string | undefined): Promise<Located> {
  const hinted = hint === undefined || hint === "" ? undefined : await byID(ask, hint);
  if (hinted !== undefined && isOurs(hinted, tenantID, uuid)) return { ours: hinted, stray: undefined };
  const marked = await byMarks(ask, tenantID, uuid);
  if (marked.length > 1) {
    throw terminal(
      REASON.UserClaimed,
      `Keycloak has ${marked.length} users with the marks of ${uuid} (${marked.map(({ id }) => id).join(", ")}); remove the marks from all but the right one.`,
    );
  }
  return { ours: marked[0], stray: hinted };
}

export function byID(ask: Ask, id: string): Promise<User | undefined> {
  return orMissing(ask("reading a user", userAnswer, (client) => client.users.findOne({ id })));
}

/** By the uuid alone, which hardly anybody shares: a tenant's mark is on all its users, and asking for both costs half more. */
async function byMarks(ask: Ask, tenantID: string, uuid: string): Promise<User[]> {
  const ours: User[] = [];
  const paging = {
    what: "the users with a mark",
    upstream: "keycloak",
    code: REASON.UpstreamUnavailable,
    pageSize: PAGE,
    mostItems: MOST,
  } as const;
  await readPages(
    { ...paging, withinMs: WITHIN_MS, clock: systemClock },
    (first) =>
      ask("looking up a user by its marks", usersAnswer, (client) =>
        client.users.find({ q: `${MARK_USER_UUID}:${uuid}`, first, max: PAGE }),
      ),
    (user) => {
      if (isOurs(user, tenantID, uuid)) ours.push(user);
    },
  );
  return ours;
}

export function byEmail(ask: Ask, email: string): Promise<User[]> {
  return ask("looking up a user by email", usersAnswer, (client) =>
    client.users.find({ email, exact: true, max: PAGE }),
  );
}

export function byUsername(ask: Ask, username: string): Promise<User[]> {
  return ask("looking up a user by username", usersAnswer, (client) =>
    client.users.find({ username, exact: true, max: PAGE }),
  );
}

/** Whoever may stand in the way of this person's address, each once. */
export async function inTheWay(ask: Ask, wanted: { email: string; tenantID: string; uuid: string }): Promise<User[]> {
  const found = [
    ...(await byUsername(ask, wanted.email)),
    ...(await byEmail(ask, wanted.email)),
    ...(await byMarks(ask, wanted.tenantID, wanted.uuid)),
  ];
  return [...new Map(found.map((user) => [user.id, user])).values()];
}
