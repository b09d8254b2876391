import { type TenantSpec, tenantSpec } from "../api/tenant.ts";
import type { MirroredTenant } from "../saga/accept.ts";
import type { UserCounts } from "../saga/tenantReport.ts";
import { canonicalJSON, sameJSON } from "../saga/revision.ts";
import { TENANT_FAULTS } from "../saga/tenantFaults.ts";
import type { Pool } from "pg";
import { claimRealm, sharesRealm, type WantedRealm } from "./realmClaims.ts";
import { type Queryable, written } from "./sagas.ts";
import { jsonb } from "./values.ts";

/** The last accepted spec of one Tenant: what every replica and the webhook work with. */
export interface TenantRecord extends MirroredTenant {
  readonly name: string;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly revision: string;
  readonly ready: boolean;
  readonly problems: readonly { readonly reason: string; readonly message: string }[];
}

/** A mirror as it was read, with the namespaces that the table grants: `accepted.namespaces`, unless a write was cut short. */
export interface StoredTenant extends TenantRecord {
  readonly namespaces: readonly string[];
  /** Another Tenant was first in the realm, by what the realm says of itself. */
  readonly isRealmShared: boolean;
}

export interface TenantUsage extends UserCounts {
  /** Rows that hold the Tenant: all but `deleted` and void ones. */
  readonly rows: number;
  readonly namespaces: readonly string[];
}

type RawTenant = Omit<StoredTenant, "accepted" | "createdAt"> & {
  readonly accepted: unknown;
  readonly createdAt: Date;
};

const SELECT = `
  select tenant_id as "tenantID", object_uid as "objectUID", name, object_created_at as "createdAt", accepted, revision,
    ready, problems,
    array(select n.namespace from tenant_namespaces n where n.tenant_id = t.tenant_id order by 1) as namespaces,
    ${sharesRealm("t")} as "isRealmShared"
  from tenants t`;

/** A spec that an older version wrote is completed; one that does not fit any more counts as never accepted. */
export async function loadTenants(db: Queryable): Promise<StoredTenant[]> {
  const { rows } = await db.query<RawTenant>({ name: "load-tenants", text: `${SELECT} order by tenant_id` });
  return rows.flatMap((raw) => {
    const accepted = tenantSpec.safeParse(raw.accepted);
    return accepted.success ? [stored(raw, accepted.data)] : [];
  });
}

function stored(raw: RawTenant, accepted: TenantSpec): StoredTenant {
  return { ...raw, accepted, createdAt: raw.createdAt.toISOString().replace(".000Z", "Z") };
}

/** Whether a mirror says already what it should. */
export function sameRecord(
  { namespaces: _granted, isRealmShared: _shared, ...mirror }: StoredTenant,
  wanted: TenantRecord,
): boolean {
  return sameJSON(mirror, wanted);
}

/**
 * Replicas write the mirror one after the other: `on conflict` covers one unique key, and names, ids and namespaces are
 * all unique. Taken in the statement itself, so that it ends with it.
 */
const MIRROR_LOCK = 0x75726274;

/**
 * Writes the mirror when it differs; true when it did. It reads first: the trigger that tells every webhook fires for
 * a statement, also for one that changes no row.
 */
export async function mirrorTenant(db: Queryable, tenant: TenantRecord): Promise<boolean> {
  const { rows } = await db.query<RawTenant>({
    name: "load-tenant",
    text: `${SELECT} where tenant_id = $1`,
    values: [tenant.tenantID],
  });
  const accepted = tenantSpec.safeParse(rows[0]?.accepted);
  if (rows[0] !== undefined && accepted.success && sameRecord(stored(rows[0], accepted.data), tenant)) return false;
  await db.query({
    name: "mirror-tenant",
    text: `with turn as materialized (select pg_advisory_xact_lock($9))
           insert into tenants (tenant_id, object_uid, name, object_created_at, accepted, revision, ready, problems)
           select $1, $2::uuid, $3, $4::timestamptz, $5::jsonb, $6, $7::boolean, $8::jsonb from turn
           on conflict (tenant_id) do update set object_uid = excluded.object_uid, name = excluded.name,
             object_created_at = excluded.object_created_at, accepted = excluded.accepted,
             revision = excluded.revision, ready = excluded.ready, problems = excluded.problems, updated_at = now()`,
    values: [
      tenant.tenantID,
      tenant.objectUID,
      tenant.name,
      tenant.createdAt,
      jsonb(JSON.parse(canonicalJSON(tenant.accepted))),
      tenant.revision,
      tenant.ready,
      jsonb(tenant.problems),
      MIRROR_LOCK,
    ],
  });
  return true;
}

