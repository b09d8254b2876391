import { sameJSON } from "../../src/saga/revision.ts";
import type { RealmClaim } from "../../src/store/realmClaims.ts";
import {
  sameRecord,
  type StoredTenant,
  type TenantRecord,
  type TenantStore,
  type TenantUsage,
} from "../../src/store/tenants.ts";

/** The tenants' tables in memory: unique ids, names and namespaces, and a count of the statements that write. */
export interface FakeTenantStore extends TenantStore {
  /** Every statement fails until `false`. */
  setDown(down: boolean): void;
  use(tenantID: string, byState: Readonly<Record<string, number>>, namespaces: readonly string[]): void;
  mirror(tenantID: string): StoredTenant | undefined;
  writes(): number;
  /** Tenant id and revision (`*`: all rows) of each touch. */
  readonly touches: readonly string[];
}

export function makeFakeTenantStore(): FakeTenantStore {
  const tenants = new Map<string, TenantRecord>();
  const owners = new Map<string, string>();
  const usage = new Map<string, TenantUsage>();
  const touches: string[] = [];
  /** In the order in which they were made. */
  const claims = new Map<string, { realmID: string; emailDomains: readonly string[] }>();
  let down = false;
  let writes = 0;

  async function call<T>(work: () => T): Promise<T> {
    await Promise.resolve();
    if (down) throw new Error("connection refused");
    return work();
  }

  function isShared(tenantID: string): boolean {
    const inOrder = [...claims];
    const own = inOrder.findIndex(([id]) => id === tenantID);
    return inOrder.slice(0, Math.max(own, 0)).some(([, { realmID }]) => realmID === claims.get(tenantID)?.realmID);
  }

  function stored(record: TenantRecord): StoredTenant {
    const namespaces = [...owners].filter(([, owner]) => owner === record.tenantID).map(([name]) => name);
    return structuredClone({ ...record, namespaces: namespaces.toSorted(), isRealmShared: isShared(record.tenantID) });
  }

  function mirror(tenantID: string): StoredTenant | undefined {
    const record = tenants.get(tenantID);
    return record === undefined ? undefined : stored(record);
  }

  return {
    loadTenants: () => call(() => [...tenants.values()].map(stored)),
    mirrorTenant: (record) =>
      call(() => {
        const before = mirror(record.tenantID);
        if (before !== undefined && sameRecord(before, record)) return false;
        const namesake = [...tenants.values()].find((each) => each.name === record.name);
        if (namesake !== undefined && namesake.tenantID !== record.tenantID) throw new Error("duplicate key: name");
        tenants.set(record.tenantID, structuredClone(record));
        writes += 1;
        return true;
      }),
    grantNamespaces: (tenantID, namespaces) =>
      call(() => {
        if (!tenants.has(tenantID)) throw new Error("foreign key: tenant_id");
        if (sameJSON(mirror(tenantID)?.namespaces, namespaces.toSorted())) return false;
        for (const [name, owner] of owners) if (owner === tenantID) owners.delete(name);
        for (const name of namespaces) owners.set(name, tenantID);
        writes += 1;
        return true;
      }),
    removeTenant: (tenantID, objectUID) =>
      call(() => {
        if (tenants.get(tenantID)?.objectUID !== objectUID) return false;
        tenants.delete(tenantID);
        claims.delete(tenantID);
        for (const [name, owner] of owners) if (owner === tenantID) owners.delete(name);
        writes += 1;
        return true;
      }),
    tenantUsage: (tenantID) =>
      call(() => new Map([...usage].filter(([id]) => tenantID === undefined || id === tenantID))),
    touchTenantRows: (tenantID, revision) => call(() => touches.push(`${tenantID} ${revision ?? "*"}`)),
    claimRealm: (tenantID, wanted) =>
      call((): RealmClaim => {
        const { realmID, emailDomains } = wanted;
        const rival = [...claims].find(
          ([id, other]) =>
            id !== tenantID &&
            other.realmID === realmID &&
            (emailDomains.length === 0 ||
              other.emailDomains.length === 0 ||
              other.emailDomains.some((domain) => emailDomains.includes(domain))),
        );
        if (rival !== undefined) return { kind: "refused", holder: tenants.get(rival[0])?.name ?? "" };
        if (claims.get(tenantID)?.realmID !== realmID) claims.delete(tenantID);
        claims.set(tenantID, wanted);
        return { kind: "held", isShared: isShared(tenantID) };
      }),

    setDown: (now) => void (down = now),
    use(tenantID, byState, namespaces) {
      const total = Object.values(byState).reduce((sum, n) => sum + n, 0);
      usage.set(tenantID, { rows: total, total, byState, namespaces });
    },
    mirror,
    writes: () => writes,
    touches,
  };
}
