import type { PoolClient } from "pg";
import { REASON, type Reason } from "../api/reasons.ts";
import type { Applicant } from "./bindings.ts";
import type { Queryable } from "./sagas.ts";

/** Who waits for an email of this tenant, oldest first, without the object that holds it. */
export interface Waiter {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly createdAt: Date;
}

interface RawWaiter {
  object_uid: string;
  namespace: string;
  name: string;
  created_at: Date;
}

const waiter = (raw: RawWaiter): Waiter => ({
  uid: raw.object_uid,
  namespace: raw.namespace,
  name: raw.name,
  createdAt: raw.created_at,
});

/** The one who would take over; objects that have a row of their own (an email change) do not. */
export async function firstWaiter(db: Queryable, tenantID: string, email: string): Promise<Waiter | undefined> {
  const { rows } = await db.query<RawWaiter>({
    name: "first-waiter",
    text: `select w.* from waiting w where w.tenant = $1 and w.email = $2 and w.why = $3
             and not exists (select 1 from user_provision_state s
                             where s.object_uid = w.object_uid and s.confirmed_at is not null)
           order by w.created_at, w.object_uid limit 1`,
    values: [tenantID, email, REASON.EmailInUse],
  });
  return rows[0] === undefined ? undefined : waiter(rows[0]);
}

/** Those who may go on when something of this tenant was released; all of them when `tenantID` is undefined. */
export async function listWaiting(db: Queryable, tenantID: string | undefined): Promise<Waiter[]> {
  const { rows } = await db.query<RawWaiter>({
    name: "list-waiting",
    text: "select * from waiting where $1::text is null or tenant = $1 or tenant is null order by created_at, object_uid",
    values: [tenantID ?? null],
  });
  return rows.map(waiter);
}

/** Notes an object in a namespace that no Tenant claims. */
export async function waitForTenant(db: Queryable, object: Waiter & { readonly email: string }): Promise<void> {
  await db.query({
    name: "wait-for-tenant",
    text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
           values ($1, $2, $3, null, $4, $5, $6)
           on conflict (object_uid) do update set tenant = null, email = excluded.email, why = excluded.why`,
    values: [object.uid, object.namespace, object.name, object.email, object.createdAt, REASON.NoTenant],
  });
}

/** The object is gone, or going, without ever having had a row: nothing of it stays. */
export async function forgetApplicant(db: Queryable, uid: string): Promise<void> {
  await db.query({
    name: "forget-applicant",
    text: `with gone as (delete from waiting where object_uid = $1)
           update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
           where object_uid = $1 and coalesce(confirmed_at, voided_at) is null`,
    values: [uid],
  });
}

/** Notes that this object waits, for whom and why. */
export async function putWaiting(client: PoolClient, applicant: Applicant, why: Reason): Promise<void> {
  await client.query({
    name: "put-waiting",
    text: `insert into waiting (object_uid, namespace, name, tenant, email, created_at, why)
           values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (object_uid) do update set namespace = excluded.namespace, name = excluded.name,
             tenant = excluded.tenant, email = excluded.email, why = excluded.why`,
    values: [
      applicant.uid,
      applicant.namespace,
      applicant.name,
      applicant.tenantID,
      applicant.email,
      applicant.createdAt,
      why,
    ],
  });
}