/** Makes these the tenant's namespaces, taking them from whoever had them; true when something changed. */
export async function grantNamespaces(
  db: Queryable,
  tenantID: string,
  namespaces: readonly string[],
): Promise<boolean> {
  const { rows } = await db.query<{ namespace: string }>({
    name: "tenant-namespaces",
    text: "select namespace from tenant_namespaces where tenant_id = $1",
    values: [tenantID],
  });
  const granted = rows.map(({ namespace }) => namespace);
  if (sameJSON(granted.toSorted(), namespaces.toSorted())) return false;
  await db.query({
    name: "grant-namespaces",
    text: `with turn as materialized (select pg_advisory_xact_lock($3)),
           left_out as (
             delete from tenant_namespaces using turn where tenant_id = $1 and namespace <> all ($2::text[])
           )
           insert into tenant_namespaces (namespace, tenant_id) select distinct unnest($2::text[]), $1 from turn
           on conflict (namespace) do update set tenant_id = excluded.tenant_id
             where tenant_namespaces.tenant_id <> excluded.tenant_id`,
    values: [tenantID, namespaces, MIRROR_LOCK],
  });
  return true;
}

/** Only while it is the mirror of that object: another one of the same id may have come meanwhile. */
export async function removeTenant(db: Queryable, tenantID: string, objectUID: string): Promise<boolean> {
  return (
    (await written(db, {
      name: "remove-tenant",
      text: "delete from tenants where tenant_id = $1 and object_uid = $2",
      values: [tenantID, objectUID],
    })) > 0
  );
}

/**
 * By tenant id; a tenant without rows and without waiting objects is absent. What only admission has seen is nobody yet: it
 * holds back neither a change of the Tenant nor its end.
 */
export async function tenantUsage(db: Queryable, tenantID?: string): Promise<Map<string, TenantUsage>> {
  const { rows } = await db.query<{
    tenant: string;
    state: string;
    holds: boolean;
    n: number;
    living: number;
    namespaces: string[];
  }>({
    // Two statements: what is cheap for one tenant is not what is cheap for all.
    name: tenantID === undefined ? "tenant-usage" : "usage-of-tenant",
    text: `select sme_tenant_id as tenant, state, true as holds, count(*)::int as n,
             (count(*) filter (where confirmed_at is not null and state not in ('retained', 'orphaned')
                and coalesce(deleting->>'released', 'false') <> 'true'))::int as living,
             coalesce(array_agg(distinct object_namespace) filter (where object_namespace is not null), '{}') as namespaces
           from user_provision_state where state <> 'deleted' and voided_at is null and confirmed_at is not null ${tenantID === undefined ? "" : "and sme_tenant_id = $1"} group by 1, 2
           union all
           select tenant, 'waiting', false, count(*)::int, count(*)::int, '{}' from waiting
           where tenant ${tenantID === undefined ? "is not null" : "= $1"} group by 1
           order by 1, 2`,
    values: tenantID === undefined ? [] : [tenantID],
  });
  const usage = new Map<string, TenantUsage>();
  for (const row of rows) {
    const sum = usage.get(row.tenant) ?? { rows: 0, total: 0, byState: {}, namespaces: [] };
    usage.set(row.tenant, {
      rows: sum.rows + (row.holds ? row.n : 0),
      total: sum.total + row.living,
      byState: { ...sum.byState, [row.state]: row.n },
      namespaces: [...new Set([...sum.namespaces, ...row.namespaces])].toSorted(),
    });
  }
  return usage;
}

/** Over so long a tenant's rows become due, so that its upstreams are not flooded. */
const SPREAD_SECONDS = 1;

/**
 * Makes the tenant's living rows due: those last handled under another revision, or, without one, all of them (what
 * waited for the tenant has nothing in its row that says so; whom the tenant's own fault had stopped resumes). Returns
 * how many.
 */
export async function touchTenantRows(db: Queryable, tenantID: string, revision?: string): Promise<number> {
  return written(db, {
    name: "touch-tenant-rows",
    text: `update user_provision_state set due_at = now() + make_interval(secs => random() * $4::float8),
             touches = touches + 1, backoff_until = null,
             blocked_on = case when $2::text is null and last_error->>'code' = any($3::text[]) then null else blocked_on end
           where sme_tenant_id = $1 and confirmed_at is not null and voided_at is null
             and state not in ('deleted', 'retained', 'orphaned')
             and ($2::text is null or handled->>'tenantRevision' is distinct from $2)`,
    values: [tenantID, revision ?? null, TENANT_FAULTS, SPREAD_SECONDS],
  });
}

/** The statements of this file, for one database. */
export type TenantStore = ReturnType<typeof tenantStore>;

export function tenantStore(db: Pool) {
  return {
    loadTenants: () => loadTenants(db),
    mirrorTenant: (tenant: TenantRecord) => mirrorTenant(db, tenant),
    grantNamespaces: (tenantID: string, namespaces: readonly string[]) => grantNamespaces(db, tenantID, namespaces),
    removeTenant: (tenantID: string, objectUID: string) => removeTenant(db, tenantID, objectUID),
    /** Of all tenants, or of one. */
    tenantUsage: (tenantID?: string) => tenantUsage(db, tenantID),
    touchTenantRows: (tenantID: string, revision?: string) => touchTenantRows(db, tenantID, revision),
    claimRealm: (tenantID: string, wanted: WantedRealm) => claimRealm(db, tenantID, wanted),
  };
}
