import type { Pool } from "pg";
import { inTransaction } from "./transaction.ts";

/** What a Tenant wants of the realm that it was found to be in. */
export interface WantedRealm {
  /** What the realm says of itself. */
  readonly realmID: string;
  /** None: every domain. */
  readonly emailDomains: readonly string[];
}

export type RealmClaim =
  /** `isShared`: another Tenant was in the realm first. */
  | { readonly kind: "held"; readonly isShared: boolean }
  /** The Tenant of that name was there first, and one of the domains is its own. */
  | { readonly kind: "refused"; readonly holder: string };

/** Claims are made one after the other, so that of two that exclude each other one always sees the other. */
const CLAIM_LOCK = 7_266_220_603;

/**
 * First come, first served, by what the realm says of itself: its address may have many forms. Whoever holds a claim keeps
 * it, whatever realm another Tenant says to be; one that is refused keeps the claim that it had.
 */
export async function claimRealm(
  pool: Pool,
  tenantID: string,
  { realmID, emailDomains }: WantedRealm,
): Promise<RealmClaim> {
  const domains = emailDomains.map((domain) => domain.toLowerCase()).toSorted();
  const wanted = [tenantID, realmID, domains];
  const { rows: own } = await pool.query<{ isShared: boolean }>({
    name: "own-realm-claim",
    text: `select ${sharesRealm("t")} as "isShared" from tenants t
           where t.tenant_id = $1 and t.realm_id = $2 and t.realm_domains = $3::text[]`,
    values: wanted,
  });
  if (own[0] !== undefined) return { kind: "held", ...own[0] };
  return inTransaction(pool, async (db): Promise<RealmClaim> => {
    await db.query("select pg_advisory_xact_lock($1)", [CLAIM_LOCK]);
    const { rows: rivals } = await db.query<{ name: string }>({
      name: "realm-rival",
      text: `select name from tenants where realm_id = $2 and tenant_id <> $1
               and (realm_domains = '{}' or $3::text[] = '{}' or realm_domains && $3::text[])
             order by realm_claimed_at limit 1`,
      values: wanted,
    });
    if (rivals[0] !== undefined) return { kind: "refused", holder: rivals[0].name };
    const { rows } = await db.query<{ isShared: boolean }>({
      name: "claim-realm",
      text: `update tenants t set realm_id = $2, realm_domains = $3::text[],
               realm_claimed_at = case when realm_id = $2 then realm_claimed_at else clock_timestamp() end
             where tenant_id = $1 returning ${sharesRealm("t")} as "isShared"`,
      values: wanted,
    });
    const [claimed] = rows;
    if (claimed === undefined) throw new Error(`Tenant id ${tenantID} has no record yet`);
    return { kind: "held", ...claimed };
  });
}

/** Whether another one claimed the realm before this row of `tenants` did. */
export const sharesRealm = (row: string): string => `exists (select from tenants other
    where other.realm_id = ${row}.realm_id and other.tenant_id <> ${row}.tenant_id
      and other.realm_claimed_at < ${row}.realm_claimed_at)`;
