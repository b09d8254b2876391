/** The comparison of finished people with their upstreams, on a real Postgres. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../../src/api/meta.ts";
import type { TenantSpec } from "../../src/api/tenant.ts";
import type { LiveTenantUser, TenantUserStatus } from "../../src/api/tenantUser.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { TransientError } from "../../src/lib/errors.ts";
import type { LoopPart } from "../../src/lib/lifecycle.ts";
import { silentLog } from "../../src/lib/log.ts";
import { makeDrift } from "../../src/reconciler/drift.ts";
import { desire } from "../../src/saga/desired.ts";
import { report } from "../../src/saga/report.ts";
import { bind } from "../../src/store/bindings.ts";
import { restingSagas } from "../../src/store/drift.ts";
import { type Pool } from "../../src/store/pool.ts";
import { bindRequest, tenant } from "../support/builders.ts";
import { makeFakeCluster } from "../support/fakeCluster.ts";
import { type FakeRealm, makeFakeGateway, makeFakeRealm } from "../support/fakeUpstreams.ts";
import { useStore } from "../support/store.ts";

let pool: Pool;
const started: LoopPart[] = [];
useStore((opened) => (pool = opened));
afterEach(async () => {
  for (const drift of started.splice(0)) await drift.stop();
  await pool.query("truncate user_provision_state, drift_checks");
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
  const binding = await bind(pool, bindRequest({ uid: user.metadata.uid, namespace, tenantID }), () => undefined);
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

/** What the last claim has left on each object, or what somebody has put in its place. */
async function showStatus(
  cluster: ReturnType<typeof makeFakeCluster>,
  spec: TenantSpec,
  byHand: TenantUserStatus | undefined,
): Promise<void> {
  const signal = AbortSignal.timeout(1000);
  for (const row of await restingSagas(pool, spec.tenantID)) {
    const object = (await cluster.getTenantUser(row.namespace ?? "", row.name ?? "", signal)) as LiveTenantUser;
    const { generation } = object.metadata;
    const said = report(
      { row, generation, desired: desire(object, spec), situation: { kind: "ready" }, previous: undefined },
      new Date(),
    );
    await cluster.applyTenantUserStatus(object, byHand ?? said, signal);
  }
}

/** One finished person of each tenant, and a first comparison that begins at once. `fail` prepares the first one's realm. */
async function compare(
  closed: readonly string[],
  fail: (realm: FakeRealm) => void = nothing,
  tenantIDs: readonly string[] = ["acme"],
  byHand?: { readonly status: TenantUserStatus },
) {
  const cluster = makeFakeCluster();
  const all = tenantIDs.map((tenantID) => {
    const [realm, gateway] = [makeFakeRealm(), makeFakeGateway()];
    const spec = tenant({ tenantID, namespaces: [`people-${tenantID}`] });
    const more = { revision: "r1", ready: true, notReadyMessage: "", realmIsExclusive: true };
    return { tenantID, name: tenantID, spec, ...more, realm, gateway };
  });
  for (const { spec } of all) await finishPerson(cluster, spec);
  for (const { spec } of all) await showStatus(cluster, spec, byHand?.status);
  const [first] = all;
  if (first === undefined) throw new Error("no tenant");
  fail(first.realm);
  const told: string[] = [];
  let wakes = 0;
  const drift = makeDrift({
    pool,
    cluster,
    tenants: { get: () => first, byNamespace: () => first, all: () => all, loaded: () => true },
    breakers: {
      ask: (origin) => (closed.includes(origin) ? new Date() : undefined),
      success: (origin) => void told.push(`success ${origin}`),
      failure: (origin) => void told.push(`failure ${origin}`),
    },
    tenantBreakers: {
      ask: (_tenant, upstream) => (closed.includes(upstream) ? { why: "refuses", until: new Date() } : undefined),
    },
    everyMs: 60_000,
    wake: () => void (wakes += 1),
    corrected: (step, count) => void told.push(`corrected ${step} ${count}`),
    clock: systemClock,
    log: silentLog,
  });
  started.push(drift);
  await drift.start();
  const taken = () =>
    pool.query("select 1 from drift_checks where tenant_id = 'acme'").then(({ rowCount }) => rowCount);
  return { ...first, all, drift, told, taken, cluster, wakes: () => wakes };
}

function nothing(): void {}

test("asks both upstreams, and lets their breakers know that they answered", async () => {
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

test.each<[string, TenantUserStatus]>([
  ["wiped", {}],
  ["falsified", { observedGeneration: 1, state: "failed", userUUID: "another", conditions: [] }],
])("a status that somebody has %s is written again, also while no upstream answers", async (_how, status) => {
  const { cluster, wakes } = await compare([KEYCLOAK, GATEWAY], nothing, ["acme"], { status });
  const reads = cluster.calls("getTenantUser");
  await expect.poll(wakes).toBeGreaterThan(0);
  const { rows } = await pool.query("select due_at is not null as due, run from user_provision_state");
  // Nothing outside is looked at for that: no run is begun.
  expect(rows).toEqual([{ due: true, run: null }]);
  expect(cluster.calls("getTenantUser")).toBe(reads);
});

test("a status that says what is known makes nobody due", async () => {
  const { wakes } = await compare([KEYCLOAK, GATEWAY]);
  await new Promise((resolve) => void setTimeout(resolve, 500));
  expect(wakes()).toBe(0);
});

test("keeps its turn while none of them is to be asked", async () => {
  const { realm, gateway, taken } = await compare([KEYCLOAK, "newapi"]);
  await new Promise((resolve) => void setTimeout(resolve, 300));
  expect([realm.calls, gateway.calls, await taken()]).toEqual([[], [], 0]);
});

test("a silence counts at the upstream's breaker", async () => {
  const { told } = await compare([], (realm) =>
    realm.fail(
      "drifted",
      new TransientError({ code: "UpstreamUnavailable", upstream: "keycloak", message: "no answer" }),
    ),
  );
  await expect.poll(() => told).toEqual([`failure ${KEYCLOAK}`]);
});

test("a tenant whose upstream hangs keeps nobody else waiting, and a stop ends it", async () => {
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

test("is not taken for alive while every tenant's comparison fails by our own mistake", async () => {
  await pool.query("alter table drift_checks rename to drift_checks_away");
  try {
    const { drift } = await compare([], nothing, ["acme", "beta"]);
    await sleep(1_000);
    const stood = drift.lastProgress();
    // Longer than it takes to come round again.
    await sleep(5_500);
    expect(drift.lastProgress()).toBe(stood);
  } finally {
    await pool.query("alter table drift_checks_away rename to drift_checks");
  }
}, 20_000);
