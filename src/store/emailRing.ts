import type { PoolClient } from "pg";
import { REASON } from "../api/reasons.ts";
import { isHere } from "../saga/otherUser.ts";
import type { SagaRow } from "../saga/row.ts";
import type { Queryable } from "./sagas.ts";

/** A living person who waits for an email that another has. */
interface EmailWish {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly has: string;
  readonly wants: string;
}

/**
 * Those of a tenant who would wait for each other for ever: this one wants what the next has, and so on, and the last
 * one wants what this one has. Undefined: it is no ring, or one that this one is not in. Under the tenant's lock.
 */
export async function ringOf(
  client: PoolClient,
  row: SagaRow,
  wanted: string,
): Promise<readonly EmailWish[] | undefined> {
  const { rows } = await client.query<EmailWish>({
    name: "email-wishes",
    text: `select s.object_uid as uid, s.object_namespace as namespace, s.object_name as name, s.email as has, w.email as wants
           from waiting w join user_provision_state s on s.object_uid = w.object_uid
           where w.tenant = $1 and w.why in ($2, $3) and s.confirmed_at is not null and s.voided_at is null
             and s.state not in ('deleting', 'deleted', 'retained', 'orphaned')`,
    values: [row.tenantID, REASON.EmailInUse, REASON.EmailCycle],
  });
  const byEmail = new Map(rows.map((wish) => [wish.has, wish]));
  const ring = new Set<EmailWish>();
  for (let wish = byEmail.get(wanted); wish !== undefined && !ring.has(wish); wish = byEmail.get(wish.wants)) {
    ring.add(wish);
    if (wish.uid === row.objectUID) return [...ring];
  }
  return undefined;
}

/** A ring may have as many as the tenant: so many are named. */
const MOST_NAMED = 5;

/** The same sentence for everybody of one namespace: the others are counted, not named. */
export function ringSentence(ring: readonly EmailWish[], reader: string | undefined): string {
  const here = ring.filter((wish) => isHere(reader, wish)).map(({ name }) => name);
  const away = ring.length - here.length;
  const elsewhere =
    away === 1
      ? "a TenantUser in another namespace of this tenant"
      : `${away} TenantUsers in other namespaces of this tenant`;
  const unnamed = here.length - MOST_NAMED;
  const names = [
    ...here.toSorted().slice(0, MOST_NAMED),
    ...(unnamed > 0 ? [`${unnamed} more`] : []),
    ...(away === 0 ? [] : [elsewhere]),
  ];
  const all = `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`;
  const what = ring.length > 2 ? "want each other's emails, in a ring" : "want each other's email";
  return `${all} ${what}; give one of them a third address first.`;
}

/** A ring has many ends: those who only waited so far are polled again, once, and are told the same. */
export async function tellRing(
  client: PoolClient,
  mine: string | undefined,
  ring: readonly EmailWish[],
): Promise<void> {
  await client.query({
    name: "tell-ring",
    text: `with told as (
             update waiting set why = $3 where object_uid = any($2::uuid[]) and why <> $3 returning object_uid
           )
           update user_provision_state set due_at = now(), touches = touches + 1
           where object_uid in (select object_uid from told) and object_uid <> $1 and confirmed_at is not null`,
    values: [mine, ring.map(({ uid }) => uid), REASON.EmailCycle],
  });
}

/** One of a ring wants something else by now: the others of the tenant who were told of one are polled again. */
export async function leaveRing(db: Queryable, tenantID: string, mine: string | undefined): Promise<void> {
  await db.query({ name: "leave-ring", text: leavingRing({ tenant: "$1", mine: "$2" }), values: [tenantID, mine] });
}

/** The same as a part of another statement; both are SQL. */
export const leavingRing = ({ tenant, mine }: { readonly tenant: string; readonly mine: string }): string => `
  update user_provision_state set due_at = now(), touches = touches + 1
  where object_uid in (select object_uid from waiting
                       where tenant = ${tenant} and why = '${REASON.EmailCycle}' and object_uid <> ${mine})
    and confirmed_at is not null and voided_at is null`;
