/** The comparison of finished people with their neighbours, on a real Postgres. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../../src/api/meta.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { TransientError } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { TenantAccess } from "../../src/reconciler/access.ts";
import { type Drift, makeDrift } from "../../src/reconciler/drift.ts";
import { bind } from "../../src/store/bindings.ts";
import { makePool, type Pool } from "../../src/store/pool.ts";
import { tenant } from "../support/builders.ts";
import { makeFakeCluster } from "../support/fakeCluster.ts";
import { makeFakeGateway, makeFakeRealm } from "../support/fakeNeighbours.ts";
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

/** One finished person, and a first comparison that begins at once. */
async function compare(closed: readonly string[], fail: (realm: ReturnType<typeof makeFakeRealm>) => void = nothing) {
  const cluster = makeFakeCluster();
  cluster.createNamespace("tenant-a");
  const user = cluster.applyUser("tenant-a", "ada", { email: "ada@example.com" });
  const secret = await cluster.createSecret(
    {
      namespace: "tenant-a",
      name: "newapi-key-ada",
      labels: { [LABEL_MANAGED_BY]: FIELD_MANAGER },
      annotations: {},
      data: { "api-key": "sk-key-1" },
    },
    AbortSignal.timeout(1000),
  );
  const binding = await bind(
    pool,
    {
      uid: user.metadata.uid,
      namespace: "tenant-a",
      name: "ada",
      createdAt: new Date(),
      tenantID: "acme",
      email: "ada@example.com",
      pin: undefined,
      maxUsers: undefined,
      clusterID: randomUUID(),
    },
    () => Promise.resolve(undefined),
  );
  if (binding.kind !== "bound") throw new Error("not bound");
  await pool.query(
    `update user_provision_state set state = 'done', reached = 'done', due_at = null, secret_namespace = 'tenant-a',
       secret_name = 'newapi-key-ada', secret_uid = $2, handled = $3 where sme_user_uuid = $1`,
    [binding.row.uuid, secret.metadata.uid, JSON.stringify({ generation: 1, tenantRevision: "r1", key: "dead" })],
  );
  const [realm, gateway] = [makeFakeRealm(), makeFakeGateway()];
  fail(realm);
  const access: TenantAccess = {
    tenantID: "acme",
    name: "acme",
    spec: tenant(),
    revision: "r1",
    ready: true,
    notReadyMessage: "",
    realmIsExclusive: true,
    realm,
    gateway,
  };
  const told: string[] = [];
  const drift = makeDrift({
    pool,
    cluster,
    tenants: { get: () => access, byNamespace: () => access, all: () => [access], loaded: () => true },
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
  return { realm, gateway, told, taken: () => pool.query("select 1 from drift_checks").then((all) => all.rowCount) };
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
