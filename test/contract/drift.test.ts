/** The comparison of finished people with their neighbours, on a real Postgres. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../../src/api/meta.ts";
import type { TenantSpec } from "../../src/api/tenant.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { TransientError } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { type Drift, makeDrift } from "../../src/reconciler/drift.ts";
import { bind } from "../../src/store/bindings.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { applicant, tenant } from "../support/builders.ts";
import { makeFakeCluster } from "../support/fakeCluster.ts";
import { type FakeRealm, makeFakeGateway, makeFakeRealm } from "../support/fakeNeighbours.ts";
import { freshDatabase, type TestDatabase } from "../support/postgres.ts";

let database: TestDatabase;
let pool: Pool;
const started: Drift[] = [];
beforeAll(async () => {
  database = await freshDatabase();
  pool = makePool({ url: database.url, max: 4, applicationName: "test" });
});
afterEach(async () => {
  for (const drift of started.splice(0)) await drift.stop();
  await pool.query("truncate user_provision_state, drift_checks");
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

const KEYCLOAK = "https://keycloak.example.com";
const GATEWAY = "https://newapi.example.com";

/** One finished person of a tenant, in its namespace. */
async function finishPerson(cluster: ReturnType<typeof makeFakeCluster>, spec: TenantSpec): Promise<void> {
  const { tenantID } = spec;
  const namespace = spec.namespaces[0] ?? "";
  cluster.createNamespace(namespace);
  const user = cluster.applyUser(namespace, "ada", { email: "ada@example.com" });
  const secret = await cluster.createSecret(
    {
      namespace,
      name: "newapi-key-ada",
      labels: { [LABEL_MANAGED_BY]: FIELD_MANAGER },
      annotations: {},
      data: { "api-key": "sk-key-1" },
    },
    AbortSignal.timeout(1000),
  );
  const binding = await bind(pool, applicant({ uid: user.metadata.uid, namespace, tenantID }), () =>
    Promise.resolve(undefined),
  );
  if (binding.kind !== "bound") throw new Error("not bound");
  await pool.query(
    `update user_provision_state set state = 'done', reached = 'done', due_at = null, secret_namespace = $4,
       secret_name = 'newapi-key-ada', secret_uid = $2, handled = $3 where sme_user_uuid = $1`,
    [
      binding.row.uuid,
      secret.metadata.uid,
      JSON.stringify({ generation: 1, tenantRevision: "r1", key: "dead" }),
      namespace,
    ],
  );
}

/** One finished person of each tenant, and a first comparison that begins at once. `fail` prepares the first one's realm. */
async function compare(
  closed: readonly string[],
  fail: (realm: FakeRealm) => void = nothing,
  tenantIDs: readonly string[] = ["acme"],
) {
  const cluster = makeFakeCluster();
  const all = tenantIDs.map((tenantID) => {
    const [realm, gateway] = [makeFakeRealm(), makeFakeGateway()];
    const spec = tenant({ tenantID, namespaces: [`people-${tenantID}`] });
    const more = { revision: "r1", ready: true, notReadyMessage: "", realmIsExclusive: true };
    return { tenantID, name: tenantID, spec, ...more, realm, gateway };
  });
  for (const { spec } of all) await finishPerson(cluster, spec);
  const [first] = all;
  if (first === undefined) throw new Error("no tenant");
  fail(first.realm);
  const told: string[] = [];
  const drift = makeDrift({
    pool,
    cluster,
    tenants: { get: () => first, byNamespace: () => first, all: () => all, loaded: () => true },
    breakers: {
      ask: (origin) => (closed.includes(origin) ? new Date() : undefined),
      success: (origin) => void told.push(`success ${origin}`),
      failure: (origin) => void told.push(`failure ${origin}`),
    },
    tenantBreakers: { ask: (_tenant, neighbour) => (closed.includes(neighbour) ? new Date() : undefined) },
    everyMs: 60_000,
    look: nothing,
    clock: systemClock,
    log: silentLog,
  });
  started.push(drift);
  await drift.start();
  const taken = () => pool.query("select 1 from drift_checks").then(({ rowCount }) => rowCount);
  return { ...first, all, drift, told, taken };
}

function nothing(): void {}

test("asks both neighbours, and lets their breakers know that they answered", async () => {
  const { realm, gateway, told } = await compare([]);
  // The gateway twice: its accounts in pages, and each key.
  await expect.poll(() => told).toEqual([`success ${KEYCLOAK}`, `success ${GATEWAY}`, `success ${GATEWAY}`]);
  expect(realm.calls).toEqual(["drifted"]);
  expect(gateway.calls).toEqual(["verifyKey"]);
});

test.each([[KEYCLOAK], ["keycloak"]])("does not ask one that is closed (%s), and asks the other", async (closed) => {
  const { realm, gateway } = await compare([closed]);
  await expect.poll(() => gateway.calls).toEqual(["verifyKey"]);
  expect(realm.calls).toEqual([]);
});

test("keeps its turn while none of them is to be asked", async () => {
  const { realm, gateway, taken } = await compare([KEYCLOAK, "newapi"]);
  await new Promise((resolve) => void setTimeout(resolve, 300));
  expect([realm.calls, gateway.calls, await taken()]).toEqual([[], [], 0]);
});

test("a silence counts at the neighbour's breaker", async () => {
  const { told } = await compare([], (realm) =>
    realm.fail("drifted", new TransientError({ code: "NeighbourUnavailable", message: "no answer" })),
  );
  await expect.poll(() => told).toEqual([`failure ${KEYCLOAK}`]);
});

test("a tenant whose neighbour hangs keeps nobody else waiting, and a stop ends it", async () => {
  const cut: string[] = [];
  const { all, drift } = await compare(
    [],
    (realm) => {
      realm.drifted = (_users, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            cut.push("acme");
            reject(signal.reason as Error);
          });
        });
    },
    ["acme", "globex", "initech", "umbrella", "hooli", "vandelay"],
  );
  const tried = () => all.map(({ gateway }) => gateway.calls.join());
  await expect.poll(tried).toEqual(["", ...all.slice(1).map(() => "verifyKey")]);
  expect(cut).toEqual([]);
  await drift.stop();
  expect(cut).toEqual(["acme"]);
});
