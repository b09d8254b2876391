/** The operator's port on a real Postgres, with the cluster and the realm in memory. */
import { randomUUID } from "node:crypto";
import { silentLog } from "../../src/lib/log.ts";
import { makeOperatorServer } from "../../src/ops/operatorServer.ts";
import type { TenantAccess } from "../../src/reconciler/access.ts";
import { makeOperator } from "../../src/reconciler/operator.ts";
import { bind } from "../../src/store/bindings.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { NOW, tenant } from "./builders.ts";
import { type FakeCluster, makeFakeCluster } from "./fakeCluster.ts";
import { type FakeRealm, makeFakeRealm } from "./fakeUpstreams.ts";
import { freshDatabase } from "./postgres.ts";

/** When an operator's orders are given. */
const clock = { now: () => NOW.getTime() };

export interface OperatorBench {
  readonly pool: Pool;
  readonly databaseURL: string;
  readonly url: string;
  readonly cluster: FakeCluster;
  readonly realm: FakeRealm;
  /** Tenant acme, with namespace tenant-a; undefined: there is none. */
  access: TenantAccess | undefined;
  /** How often due work was to be looked for. */
  looks(): number;
  /** A finished person `name`@acme.example; `columns` of the row as a test wants them. Gives the uuid. */
  person(name: string, columns?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Empties the books. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

export async function openOperatorBench(): Promise<OperatorBench> {
  const database = await freshDatabase();
  const pool = makePool({ url: database.url, max: 8, applicationName: "test" });
  const cluster = makeFakeCluster(clock);
  cluster.createNamespace("tenant-a");
  const clusterID = await cluster.clusterID(AbortSignal.timeout(1000));
  const realm = makeFakeRealm();
  let looks = 0;
  const operator = makeOperator({
    pool,
    cluster,
    clusterID: () => Promise.resolve(clusterID),
    tenants: { get: (id) => (id === "acme" ? bench.access : undefined) },
    notify: () => (looks += 1),
    clock,
    log: silentLog,
  });
  const server = makeOperatorServer({ address: { host: "127.0.0.1", port: 0 }, operator, log: silentLog });
  await server.start();

  const bench: OperatorBench = {
    pool,
    databaseURL: database.url,
    url: `http://127.0.0.1:${server.port()}`,
    cluster,
    realm,
    access: accessTo(realm),
    looks: () => looks,
    async person(name, columns = {}) {
      const bindRequest = {
        uid: randomUUID(),
        namespace: "tenant-a",
        name,
        createdAt: NOW,
        tenantID: "acme",
        email: `${name}@acme.example`,
        pin: undefined,
        maxUsers: undefined,
        clusterID,
      };
      const binding = await bind(pool, bindRequest, () => undefined);
      if (binding.kind !== "bound") throw new Error(binding.reason);
      const accounts = { kc_user_id: `kc-${name}`, newapi_user_id: `na-${name}` };
      const all = { state: "done", reached: "done", ...accounts, ...columns };
      const set = Object.keys(all).map((column, i) => `${column} = $${i + 2}`);
      await pool.query(`update user_provision_state set ${set.join(", ")} where sme_user_uuid = $1`, [
        binding.row.uuid,
        ...Object.values(all),
      ]);
      return binding.row.uuid;
    },
    async clear() {
      looks = 0;
      bench.access = accessTo(realm);
      for (const name of ["ada", "bob"]) cluster.loseUser("tenant-a", name);
      await pool.query("truncate user_provision_state, waiting, outbox, audit");
    },
    async close() {
      await server.stop();
      await pool.end();
      await database.drop();
    },
  };
  return bench;
}

function accessTo(realm: FakeRealm): TenantAccess {
  return {
    tenantID: "acme",
    name: "acme",
    revision: "r1",
    ready: true,
    notReadyMessage: "",
    realmIsExclusive: true,
    spec: tenant({ adoption: "Unclaimed", allow: { emailDomains: ["acme.example"], groups: ["devs"] } }),
    realm,
    gateway: undefined,
  };
}

/** Columns of a row whose object was released, or as `given` says. */
export const deleting = (given: object) => ({
  state: "deleting",
  deleting: { since: NOW.toISOString(), objectUID: randomUUID(), undone: [], locked: [], released: true, ...given },
});
